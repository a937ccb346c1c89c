//! Running: one turn after another until stop().
//!
//! A turn has four verbs. **plan**: how long may we sleep? **wait**: the only blocking call, with the
//! interpreter released. **collect**: events and due timers become ready. **batch**: run exactly what
//! was ready when the turn began; what that makes ready waits for the next turn. Then what transports
//! have gathered is sent.

use std::time::Instant;

use saburo_core::Timeout;

use crate::ffi::{
    Instance, Res, aside, attached_thread, builtin, bytes, check_signals, detach, float, raise,
};
use crate::names::names;

use super::{Loop, Ready, RunState, network};

pub(super) fn run(this: &Instance<Loop>) -> Res<()> {
    this.check_usable()?;
    if this.is_running() {
        return raise(builtin::runtime_error(), "This event loop is already running");
    }
    this.phase.set(RunState::Running);
    this.thread.set(Some(attached_thread()));
    let _guard = RunGuard(this);
    this.contexts.begin()?;
    loop {
        turn(this)?;
        if this.stopping.get() {
            // An error in a child that was forked in this turn: the run is its parent's.
            return this.check_usable();
        }
    }
}

/// However the run ends, the loop can be run again.
struct RunGuard<'a>(&'a Instance<Loop>);

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        let event_loop = self.0;
        aside(|| {
            if let Err(raised) = network::send_unsent(event_loop) {
                raised.unraisable(event_loop.as_object());
            }
        });
        aside(|| event_loop.contexts.end());
        event_loop.stopping.set(false);
        event_loop.thread.set(None);
        match event_loop.phase.get() {
            RunState::Running => event_loop.phase.set(RunState::Idle),
            RunState::OfParent => {
                // A forked child has left its parent's run. What it has is a loop of its own that is new.
                event_loop.phase.set(RunState::Idle);
                aside(|| {
                    if let Err(raised) = super::open(event_loop) {
                        raised.unraisable(event_loop.as_object());
                    }
                });
            }
            RunState::Idle | RunState::Closed => {}
        }
        // Only now, when what is made is hidden no more: contexts that are let go of may run code that queues
        // something.
        event_loop.reveal_queued();
        // Taking the entry out may fail only with the interpreter itself going down.
        aside(|| {
            if let Err(raised) = event_loop.current.leave(event_loop) {
                raised.unraisable(event_loop.as_object());
            }
        });
    }
}

fn turn(this: &Instance<Loop>) -> Res<()> {
    // One borrow for all that a busy turn asks.
    let busy = this.core(|core| {
        // A worker that waits for the interpreter needs it released again and again: measured at 14-19 µs
        // to_thread on a busy loop, against 20 to 900 with a poll every 61 turns.
        if this.stopping.get() || core.poll_is_due(this.has_jobs()) {
            return None;
        }
        core.collect_due(None);
        Some(core.begin_batch())
    });
    match busy.flatten() {
        Some(count) => batch(this, count)?,
        None => {
            poll(this)?;
            let count = this.core(|core| core.begin_batch()).unwrap_or(0);
            batch(this, count)?;
        }
    }
    network::send_unsent(this)
}

/// plan, wait, collect.
fn poll(this: &Instance<Loop>) -> Res<()> {
    let idle = this.core(|core| core.ready_len() == 0).unwrap_or(true);
    if idle {
        // No loop is the running one while this loop sleeps.
        this.current.leave(this)?;
    }
    let planned = this.core(|core| {
        let timeout = if this.stopping.get() {
            Timeout::Now
        } else if idle {
            core.plan(core.next_deadline().map(|_| core.now()))
        } else {
            Timeout::Now
        };
        (timeout, core.lend_wait())
    });
    let Some((timeout, mut wait)) = planned else { return this.check_usable() };
    // From here to the end of the wait other threads may run Python and queue things.
    this.sleeping.set(!matches!(timeout, Timeout::Now));
    let (wait, waited) = detach(move || {
        let waited = wait.wait(timeout);
        (wait, waited)
    });
    this.sleeping.set(false);
    let collected = this.core(|core| core.collect(wait, None));
    this.admission.begin_turn();
    check_signals()?;
    if let Some(signals) = this.core(|core| core.has_signals().then(|| core.take_signals())).flatten() {
        this.as_object().method(&names().handle_signals, &[&*bytes(&signals)?])?;
    }
    match waited.err().or(collected.and_then(Result::err)) {
        Some(failed) => Err(failed.into()),
        None => Ok(()),
    }
}

/// Runs exactly what was ready when the turn began. The only place where a callback is called.
fn batch(this: &Instance<Loop>, count: usize) -> Res<()> {
    for _ in 0..count {
        // Closed or emptied meanwhile by what it ran: then there is nothing left.
        let next = this.core(|core| {
            if count > MANY
                && let Some(ahead) = core.peek(AHEAD)
            {
                ahead.as_object().prefetch(192);
            }
            core.next()
        });
        let Some(ready) = next.flatten() else { break };
        if this.debug() { run_watched(this, &ready)? } else { ready.run(this)? }
    }
    Ok(())
}

/// In a larger batch, what is about to run has left the caches since it was queued.
const MANY: usize = 1024;
/// How far ahead to fetch it back: one callback hardly lasts as long as that takes.
const AHEAD: usize = 3;

/// Debug mode: reports what takes long.
#[cold]
fn run_watched(this: &Instance<Loop>, ready: &Ready) -> Res<()> {
    let started = Instant::now();
    let done = ready.run(this);
    let seconds = started.elapsed().as_secs_f64();
    if done.is_ok() && seconds >= this.slow_callback_duration.get() {
        // It may have left the loop just now, and whoever writes the report may keep it.
        ready.reveal();
        this.as_object().method(&names().report_slow, &[ready.as_object(), &*float(seconds)?])?;
    }
    done
}
