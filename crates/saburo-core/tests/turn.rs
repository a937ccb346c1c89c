//! The turn: what each verb brings, in which order, and what becomes of the handles.
//!
//! The clock is set by hand. Where a test sleeps in the kernel, something it does itself ends
//! the sleep; the minute it allows is there so that a bug is a failure and not a standstill.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use saburo_core::{Clock, Core, Direction, ManualClock, Time, Timeout, Wait};

const A_MINUTE: Duration = Duration::from_secs(60);

/// Sleep until something ends it.
fn sleep(wait: &mut Wait) {
    let begin = Instant::now();
    wait.wait(Timeout::Until(A_MINUTE)).unwrap();
    assert!(begin.elapsed() < A_MINUTE, "nothing ended the sleep");
}

fn core<H>() -> (Core<H>, ManualClock) {
    let (clock, hand) = Clock::manual();
    (Core::new(clock).unwrap(), hand)
}

fn turn<H: Clone>(core: &mut Core<H>) {
    let mut wait = core.lend_wait();
    wait.wait(Timeout::Now).unwrap();
    core.collect(wait, None).unwrap();
}

fn ready<H>(core: &mut Core<H>) -> Vec<H> {
    std::iter::from_fn(|| core.next()).collect()
}

/// A descriptor that is readable and writable.
fn lively() -> (UnixStream, UnixStream) {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"!").unwrap();
    (near, far)
}

// ---- plan ----

#[test]
fn there_is_no_sleep_while_something_is_ready_posted_or_due() {
    let (mut core, hand) = core();
    assert_eq!(core.plan(None), Timeout::Forever);

    core.push('r');
    assert_eq!(core.plan(None), Timeout::Now);
    core.next();

    core.shared().post('p');
    assert_eq!(core.plan(None), Timeout::Now);
    turn(&mut core);
    core.next();

    core.insert_timer(Time::from_nanos(5), 't');
    assert_eq!(core.plan(None), Timeout::Until(Duration::from_nanos(5)));
    hand.set(Time::from_nanos(5));
    assert_eq!(core.plan(None), Timeout::Now);
}

#[test]
fn a_sleep_ends_when_the_first_timer_is_due() {
    let (mut core, hand) = core();
    core.insert_timer(Time::NEVER, 'n');
    assert_eq!(core.plan(None), Timeout::Forever, "nothing will ever be due");
    core.insert_timer(Time::from_nanos(50), 'l');
    let first = core.insert_timer(Time::from_nanos(30), 'f');
    hand.set(Time::from_nanos(10));
    assert_eq!(core.plan(None), Timeout::Until(Duration::from_nanos(20)));
    assert_eq!(core.plan(Some(Time::from_nanos(29))), Timeout::Until(Duration::from_nanos(1)));
    core.cancel_timer(first);
    assert_eq!(core.plan(None), Timeout::Until(Duration::from_nanos(40)));
}

// ---- collect ----

#[test]
fn posts_come_before_events_and_events_before_timers() {
    let (mut core, hand) = core();
    let (near, _far) = lively();
    core.insert_timer(Time::from_nanos(2), "second timer");
    core.insert_timer(Time::from_nanos(1), "first timer");
    core.register(near.as_raw_fd(), Direction::Read, "event").unwrap();
    core.shared().post("first post");
    core.shared().post("second post");
    core.push("ready before");
    hand.set(Time::from_nanos(2));
    turn(&mut core);
    let order = ["ready before", "first post", "second post", "event", "first timer", "second timer"];
    assert_eq!(ready(&mut core), order);
}

#[test]
fn collecting_without_a_wait_brings_posts_and_timers_and_no_events() {
    let (mut core, _) = core();
    let (near, _far) = lively();
    core.register(near.as_raw_fd(), Direction::Read, "event").unwrap();
    core.insert_timer(Time::ZERO, "timer");
    core.insert_timer(Time::from_nanos(1), "not yet");
    core.shared().post("post");
    core.collect_due(None);
    assert_eq!(ready(&mut core), ["post", "timer"]);
    core.collect_due(Some(Time::from_nanos(1)));
    assert_eq!(ready(&mut core), ["not yet"], "the time it is told counts, not the clock's");
}

#[test]
fn what_a_wait_brought_is_collected_once() {
    let (mut core, _) = core();
    let (near, _far) = lively();
    core.register(near.as_raw_fd(), Direction::Read, "event").unwrap();
    turn(&mut core);
    assert_eq!(ready(&mut core), ["event"]);
    let has_not_waited = core.lend_wait();
    core.collect(has_not_waited, None).unwrap();
    assert_eq!(ready(&mut core), [""; 0]);
}

#[test]
fn a_turn_grows_to_see_all_descriptors_that_are_ready() {
    let (mut core, _) = core();
    let sockets: Vec<_> = (0..200).map(|_| lively()).collect();
    for (n, (near, _)) in sockets.iter().enumerate() {
        core.register(near.as_raw_fd(), Direction::Read, n).unwrap();
    }
    // The first turns see as many as there was room for, and make room.
    for _ in 0..3 {
        turn(&mut core);
    }
    ready(&mut core);
    turn(&mut core);
    let mut seen = ready(&mut core);
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..200));
}

// ---- batch ----

#[test]
fn a_batch_runs_what_was_ready_when_it_began_and_not_what_that_makes_ready() {
    let (mut core, _) = core();
    core.push(1);
    core.push(2);
    let mut ran = Vec::new();
    for _ in 0..core.begin_batch() {
        let handle = core.next().unwrap();
        ran.push(handle);
        core.push(handle * 10);
        core.shared().post(handle * 100);
        core.insert_timer(Time::ZERO, handle * 1000);
    }
    assert_eq!(ran, [1, 2]);
    turn(&mut core);
    assert_eq!(ready(&mut core), [10, 20, 100, 200, 1000, 2000]);
}

#[test]
fn a_handle_pushed_to_the_front_runs_before_all_others() {
    let (mut core, _) = core();
    core.push("second");
    core.push("third");
    core.push_front("first");
    assert_eq!(core.begin_batch(), 3);
    assert_eq!(ready(&mut core), ["first", "second", "third"]);
}

// ---- the wait lent out ----

/// Sleep on another thread, as a host does that gives up its lock; the wait comes back.
fn asleep(mut wait: Wait) -> std::thread::JoinHandle<Wait> {
    std::thread::spawn(move || {
        sleep(&mut wait);
        wait
    })
}

#[test]
fn a_descriptor_added_meanwhile_ends_the_sleep() {
    let (mut core, _) = core();
    let sleeper = asleep(core.lend_wait());
    let (near, _far) = lively();
    core.register(near.as_raw_fd(), Direction::Read, "added meanwhile").unwrap();
    core.collect(sleeper.join().unwrap(), None).unwrap();
    assert_eq!(ready(&mut core), ["added meanwhile"]);
}

#[test]
fn a_descriptor_removed_after_it_had_news_reaches_nobody() {
    let (mut core, _) = core();
    let (near, _far) = lively();
    let fd = near.as_raw_fd();
    let removed = core.register(fd, Direction::Read, "removed").unwrap().registration;
    let mut wait = core.lend_wait();
    wait.wait(Timeout::Now).unwrap();
    core.deregister(removed);
    // Same descriptor, same slot, a new registration: the event was not for this one.
    core.register(fd, Direction::Read, "registered since").unwrap();
    core.collect(wait, None).unwrap();
    assert_eq!(ready(&mut core), [""; 0]);
    turn(&mut core);
    assert_eq!(ready(&mut core), ["registered since"]);
}

#[test]
fn closing_ends_the_sleep_and_what_comes_back_is_not_collected() {
    let (mut core, _) = core();
    let (near, mut far) = UnixStream::pair().unwrap();
    core.register(near.as_raw_fd(), Direction::Read, "reader").unwrap();
    let sleeper = asleep(core.lend_wait());
    assert!(core.close().eq(["reader"]));
    let wait = sleeper.join().unwrap();
    far.write_all(b"!").unwrap();
    core.shared().post("too late");
    core.collect(wait, None).unwrap();
    assert_eq!(core.ready_len(), 0);
}

#[test]
fn a_wait_lent_by_a_closed_core_does_not_sleep() {
    let (mut core, _) = core::<()>();
    drop(core.close());
    sleep(&mut core.lend_wait());
}

#[test]
fn a_wait_that_never_came_back_is_replaced() {
    let (mut core, _) = core();
    let (near, _far) = lively();
    core.register(near.as_raw_fd(), Direction::Read, "event").unwrap();
    drop(core.lend_wait());
    turn(&mut core);
    assert_eq!(ready(&mut core), ["event"]);
}

#[test]
fn another_cores_wait_brings_nothing() {
    let (mut one, _) = core();
    let (mut other, _) = core();
    let (near, _far) = lively();
    one.register(near.as_raw_fd(), Direction::Read, "one's").unwrap();
    other.register(near.as_raw_fd(), Direction::Read, "other's").unwrap();
    let mut wait = one.lend_wait();
    sleep(&mut wait);
    other.collect(wait, None).unwrap();
    assert_eq!(other.ready_len(), 0);
    turn(&mut other);
    assert_eq!(ready(&mut other), ["other's"]);
}

#[test]
fn a_wait_until_a_moment_too_short_for_milliseconds_ends_without_news() {
    let (mut core, _) = core::<()>();
    for nanos in [1, 50_000, 1_500_000] {
        let mut wait = core.lend_wait();
        wait.wait(Timeout::Until(Duration::from_nanos(nanos))).unwrap();
        core.collect(wait, None).unwrap();
    }
    assert_eq!(core.ready_len(), 0);
}

#[test]
fn a_wait_never_ends_before_its_time_without_news() {
    let mut core = Core::<()>::new(Clock::monotonic()).unwrap();
    for nanos in [1_000, 999_999, 1_000_001, 11_000_001] {
        let due = core.now().saturating_add(Duration::from_nanos(nanos));
        core.insert_timer(due, ());
        let Timeout::Until(duration) = core.plan(None) else { continue };
        let mut wait = core.lend_wait();
        wait.wait(Timeout::Until(duration)).unwrap();
        core.collect(wait, None).unwrap();
        assert_eq!(core.next(), Some(()), "the timer slept for is due: {nanos} ns");
    }
}

// ---- what becomes of handles ----

#[test]
fn draining_hands_back_every_handle_and_leaves_the_core_usable() {
    let (mut core, _) = core();
    let (near, _far) = lively();
    let fd = near.as_raw_fd();
    core.push("ready");
    core.insert_timer(Time::NEVER, "timer");
    core.register(fd, Direction::Read, "reader").unwrap();
    core.register(fd, Direction::Write, "writer").unwrap();
    core.shared().post("post");

    let mut handles: Vec<_> = core.drain().collect();
    handles.sort_unstable();
    assert_eq!(handles, ["post", "reader", "ready", "timer", "writer"]);
    assert_eq!(core.ready_len() + core.timer_count() + core.registered(), 0);
    turn(&mut core);
    assert_eq!(core.ready_len(), 0, "and no descriptor is watched");

    core.register(fd, Direction::Read, "again").unwrap();
    core.shared().post("also");
    turn(&mut core);
    assert_eq!(ready(&mut core), ["also", "again"]);
}

#[test]
fn closing_hands_back_every_handle_and_takes_no_descriptors_after() {
    let (mut core, _) = core();
    let (near, _far) = lively();
    core.push("ready");
    let writer = core.register(near.as_raw_fd(), Direction::Write, "writer").unwrap().registration;
    assert!(core.close().eq(["ready", "writer"]));
    assert!(core.is_closed());
    assert_eq!(core.close().count(), 0);

    let refused = core.register(near.as_raw_fd(), Direction::Read, "refused").unwrap_err();
    assert_eq!(refused.error.kind(), std::io::ErrorKind::NotConnected);
    assert_eq!(refused.handle, "refused");
    assert_eq!(core.deregister(writer), None);
    assert!(core.reopen_after_fork().is_err());
}

#[test]
fn a_collector_is_shown_every_handle_but_those_still_in_the_inbox() {
    let (mut core, _) = core();
    let (near, _far) = lively();
    let fd = near.as_raw_fd();
    core.push("ready");
    core.insert_timer(Time::NEVER, "timer");
    core.register(fd, Direction::Read, "reader").unwrap();
    core.register(fd, Direction::Write, "writer").unwrap();
    core.shared().post("nobody's yet");
    let mut seen = Vec::new();
    core.for_each_handle(&mut |handle| seen.push(*handle));
    seen.sort_unstable();
    assert_eq!(seen, ["reader", "ready", "timer", "writer"]);
}

/// Dropping a handle may run foreign code, so the core leaves it to its host.
#[test]
fn the_core_drops_no_handle_by_itself() {
    let (mut core, _) = core();
    let handle = Rc::new(());
    let (near, _far) = lively();
    let fd = near.as_raw_fd();
    let mut kept = Vec::new();

    core.register(fd, Direction::Read, handle.clone()).unwrap();
    kept.extend(core.register(fd, Direction::Read, handle.clone()).unwrap().replaced);
    let writer = core.register(fd, Direction::Write, handle.clone()).unwrap().registration;
    kept.extend(core.deregister(writer));
    kept.push(core.register(-1, Direction::Write, handle.clone()).unwrap_err().handle);
    let cancelled = core.insert_timer(Time::ZERO, handle.clone());
    kept.extend(core.cancel_timer(cancelled));
    core.insert_timer(Time::ZERO, handle.clone());
    core.shared().post(handle.clone());
    core.push(handle.clone());
    assert_eq!(Rc::strong_count(&handle), 1 + 8);

    turn(&mut core);
    assert_eq!(Rc::strong_count(&handle), 1 + 8 + 1, "an event is a clone of the reader");
    kept.extend(core.next());
    kept.extend(core.close());
    assert_eq!(Rc::strong_count(&handle), 1 + 9);
    assert_eq!(kept.len(), 9);
}
