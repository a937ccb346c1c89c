//! Pool: the threads that run a loop's blocking calls.
//!
//! The rule that makes it right: the interpreter lock is the queue's lock. Only attached threads put jobs in
//! and take them out. So no thread waits for the interpreter while it holds a lock, or the other way round,
//! and the collector can look at the queue at any time. Idle workers wait, detached, at a [`Gate`], which
//! does not know about Python. A result never changes a future on the worker's thread: it is stored in the
//! future, and the loop announces it in its next turn, as asyncio does.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::callable;
use crate::event_loop::{Loop, Outstanding, hand_over};
use crate::ffi::{
    Args, Builder, Class, Context, Instance, Obj, Object, Own, Owns, Res, aside, builtin, detach, fields,
    inside, int, raise,
};
use crate::future::{self, Future};
use crate::handle::Arguments;
use crate::names::names;

/// Threads that run jobs of one loop.
pub(crate) struct Pool {
    /// Jobs that have not begun, oldest first.
    jobs: RefCell<VecDeque<Job>>,
    /// The most threads that may be made.
    limit: Cell<usize>,
    /// The number of threads that have been made.
    threads: Cell<usize>,
    /// Workers that wait at the gate and have not been called. A worker that was called is not idle any more,
    /// even if it has not started to run yet.
    idle: Cell<usize>,
    phase: Cell<PoolState>,
    gate: Gate,
}

/// The state of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PoolState {
    Open,
    /// Takes no new jobs. Jobs that were taken are done, then the threads end.
    Ending,
    /// In a forked child, a copy of the parent's pool: its threads do not exist here, and its jobs are not
    /// ours.
    Abandoned,
}

/// A call to make, and the future for its result.
struct Job {
    future: Own<Future>,
    event_loop: Outstanding,
    function: Obj,
    args: Arguments,
    context: Context,
}

/// `loop.run_in_executor(None, function, *args)`; Python handles everything but the usual case.
fn run_in_executor(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    if let &[executor, function, ref rest @ ..] = args.positional()
        && executor.is_none()
        && args.names().is_none()
        && !this.debug()
        && let Some(pool) = this.pool().get()
        && let Some(pool) = pool.cast::<Pool>()
        && pool.phase.get() == PoolState::Open
    {
        this.check_usable()?;
        callable::check_job(function)?;
        return submit(pool, this, function, rest).map(Own::into_obj);
    }
    this.as_object().method_with_names(&names().run_in_any_executor, args.all(), args.names())
}

/// `_submit(loop, function, *args)`, for the unusual cases after Python has checked them.
fn submit_any(this: &Instance<Pool>, args: Args<'_>) -> Res<Obj> {
    if let &[event_loop, function, ref rest @ ..] = args.positional()
        && let Some(event_loop) = event_loop.cast::<Loop>()
    {
        return submit(this, event_loop, function, rest).map(Own::into_obj);
    }
    raise(builtin::type_error(), "_submit() needs a loop and a function")
}

/// Queues a call and ensures that a thread will make it.
fn submit(
    this: &Instance<Pool>,
    event_loop: &Instance<Loop>,
    function: &Object,
    args: &[&Object],
) -> Res<Own<Future>> {
    let future = future::new_future(event_loop)?;
    let job = Job {
        future: future.clone(),
        event_loop: Outstanding::on(event_loop),
        function: function.to_obj(),
        args: Arguments::from_slice(args)?,
        context: Context::copy_current()?,
    };
    // Checked only now: making objects may collect garbage, and that may run any code.
    if this.phase.get() != PoolState::Open {
        return raise(builtin::runtime_error(), "cannot schedule new futures after shutdown");
    }
    this.jobs.borrow_mut().try_reserve(1)?;
    this.jobs.borrow_mut().push_back(job);
    if this.idle.get() > 0 {
        this.idle.set(this.idle.get() - 1);
        this.gate.open(1);
    } else if this.threads.get() < this.limit.get() {
        start_thread(this, &future)?;
    }
    Ok(future)
}

/// Starts a thread for the job just queued. On an error the job is removed again.
fn start_thread(this: &Instance<Pool>, future: &Own<Future>) -> Res<()> {
    let number = this.threads.get();
    this.threads.set(number + 1);
    let Err(raised) = this.as_object().method(&names().start_thread, &[&*int(number as i64)?]) else {
        return Ok(());
    };
    this.threads.set(this.threads.get() - 1);
    let withdrawn = {
        let mut jobs = this.jobs.borrow_mut();
        let place = jobs.iter().rposition(|job| job.future.as_object().is(future.as_object()));
        place.and_then(|place| jobs.remove(place))
    };
    // If another worker has begun the job meanwhile, the thread was not needed. Then a failure to make it
    // does not matter, but Ctrl-C does.
    if withdrawn.is_none() && raised.matches(builtin::runtime_error()) {
        raised.swallow();
        return Ok(());
    }
    aside(|| drop(withdrawn));
    Err(raised)
}

/// How long a worker keeps the interpreter while jobs wait and the loop has results to process.
///
/// This is the interpreter's own switch interval. Calls that run no Python code never check that interval:
/// without this limit they would block the loop until the queue is empty. A shorter time is worse, because
/// each hand-over leaves the interpreter idle until a thread has woken (1 ms: up to twice the time for jobs
/// of 3 ms, on a busy machine, November 2026).
const SLICE: Duration = Duration::from_millis(5);

/// `_work()`: the life of a worker thread.
fn work(this: &Instance<Pool>) -> Res<()> {
    let mut attached = Instant::now();
    loop {
        // The alarm of a loop that sleeps and has received a result.
        let mut alarm = None;
        while let Some(job) = this.next() {
            let event_loop = job.run();
            alarm = event_loop.alarm_if_sleeping();
            let overdue = if attached.elapsed() >= SLICE { event_loop.alarm() } else { None };
            drop(event_loop);
            // From here to the gate, no code runs that could queue a job unseen.
            if this.jobs.borrow().is_empty() {
                // The loop is woken only after the release: if woken now, it would find the interpreter
                // taken.
                break;
            }
            if let Some(alarm) = alarm.take() {
                // The next job may take long.
                alarm.ring();
            }
            if let Some(alarm) = overdue {
                detach(move || hand_over(&alarm));
                attached = Instant::now();
            }
        }
        if this.phase.get() != PoolState::Open {
            if let Some(alarm) = alarm {
                alarm.ring();
            }
            return Ok(());
        }
        this.idle.set(this.idle.get() + 1);
        let gate = &this.gate;
        detach(move || {
            if let Some(alarm) = alarm {
                alarm.ring();
            }
            gate.pass();
        });
        attached = Instant::now();
    }
}

impl Pool {
    fn next(&self) -> Option<Job> {
        if self.phase.get() == PoolState::Abandoned {
            return None;
        }
        self.jobs.borrow_mut().pop_front()
    }

    /// No new jobs; the threads end when those taken are done.
    fn finish(&self) {
        if self.phase.get() == PoolState::Open {
            self.phase.set(PoolState::Ending);
            self.gate.open(self.idle.take());
        }
    }
}

impl Job {
    /// Makes the call, unless its future was cancelled before, and posts the result. Afterwards the job holds
    /// only the reference to its loop.
    fn run(self) -> Own<Loop> {
        let Job { future, event_loop, function, args, context } = self;
        let done = (!future.is_done()).then(|| inside(context.as_object(), || args.call(&function)));
        let done = done.map(|done| done.map_err(|raised| raised.take()));
        // Before any thread can see the result: the code that gets it may rely on the arguments being gone.
        drop((function, args, context));
        let event_loop = event_loop.end();
        match done {
            Some(Ok(value)) => event_loop.post(future::returned(future, value)),
            Some(Err(exception)) => event_loop.post(future::failed(future, exception)),
            None => {}
        }
        event_loop
    }
}

impl Owns for Job {
    fields! {
        value;
        objects { future, event_loop, function, args, context }
    }
}

/// The gate at which idle workers wait. It is opened for a number of workers, which then pass, one each.
struct Gate {
    passes: Mutex<usize>,
    opened: Condvar,
}

impl Gate {
    const fn new() -> Gate {
        Gate { passes: Mutex::new(0), opened: Condvar::new() }
    }

    fn open(&self, passes: usize) {
        *self.passes.lock().unwrap_or_else(PoisonError::into_inner) += passes;
        for _ in 0..passes {
            self.opened.notify_one();
        }
    }

    fn pass(&self) {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        while *passes == 0 {
            passes = self.opened.wait(passes).unwrap_or_else(PoisonError::into_inner);
        }
        *passes -= 1;
    }
}

fn init(this: &Instance<Pool>, args: Args<'_>) -> Res<()> {
    let limit = args.sole("Pool", "limit")?.as_i64()?;
    this.limit.set(usize::try_from(limit).unwrap_or(0).max(1));
    Ok(())
}

impl Class for Pool {
    fields! {
        class;
        objects { jobs }
        plain { limit: Cell::new(1), threads, idle, phase: Cell::new(PoolState::Open), gate: Gate::new() }
    }

    const NAME: &'static CStr = c"saburo._saburo.Pool";
    const DOC: &'static CStr = c"Pool(limit)
--

The native half of a loop's own threads: the queue, and what each of them does.

>>> import saburo
>>> issubclass(saburo._pool.Pool, saburo._saburo.Pool)
True";

    fn describe(builder: Builder<Pool>) -> Builder<Pool> {
        builder
            .init(init)
            .many(c"_submit", submit_any, c"_submit(loop, function, *args): a future of the call's result.")
            .noargs(c"_work", work, c"What a worker thread does.")
            .noargs(
                c"_finish",
                |this| this.finish(),
                c"Takes no new jobs; the threads end when those taken are done.",
            )
            .noargs(
                c"_abandon",
                |this| this.phase.set(PoolState::Abandoned),
                c"In a forked child: forgets the jobs and threads of the parent.",
            )
    }
}

fn set_pool(this: &Instance<Loop>, pool: &Object) -> Res<()> {
    let pool = match pool.cast::<Pool>() {
        Some(_) => Some(pool.to_obj()),
        None if pool.is_none() => None,
        None => return raise(builtin::type_error(), "_pool must be a Pool or None"),
    };
    this.pool().set(pool);
    Ok(())
}

/// What a loop has for its threads.
pub(crate) fn describe_loop(builder: Builder<Loop>) -> Builder<Loop> {
    builder
        .many(
            c"run_in_executor",
            run_in_executor,
            c"run_in_executor(executor, func, *args): calls func(*args) in an executor, returns a future.

`executor` is any `concurrent.futures.Executor`; None means the loop's own pool of threads. In that
pool `func` sees the contextvars of the caller. Cancelling the future keeps `func` from being called,
but stops no call that has begun.

Raises RuntimeError if the loop is closed or its pool shut down; in debug mode TypeError if `func`
cannot be called or is a coroutine function. To be called on the loop's thread.

>>> import asyncio, saburo
>>> async def main():
...     loop = asyncio.get_running_loop()
...     return await loop.run_in_executor(None, sum, [1, 2, 3])
>>> saburo.run(main())
6",
        )
        .getter(
            c"_pool",
            |this| this.pool().get(),
            c"The loop's own threads, None before the first job and where an executor has taken their place.",
        )
        .setter(set_pool)
}
