//! Signals, as a Rust host hears of them.
//!
//! A process has one set of signal handlers, and every core that listens to a signal hears of
//! it: so the tests of this file take turns. A signal is raised on the test's own thread, where
//! its handler has run when `raise` returns, unless the thread is to be another.

use std::ffi::c_int;
use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use saburo_core::{Clock, Core, Signals, Timeout};

use libc::{SIGUSR1, SIGUSR2, SIGWINCH};

const A_MINUTE: Timeout = Timeout::Until(Duration::from_secs(60));

fn my_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|failed| failed.into_inner())
}

fn listening_to(signals: &[c_int]) -> (Core<char>, Signals) {
    let core = Core::new(Clock::manual().0).unwrap();
    let mut listener = Signals::new(&core.shared()).unwrap();
    signals.iter().for_each(|signal| listener.register(*signal).unwrap());
    (core, listener)
}

fn raise(signal: c_int) {
    // SAFETY: an integer; every test registers a handler for what it raises.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

fn turn(core: &mut Core<char>) {
    let mut wait = core.lend_wait();
    wait.wait(Timeout::Now).unwrap();
    core.collect(wait, None).unwrap();
}

fn collected(core: &mut Core<char>) -> Vec<c_int> {
    turn(core);
    core.take_signals().into_iter().map(c_int::from).collect()
}

#[test]
fn a_signal_ends_the_sleep() {
    let _turn = my_turn();
    let (mut core, _signals) = listening_to(&[SIGUSR1]);
    for _ in 0..50 {
        let mut wait = core.lend_wait();
        let sleeper = thread::spawn(move || {
            wait.wait(A_MINUTE).unwrap();
            wait
        });
        raise(SIGUSR1);
        core.collect(sleeper.join().unwrap(), None).unwrap();
        assert_eq!(core.take_signals(), [SIGUSR1 as u8]);
    }
}

#[test]
fn a_signal_that_interrupts_the_sleeping_thread_ends_the_sleep() {
    let _turn = my_turn();
    let (mut core, _signals) = listening_to(&[SIGUSR1]);
    let mut wait = core.lend_wait();
    // SAFETY: no arguments, cannot fail.
    let sleeper = unsafe { libc::pthread_self() } as usize;
    let other = thread::spawn(move || {
        // SAFETY: the thread of that name is the test's, which joins this one.
        assert_eq!(unsafe { libc::pthread_kill(sleeper as libc::pthread_t, SIGUSR1) }, 0);
    });
    wait.wait(A_MINUTE).unwrap();
    // The selector may have returned for the interruption alone, without the news.
    core.collect(wait, None).unwrap();
    other.join().unwrap();
    turn(&mut core);
    assert_eq!(core.take_signals(), [SIGUSR1 as u8]);
}

#[test]
fn a_signal_that_comes_while_nobody_waits_is_kept() {
    let _turn = my_turn();
    let (mut core, _signals) = listening_to(&[SIGUSR1]);
    raise(SIGUSR1);
    assert!(!core.has_signals(), "not before it is collected");
    let mut wait = core.lend_wait();
    wait.wait(A_MINUTE).unwrap();
    core.collect(wait, None).unwrap();
    assert!(core.has_signals());
    assert_eq!(core.take_signals(), [SIGUSR1 as u8]);
    assert!(!core.has_signals(), "and taken once");
}

#[test]
fn a_signal_read_by_a_wait_that_never_came_back_is_kept() {
    let _mine = my_turn();
    let (mut core, _signals) = listening_to(&[SIGUSR1]);
    raise(SIGUSR1);
    let mut wait = core.lend_wait();
    wait.wait(Timeout::Forever).unwrap();
    drop(wait);
    turn(&mut core);
    assert_eq!(core.take_signals(), [SIGUSR1 as u8]);
}

#[test]
fn collected_signals_stay_until_they_are_taken() {
    let _turn = my_turn();
    let (mut core, _signals) = listening_to(&[SIGUSR1]);
    for _ in 0..3 {
        raise(SIGUSR1);
        turn(&mut core);
    }
    assert_eq!(core.take_signals(), [SIGUSR1 as u8; 3]);
}

#[test]
fn several_signals_arrive_in_their_order() {
    let _turn = my_turn();
    let (mut core, _signals) = listening_to(&[SIGUSR1, SIGUSR2, SIGWINCH]);
    let raised = [SIGUSR2, SIGUSR1, SIGWINCH, SIGUSR2, SIGUSR2, SIGUSR1];
    raised.into_iter().for_each(raise);
    assert_eq!(collected(&mut core), raised);
}

#[test]
fn registering_twice_delivers_once() {
    let _turn = my_turn();
    let (mut core, mut signals) = listening_to(&[SIGUSR1, SIGUSR1]);
    raise(SIGUSR1);
    assert_eq!(collected(&mut core), [SIGUSR1]);
    assert!(signals.unregister(SIGUSR1));
    assert!(!signals.unregister(SIGUSR1), "and was registered once");
}

#[test]
fn an_unregistered_signal_is_not_delivered_and_can_be_registered_again() {
    let _turn = my_turn();
    let (mut core, mut signals) = listening_to(&[SIGUSR1, SIGUSR2]);
    assert!(signals.unregister(SIGUSR1));
    raise(SIGUSR1);
    raise(SIGUSR2);
    assert_eq!(collected(&mut core), [SIGUSR2], "the other one still is");
    signals.register(SIGUSR1).unwrap();
    raise(SIGUSR1);
    assert_eq!(collected(&mut core), [SIGUSR1]);
}

#[test]
fn dropping_the_listener_ends_the_listening() {
    let _turn = my_turn();
    let (mut core, signals) = listening_to(&[SIGUSR1, SIGUSR2]);
    drop(signals);
    raise(SIGUSR1);
    raise(SIGUSR2);
    assert_eq!(collected(&mut core), []);
}

#[test]
fn every_core_that_listens_hears_of_it() {
    let _turn = my_turn();
    let (mut one, _signals) = listening_to(&[SIGUSR1]);
    let (mut another, _signals) = listening_to(&[SIGUSR1, SIGUSR2]);
    raise(SIGUSR1);
    raise(SIGUSR2);
    assert_eq!(collected(&mut one), [SIGUSR1]);
    assert_eq!(collected(&mut another), [SIGUSR1, SIGUSR2]);
}

#[test]
fn a_wake_is_no_signal_and_a_signal_makes_nothing_ready() {
    let _turn = my_turn();
    let (mut core, _signals) = listening_to(&[SIGUSR1]);
    core.shared().wake();
    assert_eq!(collected(&mut core), []);
    core.shared().post('p');
    raise(SIGUSR1);
    assert_eq!(collected(&mut core), [SIGUSR1]);
    assert_eq!(core.next(), Some('p'));
    assert_eq!(core.next(), None);
}

#[test]
fn more_signals_than_one_read_takes_are_all_collected() {
    let _turn = my_turn();
    let (mut core, _signals) = listening_to(&[SIGUSR1]);
    for _ in 0..1200 {
        raise(SIGUSR1);
    }
    assert_eq!(collected(&mut core).len(), 1200);
}

#[test]
fn a_closed_core_does_not_listen_and_its_listener_may_outlive_it() {
    let _turn = my_turn();
    let (mut core, mut signals) = listening_to(&[SIGUSR1]);
    drop(core.close());
    raise(SIGUSR1);
    assert_eq!(collected(&mut core), []);
    let error = Signals::new(&core.shared()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    drop(core);
    raise(SIGUSR1);
    signals.register(SIGUSR2).unwrap();
    raise(SIGUSR2);
    assert!(signals.unregister(SIGUSR1));
}

#[test]
fn what_cannot_be_caught_or_survived_and_what_is_no_signal_is_refused() {
    let _turn = my_turn();
    let (_core, mut signals) = listening_to(&[]);
    use libc::{SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSTOP};
    for refused in [SIGKILL, SIGSTOP, SIGSEGV, SIGFPE, SIGILL, 0, -1, 200, 256, c_int::MAX] {
        let error = signals.register(refused).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "signal {refused}: {error}");
        assert!(!signals.unregister(refused), "signal {refused} was kept");
    }
}
