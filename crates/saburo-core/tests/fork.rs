//! A core on both sides of `fork`, in real children.
//!
//! A child shares with its parent the files behind the descriptors, the selector among them.
//! The rule: what the child does with the core it inherited, going on with it or closing it,
//! the parent does not notice.
//!
//! There is no harness here, because it would run each test on a thread, and only a process
//! with a single one may do as it likes in a child. A child tells by its exit status; an alarm
//! ends one that hangs, and the parent too.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use rustix::io::ioctl_fionread;
use saburo_core::{Clock, Core, Direction, Time, Timeout};

const TESTS: &[(&str, fn())] = &[
    ("a_child_goes_on_where_the_parent_was", a_child_goes_on_where_the_parent_was),
    ("the_parent_keeps_what_the_child_gives_up", the_parent_keeps_what_the_child_gives_up),
    ("what_the_child_adds_is_not_the_parents", what_the_child_adds_is_not_the_parents),
    ("each_has_a_waker_of_its_own_under_one_number", each_has_a_waker_of_its_own_under_one_number),
    ("a_child_may_close_what_it_inherited", a_child_may_close_what_it_inherited),
    ("a_child_may_leave_it_all_to_the_parent", a_child_may_leave_it_all_to_the_parent),
    ("a_child_of_a_sleeping_loop_can_go_on", a_child_of_a_sleeping_loop_can_go_on),
];

#[expect(clippy::print_stdout, reason = "this is the harness")]
fn main() {
    alarm(60);
    for (name, test) in TESTS {
        test();
        println!("test {name} ... ok");
    }
}

/// Run `child` in a child, to its end. It has to succeed.
fn fork(child: impl FnOnce()) {
    // SAFETY: this is the only thread that runs code of the child's: the process has no other,
    // but in one test, where the other sleeps in the kernel and holds no lock.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            alarm(30);
            // `_exit`, so that nothing of the parent's is flushed or run a second time here.
            let failed = catch_unwind(AssertUnwindSafe(child)).is_err();
            // SAFETY: does not return.
            unsafe { libc::_exit(failed.into()) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: the status is ours to write to.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            assert_eq!(status, 0, "the child failed, see above");
        }
    }
}

fn alarm(seconds: u32) {
    // SAFETY: an integer. The signal ends the process, which is what it is for.
    unsafe { libc::alarm(seconds) };
}

const A_MINUTE: Timeout = Timeout::Until(Duration::from_secs(60));

fn core() -> Core<&'static str> {
    Core::new(Clock::manual().0).unwrap()
}

fn turn(core: &mut Core<&'static str>, timeout: Timeout) -> Vec<&'static str> {
    let mut wait = core.lend_wait();
    wait.wait(timeout).unwrap();
    core.collect(wait, None).unwrap();
    std::iter::from_fn(|| core.next()).collect()
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn a_child_goes_on_where_the_parent_was() {
    let mut core = core();
    let (near, mut far) = pair();
    core.push("ready");
    core.insert_timer(Time::ZERO, "timer");
    core.insert_timer(Time::NEVER, "never");
    core.register(near.as_raw_fd(), Direction::Read, "reader").unwrap();
    core.register(near.as_raw_fd(), Direction::Write, "writer").unwrap();
    core.shared().post("post");
    far.write_all(b"!").unwrap();
    let all = ["ready", "post", "reader", "writer", "timer"];
    fork(|| {
        core.reopen_after_fork().unwrap();
        assert_eq!(turn(&mut core, A_MINUTE), all);
        core.shared().post("the child's own");
        assert_eq!(turn(&mut core, Timeout::Now)[0], "the child's own");
        assert_eq!((core.timer_count(), core.registered()), (1, 1));
    });
    assert_eq!(turn(&mut core, A_MINUTE), all, "and the parent, too, has it all");
}

fn the_parent_keeps_what_the_child_gives_up() {
    let mut core = core();
    let (mut near, mut far) = pair();
    let reader = core.register(near.as_raw_fd(), Direction::Read, "reader").unwrap().registration;
    fork(|| {
        core.reopen_after_fork().unwrap();
        assert_eq!(core.deregister(reader), Some("reader"));
        assert_eq!(turn(&mut core, Timeout::Now), [""; 0]);
        drop(core.drain());
    });
    far.write_all(b"!").unwrap();
    assert_eq!(turn(&mut core, A_MINUTE), ["reader"]);
    near.read_exact(&mut [0]).unwrap();
    assert_eq!(turn(&mut core, Timeout::Now), [""; 0]);
}

fn what_the_child_adds_is_not_the_parents() {
    let mut core = core();
    let (near, mut far) = pair();
    far.write_all(b"!").unwrap();
    fork(|| {
        core.reopen_after_fork().unwrap();
        core.register(near.as_raw_fd(), Direction::Read, "the child's").unwrap();
        assert_eq!(turn(&mut core, A_MINUTE), ["the child's"]);
    });
    assert_eq!(turn(&mut core, Timeout::Now), [""; 0]);
    core.register(near.as_raw_fd(), Direction::Read, "the parent's").unwrap();
    assert_eq!(turn(&mut core, A_MINUTE), ["the parent's"]);
}

fn each_has_a_waker_of_its_own_under_one_number() {
    let mut core = core();
    let fd = core.waker_fd();
    let write = |byte: u8| {
        // SAFETY: open as long as the core is, which the callers hold.
        let waker = unsafe { BorrowedFd::borrow_raw(fd) };
        assert_eq!(rustix::io::write(waker, &[byte]), Ok(1));
    };
    // As a signal would that the parent got and has not collected.
    write(7);
    fork(|| {
        core.reopen_after_fork().unwrap();
        assert_eq!(core.waker_fd(), fd);
        turn(&mut core, Timeout::Now);
        assert_eq!(core.take_signals(), [], "that one was the parent's");
        write(10);
        turn(&mut core, A_MINUTE);
        assert_eq!(core.take_signals(), [10]);
        write(12);
    });
    turn(&mut core, A_MINUTE);
    assert_eq!(core.take_signals(), [7], "neither taken away by the child nor added to");
}

fn a_child_may_close_what_it_inherited() {
    let mut core = core();
    let (near, mut far) = pair();
    core.register(near.as_raw_fd(), Direction::Read, "reader").unwrap();
    // One that has run. A core closed while its wait is out writes to the waker, and before the
    // first turn it cannot tell; the parent would be woken once, for nothing.
    assert_eq!(turn(&mut core, Timeout::Now), [""; 0]);
    fork(|| assert!(core.close().eq(["reader"])));
    fork(|| drop(std::mem::replace(&mut core, self::core())));

    // SAFETY: open as long as the core is, and that is borrowed below.
    let waker = unsafe { BorrowedFd::borrow_raw(core.waker_fd()) };
    assert_eq!(ioctl_fionread(waker).unwrap(), 0, "it was not woken");
    assert_eq!(turn(&mut core, Timeout::Until(Duration::from_micros(100))), [""; 0]);
    core.shared().post("post");
    far.write_all(b"!").unwrap();
    assert_eq!(turn(&mut core, A_MINUTE), ["post", "reader"]);
}

fn a_child_may_leave_it_all_to_the_parent() {
    let mut core = core();
    let (near, mut far) = pair();
    core.register(near.as_raw_fd(), Direction::Read, "reader").unwrap();
    core.push("ready");
    core.shared().post("post");
    // The wait is out, as of a parent that sleeps on another thread.
    let mut wait = core.lend_wait();
    fork(|| std::mem::replace(&mut core, self::core()).leave_to_parent());
    // SAFETY: open as long as the core is, and that is borrowed below.
    let waker = unsafe { BorrowedFd::borrow_raw(core.waker_fd()) };
    assert_eq!(ioctl_fionread(waker).unwrap(), 0, "it was not woken");
    far.write_all(b"!").unwrap();
    wait.wait(A_MINUTE).unwrap();
    core.collect(wait, None).unwrap();
    assert_eq!([core.next(), core.next(), core.next()], [Some("ready"), Some("post"), Some("reader")]);
}

fn a_child_of_a_sleeping_loop_can_go_on() {
    let mut core = core();
    let (near, mut far) = pair();
    core.register(near.as_raw_fd(), Direction::Read, "reader").unwrap();
    let mut wait = core.lend_wait();
    let sleeper = thread::spawn(move || {
        wait.wait(A_MINUTE).unwrap();
        wait
    });
    fork(|| {
        core.reopen_after_fork().unwrap();
        core.shared().post("post");
        assert_eq!(turn(&mut core, A_MINUTE), ["post"]);
        assert_eq!(core.plan(None), Timeout::Forever);
    });
    far.write_all(b"!").unwrap();
    core.collect(sleeper.join().unwrap(), None).unwrap();
    assert_eq!(core.next(), Some("reader"));
}
