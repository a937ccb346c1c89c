//! Loop: asyncio's calls become calls of the engine.
//!
//! This file is the face, one line per method; the siblings hold what the lines call. `core` is the
//! engine. It is borrowed for single operations on queues and never while Python runs.

mod contexts;
mod current;
mod network;
mod ready;
mod run;
mod threads;
mod transports;
mod unfinished;
mod watch;
mod watched_objects;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use saburo_core::{Admission, Clock, Core, Time, TimerId};
pub(crate) use saburo_core::{Direction, Registration};

use crate::ffi::{
    Args, Builder, Class, Holds, Instance, Obj, Object, Res, Slot, Visit, attached_thread, builtin,
    copy_inherited, fields, float, int, list, no_memory, raise, trim_dead,
};
use crate::names::names;
use crate::running;

use contexts::Contexts;
use current::Current;
pub(crate) use current::{load_current, swap_current};
pub(crate) use network::{BUFFER, keep_memory};
pub(crate) use ready::{Entry, Ready};
pub(crate) use threads::{Outstanding, hand_over};
use transports::Listeners;
pub(crate) use transports::{Transport, Transports};
pub(crate) use unfinished::Unfinished;
use unfinished::UnfinishedTasks;
pub(crate) use watch::{free_number, is_free, watch_object};
use watched_objects::WatchedObjects;

/// Where a loop stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RunState {
    Idle,
    Running,
    Closed,
    /// A copy, in a forked child, of a loop that its parent is running; until the child has left that run.
    OfParent,
}

/// An event loop.
pub(crate) struct Loop {
    /// None before the first use and after close().
    core: RefCell<Option<Core<Ready>>>,
    phase: Cell<RunState>,
    /// How often this process has left a parent that was running the loop.
    forks: Cell<u32>,
    /// stop() was called: leave after this turn.
    stopping: Cell<bool>,
    /// The interpreter is released and the loop waits for events; a post from now on wakes it.
    sleeping: Cell<bool>,
    debug: Cell<bool>,
    /// The thread that runs the loop, while one does.
    thread: Cell<Option<u64>>,
    slow_callback_duration: Cell<f64>,
    native_tasks: Cell<bool>,
    /// Timers in the queue that are hidden from the collector, as long as the loop is running.
    hidden_timers: Cell<usize>,
    task_factory: Slot,
    contexts: Contexts,
    /// The loop's own threads, while `run_in_executor(None, …)` means them.
    pool: Slot,
    /// Jobs of the pool that are queued or being run.
    jobs: Cell<usize>,
    transports: Transports,
    listeners: Listeners,
    watched_objects: WatchedObjects,
    /// Transports that have something to send when the turn is over.
    unsent: RefCell<Vec<Ready>>,
    admission: Admission,
    /// What the kernel fills when a transport reads; lent out meanwhile.
    buffer: Cell<Option<Box<[u8]>>>,
    /// How long the longest stream was whose memory the allocator has been taught to keep.
    expected: Cell<usize>,
    unfinished: UnfinishedTasks,
    current: Current,
}

impl Loop {
    #[inline]
    pub(crate) fn debug(&self) -> bool {
        self.debug.get()
    }

    /// What makes its tasks, if the program has said so.
    pub(crate) fn task_factory(&self) -> Option<Obj> {
        self.task_factory.get()
    }

    /// Are its futures and tasks of ours?
    #[inline]
    pub(crate) fn has_native_tasks(&self) -> bool {
        self.native_tasks.get()
    }

    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.phase.get() == RunState::Running
    }

    #[inline]
    pub(crate) fn unfinished(&self) -> &UnfinishedTasks {
        &self.unfinished
    }

    #[inline]
    pub(crate) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    #[inline]
    pub(crate) fn current(&self) -> &Current {
        &self.current
    }

    /// Something other than a step of a task is about to run.
    #[inline]
    pub(crate) fn leave_task(this: &Instance<Loop>) -> Res<()> {
        this.current.leave(this)
    }

    /// Borrows the engine for one operation on its queues; `None` once it is closed.
    #[inline]
    fn core<R>(&self, body: impl FnOnce(&mut Core<Ready>) -> R) -> Option<R> {
        self.core.borrow_mut().as_mut().map(body)
    }

    /// Queues something to run in the next turn. In debug mode it is refused on any thread but the loop's:
    /// this is what asyncio's call_soon() is to its other parts.
    #[inline]
    pub(crate) fn push(&self, ready: Ready) -> Res<()> {
        if self.debug() {
            // A closed loop says that first.
            self.check_usable()?;
            self.check_thread()?;
        }
        self.push_from_any_thread(ready)
    }

    /// Queues something to run in the next turn, and wakes the loop if it sleeps.
    #[inline(always)]
    pub(crate) fn push_from_any_thread(&self, ready: Ready) -> Res<()> {
        if let Some(core) = self.core.borrow_mut().as_mut()
            && self.phase.get() != RunState::OfParent
            && core.has_room()
        {
            core.push(ready);
        } else {
            // The borrow has ended: what is refused may run code as it is let go of.
            return self.refuse(ready);
        }
        self.rouse();
        Ok(())
    }

    #[cold]
    fn refuse(&self, ready: Ready) -> Res<()> {
        drop(ready);
        self.check_usable().and_then(|()| no_memory())
    }

    /// Ends the loop's wait, if it waits: once, however much is queued until it is back.
    #[inline]
    fn rouse(&self) {
        if self.sleeping.replace(false) {
            self.wake();
        }
    }

    /// Only another thread can be the caller: the loop's own is asleep.
    #[cold]
    fn wake(&self) {
        self.core(|core| core.shared().wake());
    }

    /// How many entries are ready.
    pub(crate) fn queued(&self) -> usize {
        self.core(|core| core.ready_len()).unwrap_or(0)
    }

    /// Queues something for a deadline; nothing once the loop is closed. Where there is no memory it is given
    /// back.
    #[inline]
    pub(crate) fn push_at(&self, deadline: Time, ready: Ready) -> Result<Option<TimerId>, Ready> {
        let mut sooner = false;
        let id = self.core(|core| {
            sooner = core.next_deadline().is_none_or(|next| deadline < next);
            core.try_insert_timer(deadline, ready)
        });
        if sooner {
            // It waits only if another thread does this, against the rules; it still wakes in time.
            self.rouse();
        }
        id.transpose()
    }

    /// A timer that is hidden from the collector is in the queue from now on.
    #[inline]
    pub(crate) fn hidden_timer_entered(&self) {
        self.hidden_timers.set(self.hidden_timers.get() + 1);
    }

    /// Takes a timer that was cancelled out of the queue; the caller lets go of it.
    pub(crate) fn forget_timer(&self, timer: TimerId) -> Option<Ready> {
        self.core(|core| core.cancel_timer(timer)).flatten()
    }

    /// A timer that was hidden from the collector is in the queue no more.
    #[inline]
    pub(crate) fn hidden_timer_left(&self) {
        self.hidden_timers.set(self.hidden_timers.get().saturating_sub(1));
    }

    /// The run is over: the collector sees everything from now on.
    fn reveal_queued(&self) {
        self.unfinished.reveal();
        let has_timers = self.hidden_timers.take() > 0;
        self.core(|core| {
            core.for_each_ready(&mut |ready| ready.reveal());
            if has_timers {
                core.for_each_handle(&mut |ready| ready.reveal());
            }
        });
    }

    /// RuntimeError if the loop is closed, belongs to the parent process, or was never begun.
    #[inline]
    pub(crate) fn check_usable(&self) -> Res<()> {
        match self.phase.get() {
            RunState::Running => Ok(()),
            RunState::Idle if self.core.borrow().is_some() => Ok(()),
            RunState::Idle => raise(
                builtin::runtime_error(),
                "Loop.__init__() was not called: a class derived from saburo.Loop that has an __init__() must call \
                 super().__init__()",
            ),
            RunState::Closed => raise(builtin::runtime_error(), "Event loop is closed"),
            RunState::OfParent => raise(
                builtin::runtime_error(),
                "This event loop is running in the parent process; a forked child must make a loop of its own",
            ),
        }
    }

    pub(crate) fn runs_on_this_thread(&self) -> bool {
        self.thread.get() == Some(attached_thread())
    }

    /// In debug mode, RuntimeError on any thread but the loop's.
    #[cold]
    pub(crate) fn check_thread(&self) -> Res<()> {
        if self.thread.get().is_none() || self.runs_on_this_thread() {
            return Ok(());
        }
        raise(
            builtin::runtime_error(),
            "Non-thread-safe operation invoked on an event loop other than the current one",
        )
    }
}

/// `copy_inherited_methods(derived)`
pub(crate) fn copy_inherited_methods(args: Args<'_>) -> Res<()> {
    copy_inherited::<Loop>(args.sole("copy_inherited_methods", "derived")?)
}

fn check_running(this: &Instance<Loop>) -> Res<()> {
    if this.is_running() {
        return raise(builtin::runtime_error(), "This event loop is already running");
    }
    // Looked up each time, as what run_forever() tells is: tools that replace one replace both.
    if !names().asyncio.method(&names().get_running_loop, &[])?.is_none() {
        return raise(builtin::runtime_error(), "Cannot run the event loop while another loop is running");
    }
    Ok(())
}

/// Lets go of everything queued and closes the descriptors. Idempotent.
fn close(this: &Instance<Loop>) -> Res<()> {
    if this.is_running() {
        return raise(builtin::runtime_error(), "Cannot close a running event loop");
    }
    this.phase.set(RunState::Closed);
    // A forked child may close what its parent is running.
    this.reveal_queued();
    // Out of its field first: letting go of what it holds runs code that may look at the loop.
    let core = this.core.borrow_mut().take();
    if let Some(mut core) = core {
        drop(core.close());
    }
    drop(this.watched_objects.take());
    this.unfinished.dismiss();
    network::abandon(this);
    // The next loop may need as many again; or there is none.
    trim_dead();
    Ok(())
}

fn stop(this: &Instance<Loop>) {
    this.stopping.set(true);
    this.rouse();
}

fn set_task_factory(this: &Instance<Loop>, factory: &Object) -> Res<()> {
    if factory.is_none() {
        this.task_factory.set(None);
        return Ok(());
    }
    if !factory.is_callable() {
        return raise(builtin::type_error(), "task factory must be a callable or None");
    }
    this.task_factory.set(Some(factory.to_obj()));
    Ok(())
}

fn init(this: &Instance<Loop>, _args: Args<'_>) -> Res<()> {
    open(this)
}

/// Makes the engine if there is none yet.
fn open(this: &Instance<Loop>) -> Res<()> {
    if this.core.borrow().is_some() || this.phase.get() == RunState::Closed {
        return Ok(());
    }
    let core = Core::new(Clock::monotonic())?;
    *this.core.borrow_mut() = Some(core);
    Ok(())
}

/// In a forked child: a loop the parent runs is refused from now on and has nothing left of what the parent
/// does with it; an idle one gets descriptors of its own. So nothing the child does reaches the parent's.
fn after_fork(this: &Instance<Loop>) -> Res<()> {
    running::after_fork();
    threads::forget(this);
    match this.phase.get() {
        RunState::Running => {
            this.phase.set(RunState::OfParent);
            this.forks.set(this.forks.get() + 1);
            this.sleeping.set(false);
            this.thread.set(None);
            leave_to_parent(this)
        }
        RunState::Idle => match this.core(|core| core.reopen_after_fork()) {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(()),
        },
        RunState::Closed | RunState::OfParent => Ok(()),
    }
}

/// In a forked child: all that the loop was about to do is its parent's. None of it is let go of here, which
/// would run code, such as the `finally` of a coroutine.
fn leave_to_parent(this: &Instance<Loop>) -> Res<()> {
    this.reveal_queued();
    if let Some(core) = this.core.borrow_mut().take() {
        core.leave_to_parent();
    }
    std::mem::forget((this.watched_objects.take(), this.unfinished.drain()));
    // If the fork was in a callback, it is the last one of this run.
    this.stopping.set(true);
    network::leave_to_parent(this)
}

impl Class for Loop {
    fields! {
        class;
        objects {
            task_factory, pool, core, watched_objects: WatchedObjects::new(), unfinished: UnfinishedTasks::new(),
            contexts: Contexts::new(), unsent, transports: Transports::new(),
            listeners: Listeners::new(),
        }
        // A pointer that is compared, and keeps nothing.
        unseen { current: Current::new() }
        plain {
            phase: Cell::new(RunState::Idle), forks, stopping, sleeping, debug, thread,
            slow_callback_duration: Cell::new(0.1), native_tasks: Cell::new(true), hidden_timers, jobs,
            admission: Admission::new(), buffer, expected: Cell::new(network::KEPT_ANYWAY),
        }
    }

    const NAME: &'static CStr = c"saburo._saburo.Loop";
    const DOC: &'static CStr = c"The native half of saburo.Loop: time, order, descriptors, tasks.

>>> import saburo
>>> issubclass(saburo.Loop, saburo._saburo.Loop)
True";

    fn describe(builder: Builder<Loop>) -> Builder<Loop> {
        let builder = builder
            .init(init)
            .many(
                c"set_task_factory",
                |this, args| set_task_factory(this, args.sole("Loop.set_task_factory", "factory")?),
                c"set_task_factory(factory): makes create_task call factory(loop, coro, **kwargs); None restores the default.",
            )
            .noargs(c"get_task_factory", |this| this.task_factory.get(), c"The task factory, None for the default.")
            .noargs(c"stop", stop, c"Makes run_forever() return at the end of the current turn.")
            .noargs(c"is_running", |this| this.is_running(), c"Is the loop running?")
            .noargs(c"is_closed", |this| this.is_closed(), c"Was the loop closed?")
            .noargs(c"get_debug", |this| this.debug.get(), c"Is debug mode on?")
            .one(
                c"set_debug",
                |this, enabled| {
                    this.debug.set(enabled.truth()?);
                    Ok(())
                },
                c"set_debug(enabled): switches debug mode.",
            );
        describe_rest(builder)
    }
}

fn describe_rest(builder: Builder<Loop>) -> Builder<Loop> {
    network::describe(builder)
        .many(
            c"remove_reader",
            |this, args| watch::remove_reader(this, args.sole("Loop.remove_reader", "fd")?),
            c"remove_reader(fd): stops watching fd for reading; returns whether it was watched.",
        )
        .many(
            c"remove_writer",
            |this, args| watch::remove_writer(this, args.sole("Loop.remove_writer", "fd")?),
            c"remove_writer(fd): stops watching fd for writing; returns whether it was watched.",
        )
        .noargs(c"_check_closed", |this| this.check_usable(), c"RuntimeError if the loop is closed.")
        .noargs(c"_check_running", check_running, c"RuntimeError if a loop is running on this thread.")
        .noargs(c"_check_thread", |this| this.check_thread(), c"RuntimeError on any thread but the loop's.")
        .noargs(c"_run", run::run, c"Runs turns until stop() is called.")
        .noargs(c"_close", close, c"Lets go of everything queued and closes the descriptors.")
        .noargs(
            c"_signal_fd",
            |this| {
                this.check_usable()?;
                int(i64::from(this.core(|core| core.waker_fd()).unwrap_or(-1)))
            },
            c"The descriptor for signal.set_wakeup_fd.",
        )
        .noargs(
            c"_unfinished_tasks",
            |this| list(this.unfinished.snapshot()?.into_iter()),
            c"The loop's native tasks that are not done.",
        )
        .noargs(c"_after_fork", after_fork, c"Called in a forked child, for each loop there is.")
        .getter(
            c"_forks",
            |this| int(i64::from(this.forks.get())),
            c"How often this process has left a parent that was running the loop.",
        )
        .getter(
            c"slow_callback_duration",
            |this| float(this.slow_callback_duration.get()),
            c"In debug mode, a callback that takes longer than this many seconds is logged.",
        )
        .setter(|this, seconds| {
            this.slow_callback_duration.set(seconds.as_f64()?);
            Ok(())
        })
        .getter(
            c"_native_tasks",
            |this| this.native_tasks.get(),
            c"False: asyncio's own Task and Future throughout.",
        )
        .setter(|this, native| {
            this.native_tasks.set(native.truth()?);
            Ok(())
        })
        .getter(c"_task_factory", |this| this.task_factory.get(), c"The task factory, None for the default.")
        .getter(
            c"_thread_id",
            |this| this.thread.get().map(|thread| int(thread as i64)).transpose(),
            c"The thread that runs the loop, None if none does.",
        )
        .getter(c"_closed", |this| this.is_closed(), c"Was the loop closed?")
}

impl Holds for RefCell<Option<Core<Ready>>> {
    fn visit(&self, visit: &mut Visit<'_>) {
        // Borrowed only between Python calls, and the collector runs inside one.
        if let Ok(core) = self.try_borrow()
            && let Some(core) = &*core
        {
            core.for_each_handle(&mut |ready| visit.object(ready.as_object()));
        }
    }

    fn clear(&self) {
        let handles = self.borrow_mut().as_mut().map(Core::drain);
        drop(handles);
    }
}
