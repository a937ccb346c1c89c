//! Other threads and the sleeping loop: no post is lost, and one wake serves a burst.
//!
//! That nothing is lost is proved by the model in `loom_inbox.rs`. Here are the real threads,
//! the real pipe and the real selector; the minute a sleep may take is there so that a bug is a
//! failure and not a standstill.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use saburo_core::{Clock, Core, Timeout, Wait};

const A_MINUTE: Duration = Duration::from_secs(60);

/// Sleep until something ends it.
fn sleep(wait: &mut Wait) {
    let begin = Instant::now();
    wait.wait(Timeout::Until(A_MINUTE)).unwrap();
    assert!(begin.elapsed() < A_MINUTE, "nothing ended the sleep");
}

fn core<H>() -> Core<H> {
    Core::new(Clock::manual().0).unwrap()
}

/// One turn of a loop that sleeps if it may.
fn turn<H: Clone>(core: &mut Core<H>) {
    let timeout = core.plan(None);
    let mut wait = core.lend_wait();
    match timeout {
        Timeout::Forever => sleep(&mut wait),
        sooner => wait.wait(sooner).unwrap(),
    }
    core.collect(wait, None).unwrap();
}

/// Bytes in the waker's pipe: wakes that have not been collected.
#[cfg(target_os = "linux")]
fn wakes<H>(core: &Core<H>) -> u64 {
    // SAFETY: the core is open, borrowed, and so keeps it open.
    let waker = unsafe { std::os::fd::BorrowedFd::borrow_raw(core.waker_fd()) };
    rustix::io::ioctl_fionread(waker).unwrap()
}

#[test]
fn a_post_wakes_the_loop() {
    let mut core = core();
    let shared = core.shared();
    // Each round waits for the answer to the last, so that the loop is likely asleep by then.
    let (answer, answered) = std::sync::mpsc::channel();
    let poster = thread::spawn(move || {
        for n in 0..500 {
            shared.post(n);
            assert_eq!(answered.recv(), Ok(n));
        }
    });
    for n in 0..500 {
        turn(&mut core);
        assert_eq!(core.next(), Some(n), "woken for nothing, or not at all");
        answer.send(n).unwrap();
    }
    poster.join().unwrap();
}

#[test]
fn posts_of_many_threads_all_arrive_and_each_threads_in_order() {
    const THREADS: usize = 4;
    const POSTS: usize = 5_000;
    let mut core = core();
    let start = Arc::new(Barrier::new(THREADS));
    let posters: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (shared, start) = (core.shared(), start.clone());
            thread::spawn(move || {
                start.wait();
                (0..POSTS).for_each(|n| shared.post((thread, n)));
            })
        })
        .collect();
    let mut next = [0; THREADS];
    while next != [POSTS; THREADS] {
        turn(&mut core);
        while let Some((thread, n)) = core.next() {
            assert_eq!(n, next[thread], "of thread {thread}");
            next[thread] += 1;
        }
    }
    posters.into_iter().for_each(|poster| poster.join().unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn one_wake_serves_a_burst() {
    let mut core = core();
    let shared = core.shared();
    for _ in 0..200 {
        let mut wait = core.lend_wait();
        let sleeper = thread::spawn(move || {
            sleep(&mut wait);
            wait
        });
        (0..20).for_each(|n| shared.post(n));
        let wait = sleeper.join().unwrap();
        // None if the burst was over before it fell asleep.
        assert!(wakes(&core) <= 1, "{} wakes for one sleep", wakes(&core));
        core.collect(wait, None).unwrap();
        assert_eq!(wakes(&core), 0, "collected");
        assert_eq!(std::iter::from_fn(|| core.next()).count(), 20);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn whoever_posts_to_a_loop_that_is_awake_pays_no_system_call() {
    let core = core();
    (0..1000).for_each(|n| core.shared().post(n));
    core.shared().wake();
    assert_eq!(wakes(&core), 0);
}

#[test]
fn a_wake_before_the_sleep_prevents_it() {
    let mut core = core::<()>();
    core.shared().wake();
    assert_eq!(core.plan(None), Timeout::Now);
    let mut wait = core.lend_wait();
    sleep(&mut wait);
    core.collect(wait, None).unwrap();
    assert_eq!(core.plan(None), Timeout::Forever, "it has been seen");
}

#[test]
fn a_wake_ends_the_sleep_and_makes_nothing_ready() {
    let mut core = core::<()>();
    let shared = core.shared();
    let waker = thread::spawn(move || shared.wake());
    turn(&mut core);
    assert_eq!(core.ready_len(), 0);
    assert!(!core.has_signals());
    waker.join().unwrap();
}

#[test]
fn a_post_between_plan_and_sleep_is_seen() {
    let mut core = core();
    assert_eq!(core.plan(None), Timeout::Forever);
    core.shared().post("late");
    let mut wait = core.lend_wait();
    sleep(&mut wait);
    core.collect(wait, None).unwrap();
    assert_eq!(core.next(), Some("late"));
}

#[test]
fn after_closing_posts_are_kept_until_the_last_owner_goes() {
    let mut core = core();
    let shared = core.shared();
    let handle = Arc::new(());
    drop(core.close());
    shared.post(handle.clone());
    shared.wake();
    drop(core);
    assert_eq!(Arc::strong_count(&handle), 2);
    drop(shared);
    assert_eq!(Arc::strong_count(&handle), 1);
}
