//! Handle and TimerHandle: one scheduled call each.
//!
//! A handle keeps its callback and arguments until it is cancelled or freed, as asyncio's does; a call
//! works on references of its own, because the callback may cancel the very handle that runs it.

mod schedule;
mod wakeup;
mod watch;

use std::cell::{Cell, OnceCell};

use saburo_core::{Time, TimerId};

use crate::event_loop::{Entry, Loop};
use crate::ffi::{
    Builder, Class, Context, Holds, Instance, Obj, Object, Own, Owns, Params, Raised, Res, Slot, Visit,
    aside, boolean, builtin, fields, float, inside, mapping, none, raise, string, tuple,
};
use crate::names::names;
use crate::running::Running;

pub(crate) use schedule::push;
pub(crate) use wakeup::{Sleeper, TaskWakeup};

/// A callback, its arguments and the context it runs in.
pub(crate) struct Handle {
    /// Gone once the handle is cancelled.
    callback: Slot,
    args: CallArgs,
    context: Slot<Context>,
    /// The loop that reports what the callback raises, if it is one of ours.
    native_loop: Slot<Own<Loop>>,
    cancelled: Cell<bool>,
    running: Running,
    /// What few handles have; made when first needed.
    rare: OnceCell<Box<Rare>>,
}

/// Fields of a handle that are seldom set.
#[derive(Default)]
struct Rare {
    /// The loop, if it is not saburo's.
    foreign_loop: Slot,
    /// Where the handle was made, in debug mode.
    source_traceback: Slot,
    /// What repr() said before a cancellation in debug mode took the callback away.
    last_repr: Slot,
}

/// The arguments of a call, without a tuple for the usual one or two.
#[derive(Default)]
pub(crate) enum Arguments {
    #[default]
    None,
    One(Obj),
    Two(Obj, Obj),
    /// A tuple.
    Many(Obj),
}

/// A field of [`Arguments`] that is copied out, never lent.
#[derive(Default)]
struct CallArgs(Cell<Arguments>);

impl Arguments {
    #[inline]
    pub(crate) fn from_slice(args: &[&Object]) -> Res<Arguments> {
        Ok(match args {
            [] => Arguments::None,
            [one] => Arguments::One(one.to_obj()),
            [one, two] => Arguments::Two(one.to_obj(), two.to_obj()),
            many => Arguments::Many(tuple(many.iter().copied())?),
        })
    }

    /// As a tuple, the way Python sees `handle._args`.
    fn to_tuple(&self) -> Res<Obj> {
        match self {
            Arguments::None => tuple([].into_iter()),
            Arguments::One(one) => tuple([&**one].into_iter()),
            Arguments::Two(one, two) => tuple([&**one, &**two].into_iter()),
            Arguments::Many(many) => Ok(many.clone()),
        }
    }

    /// Calls `callback` with them.
    #[inline]
    pub(crate) fn call(&self, callback: &Object) -> Res<Obj> {
        match self {
            Arguments::None => callback.call0(),
            Arguments::One(one) => callback.call(&[one]),
            Arguments::Two(one, two) => callback.call(&[one, two]),
            Arguments::Many(many) => callback.call_tuple(many, None),
        }
    }
}

impl Owns for Arguments {
    fn show(&self, visit: &mut Visit<'_>) {
        match self {
            Arguments::None => {}
            Arguments::One(one) => visit.object(one),
            Arguments::Two(one, two) => {
                visit.object(one);
                visit.object(two);
            }
            Arguments::Many(many) => visit.object(many),
        }
    }
}

impl Clone for Arguments {
    #[inline]
    fn clone(&self) -> Arguments {
        match self {
            Arguments::None => Arguments::None,
            Arguments::One(one) => Arguments::One(one.clone()),
            Arguments::Two(one, two) => Arguments::Two(one.clone(), two.clone()),
            Arguments::Many(many) => Arguments::Many(many.clone()),
        }
    }
}

impl CallArgs {
    #[inline]
    fn get(&self) -> Arguments {
        // Cloning counts references and runs nothing, so nobody sees the field empty.
        let inside = self.0.replace(Arguments::None);
        let copy = inside.clone();
        self.0.set(inside);
        copy
    }

    fn take(&self) -> Arguments {
        self.0.replace(Arguments::None)
    }

    fn set(&self, args: Arguments) {
        drop(self.0.replace(args));
    }
}

impl Holds for CallArgs {
    fn visit(&self, visit: &mut Visit<'_>) {
        self.0.visit(visit);
    }

    #[inline]
    fn clear(&self) {
        self.0.clear();
    }
}

impl Holds for Rare {
    fields! {
        part;
        objects { foreign_loop, source_traceback, last_repr }
    }
}

impl Handle {
    /// A handle for `callback(*args)` in `context`.
    #[inline]
    pub(crate) fn with(callback: Obj, args: Arguments, context: Context, event_loop: Own<Loop>) -> Handle {
        Handle {
            callback: Slot::new(Some(callback)),
            args: CallArgs(Cell::new(args)),
            context: Slot::new(Some(context)),
            native_loop: Slot::new(Some(event_loop)),
            cancelled: Cell::new(false),
            running: Running::private(),
            rare: OnceCell::new(),
        }
    }

    /// The loop, saburo's or another.
    fn event_loop(&self) -> Option<Obj> {
        self.native_loop.get().map(Own::into_obj).or_else(|| self.rare_opt(|rare| &rare.foreign_loop))
    }

    /// True if the loop is in debug mode.
    #[inline]
    fn debug(&self) -> Res<bool> {
        if let Some(native) = self.native_loop.get() {
            return Ok(native.debug());
        }
        match self.rare_opt(|rare| &rare.foreign_loop) {
            Some(event_loop) => event_loop.method(&names().get_debug, &[])?.truth(),
            None => Ok(false),
        }
    }

    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Other threads have it, too: it is what `call_soon_threadsafe` returns.
    fn share(&self) {
        self.running.share();
    }

    pub(crate) fn set_source_traceback(&self, traceback: Obj) {
        self.rare().source_traceback.set(Some(traceback));
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    fn rare_opt(&self, slot: impl FnOnce(&Rare) -> &Slot) -> Option<Obj> {
        self.rare.get().and_then(|rare| slot(rare).get())
    }
}

impl Entry for Instance<Handle> {
    fn run(&self, event_loop: &Instance<Loop>) -> Res<()> {
        run_queued(event_loop, self)
    }

    fn reveal(&self) {
        Instance::reveal(self);
    }

    fn cancel(&self) -> Res<bool> {
        match self.as_object().cast::<TimerHandle>() {
            Some(timer) => cancel_timer(timer)?,
            None => cancel(self)?,
        }
        Ok(true)
    }
}

/// The queue holds a reference.
#[inline]
fn run_queued(event_loop: &Instance<Loop>, this: &Instance<Handle>) -> Res<()> {
    let is_private = this.is_private() && !event_loop.debug();
    if !is_private {
        this.reveal();
    }
    if this.is_cancelled() {
        return Ok(());
    }
    Loop::leave_task(event_loop)?;
    if is_private { run_private(this) } else { run(this) }
}

/// Runs the callback; what it raises goes to the loop's exception handler.
///
/// KeyboardInterrupt and SystemExit are raised instead: they are meant for the code that runs the loop.
#[inline]
fn run(this: &Instance<Handle>) -> Res<()> {
    if this.running.is_shared() { run_shared(this) } else { call(this) }
}

fn run_shared(this: &Instance<Handle>) -> Res<()> {
    let _running = this.running.begin()?;
    call(this)
}

#[inline]
fn call(this: &Instance<Handle>) -> Res<()> {
    let (Some(callback), Some(context)) = (this.callback.get(), this.context.get()) else {
        return Ok(());
    };
    let args = this.args.get();
    match inside(context.as_object(), || args.call(&callback)) {
        Ok(_) => Ok(()),
        Err(raised) => failed(this, raised, &callback, &args),
    }
}

/// Runs a handle with no other reference: what is in it is moved out and not copied.
#[inline]
fn run_private(this: &Instance<Handle>) -> Res<()> {
    let (Some(callback), Some(context)) = (this.callback.take(), this.context.take()) else {
        return Ok(());
    };
    let args = this.args.take();
    match inside(context.as_object(), || args.call(&callback)) {
        Ok(_) => {
            this.context.set(Some(context));
            Ok(())
        }
        Err(raised) => {
            // The report shows it whole.
            this.callback.set(Some(callback.clone()));
            this.context.set(Some(context));
            this.args.set(args.clone());
            this.reveal();
            failed(this, raised, &callback, &args)
        }
    }
}

/// Reports what a call has raised that no handle was made for, as if one had been.
#[cold]
pub(crate) fn report_call(
    event_loop: &Instance<Loop>,
    raised: Raised,
    callback: &Object,
    args: &Arguments,
    context: Context,
) -> Res<()> {
    let handle = Handle::with(callback.to_obj(), args.clone(), context, event_loop.to_own());
    failed(&*aside(|| Instance::alloc(handle))?, raised, callback, args)
}

#[cold]
fn failed(this: &Instance<Handle>, raised: Raised, callback: &Object, args: &Arguments) -> Res<()> {
    if raised.ends_the_run() {
        return Err(raised);
    }
    let exception = raised.take();
    let Some(event_loop) = this.event_loop() else { return Ok(()) };
    let names = names();
    let described = callback_source(this, callback, &*args.to_tuple()?)?;
    let message = string(&format!("Exception in callback {described}"))?;
    let mut entries: Vec<(&Object, &Object)> =
        vec![(&names.message, &message), (&names.exception, &exception), (&names.handle, this.as_object())];
    let traceback = this.rare_opt(|rare| &rare.source_traceback);
    if let Some(traceback) = &traceback {
        entries.push((&names.source_traceback, traceback));
    }
    let context = mapping(&entries)?;
    event_loop.method(&names.call_exception_handler, &[&context])?;
    Ok(())
}

/// Cancels the handle: it will not run, and lets go of its callback and arguments.
fn cancel(this: &Instance<Handle>) -> Res<()> {
    cancel_with(this, || repr(this))
}

/// Cancels, keeping what `words` says of the handle in debug mode.
fn cancel_with(this: &Instance<Handle>, words: impl FnOnce() -> Res<Obj>) -> Res<()> {
    this.running.wait()?;
    if this.cancelled.replace(true) {
        return Ok(());
    }
    if this.debug()? {
        // Kept for the logs: the callback's repr is gone in a moment.
        let text = words()?;
        this.rare().last_repr.set(Some(text));
    }
    drop((this.callback.take(), this.args.take()));
    Ok(())
}

fn repr(this: &Instance<Handle>) -> Res<Obj> {
    if let Some(kept) = this.rare_opt(|rare| &rare.last_repr) {
        return Ok(kept);
    }
    string(&format!("<{}>", describe(this, None)?))
}

/// The words inside a handle's `<…>`, in asyncio's order.
fn describe(this: &Instance<Handle>, when: Option<Obj>) -> Res<String> {
    let names = names();
    let mut words = vec![this.as_object().type_of().attr(&names.dunder_name)?.display()?];
    if this.cancelled.get() {
        words.push("cancelled".to_owned());
    }
    if let Some(when) = when {
        words.push(format!("when={}", when.repr()?));
    }
    if let Some(callback) = this.callback.get() {
        words.push(callback_source(this, &callback, &*this.args.get().to_tuple()?)?);
    }
    if let Some(traceback) = this.rare_opt(|rare| &rare.source_traceback)
        && let Some(frame) = last_item(&traceback)?
        && let (Some(file), Some(line)) = (frame.attr_opt(&names.filename)?, frame.attr_opt(&names.lineno)?)
    {
        words.push(format!("created at {}:{}", file.display()?, line.display()?));
    }
    Ok(words.join(" "))
}

/// What asyncio says of a callback: its name and where it stands; in debug mode its arguments, too, where
/// this version makes that difference.
fn callback_source(this: &Handle, callback: &Object, args: &Object) -> Res<String> {
    let names = names();
    let Some(kw_debug) = &names.kw_debug else {
        return names.format_callback_source.call(&[callback, args])?.display();
    };
    let debug = boolean(this.debug()?);
    names.format_callback_source.call_with_names(&[callback, args, &debug], Some(kw_debug))?.display()
}

/// The last item of a sequence, or nothing of an empty one.
fn last_item(sequence: &Object) -> Res<Option<Obj>> {
    if !sequence.truth()? {
        return Ok(None);
    }
    sequence.method(&names().getitem, &[&*crate::ffi::int(-1)?]).map(Some)
}

impl Class for Handle {
    fields! {
        class;
        objects { callback, args, context, native_loop, rare }
        plain { cancelled, running: Running::private() }
    }

    const NAME: &'static std::ffi::CStr = c"saburo.Handle";
    const DOC: &'static std::ffi::CStr = c"Handle(callback, args, loop, context=None)
--

A call that a loop has been asked to make: what `call_soon` returns.

Cancel it to keep the call from being made. Like everything of a loop it belongs to the loop's thread.
`isinstance(handle, asyncio.Handle)` is true. Semantics: asyncio.Handle.

>>> import saburo
>>> loop = saburo.new_event_loop()
>>> handle = loop.call_soon(print, 'never')
>>> handle.cancel()
>>> handle.cancelled()
True
>>> loop.close()";
    const REUSED: bool = true;

    #[inline(always)]
    fn depart(&self) {
        if let (Some(context), Some(native)) = (self.context.take(), self.native_loop.get()) {
            native.contexts().recycle(context);
        }
    }

    fn describe(builder: Builder<Handle>) -> Builder<Handle> {
        builder
            .init(|this, args| {
                const PARAMS: Params<4> = Params {
                    function: "Handle.__init__",
                    names: ["callback", "args", "loop", "context"],
                    required: 3,
                    positional: 4,
                };
                init(this, args.bind(&PARAMS)?)
            })
            .noargs(c"cancel", cancel, c"Keeps the callback from being called. A second call does nothing.")
            .noargs(
                c"cancelled",
                |this| this.running.wait().map(|()| this.cancelled.get()),
                c"True if the handle was cancelled.",
            )
            .noargs(
                c"get_context",
                |this| this.context.get().map(Context::into_obj),
                c"The contextvars.Context the callback runs in.",
            )
            .noargs(c"_run", run, c"Calls the callback now.")
            .noargs(c"_repr_info", repr_info, c"The words of repr(), as a list.")
            .repr(repr)
            .reported_class(
                |this| {
                    let names = names();
                    let shared = names.class_shared_handle.as_ref().filter(|_| this.running.is_shared());
                    shared.unwrap_or(&names.class_handle)
                },
                c"asyncio.Handle, for isinstance; of a derived class that class.",
            )
            .getter(c"_callback", |this| this.callback.get(), c"The callback, None once cancelled.")
            .getter(
                c"_args",
                |this| if this.cancelled.get() { Ok(none()) } else { this.args.get().to_tuple() },
                c"The arguments, None once cancelled.",
            )
            .getter(c"_cancelled", |this| this.cancelled.get(), c"True if the handle was cancelled.")
            .getter(c"_loop", |this| this.event_loop(), c"The loop the handle belongs to.")
            .getter(
                c"_context",
                |this| this.context.get().map(Context::into_obj),
                c"The contextvars.Context the callback runs in.",
            )
            .getter(
                c"_source_traceback",
                |this| this.rare_opt(|rare| &rare.source_traceback),
                c"Where the handle was made, in debug mode.",
            )
            .setter(|this, value| {
                this.rare().source_traceback.set((!value.is_none()).then(|| value.to_obj()));
                Ok(())
            })
            .getter(
                c"_repr",
                |this| this.rare_opt(|rare| &rare.last_repr),
                c"repr() as it was before a cancellation.",
            )
    }
}

fn repr_info(this: &Instance<Handle>) -> Res<Obj> {
    let text = describe(this, None)?;
    let words = string(&text)?;
    crate::ffi::list([words].into_iter())
}

/// `Handle(callback, args, loop, context=None)`, for code that makes handles by hand.
fn init(this: &Instance<Handle>, bound: [Option<&Object>; 4]) -> Res<()> {
    let [Some(callback), Some(call_args), Some(event_loop), context] = bound else {
        unreachable!("bind() has checked what is required");
    };
    let context = match context {
        Some(context) if !context.is_none() => Context::from_obj(context.to_obj()),
        _ => Context::copy_current()?,
    };
    let items = tuple_of(call_args)?;
    this.callback.set(Some(callback.to_obj()));
    this.args.set(Arguments::Many(items));
    this.context.set(Some(context));
    match event_loop.cast::<Loop>() {
        Some(native) => this.native_loop.set(Some(native.to_own())),
        None => this.rare().foreign_loop.set(Some(event_loop.to_obj())),
    }
    if this.debug()? {
        this.set_source_traceback(names().extract_stack.call0()?);
    }
    Ok(())
}

fn tuple_of(sequence: &Object) -> Res<Obj> {
    names().tuple_class.call(&[sequence])
}

/// A handle whose time has yet to come.
#[repr(C)]
pub(crate) struct TimerHandle {
    handle: Handle,
    /// The deadline in seconds of the loop's clock, just as it was asked for.
    when: Cell<f64>,
    /// The deadline as it was given, where that was not a float: `when()` gives it back.
    given: Slot,
    /// Where the loop keeps it, until it runs or is cancelled.
    timer: Cell<Option<TimerId>>,
}

impl TimerHandle {
    pub(crate) fn with(handle: Handle, when: f64) -> TimerHandle {
        TimerHandle { handle, when: Cell::new(when), given: Slot::empty(), timer: Cell::new(None) }
    }

    /// Remembers a deadline that was given as something else than a float.
    fn set_given(&self, when: &Object) {
        self.given.set((!when.is_exact_float()).then(|| when.to_obj()));
    }

    /// The deadline as Python sees it.
    fn when(&self) -> Res<Obj> {
        match self.given.get() {
            Some(given) => Ok(given),
            None => float(self.when.get()),
        }
    }

    /// The deadline in the engine's terms. NaN is due at once, infinity never.
    fn deadline(when: f64) -> Time {
        Time::from_secs_f64(when)
    }

    fn set_timer(&self, timer: TimerId) {
        self.timer.set(Some(timer));
    }
}

impl Entry for Instance<TimerHandle> {
    fn run(&self, event_loop: &Instance<Loop>) -> Res<()> {
        left_queue(event_loop, self);
        run_queued(event_loop, self.upcast())
    }

    fn reveal(&self) {
        Instance::reveal(self);
    }
}

/// The loop keeps it no longer: it is about to run, or was cancelled.
#[inline]
fn left_queue(event_loop: &Loop, this: &Instance<TimerHandle>) {
    this.timer.set(None);
    if this.is_hidden() {
        event_loop.hidden_timer_left();
    }
}

fn cancel_timer(this: &Instance<TimerHandle>) -> Res<()> {
    if this.handle.cancelled.get() {
        return Ok(());
    }
    let queued = match (this.timer.take(), this.handle.native_loop.get()) {
        (Some(timer), Some(native)) => {
            let queued = native.forget_timer(timer);
            if queued.is_some() {
                left_queue(&native, this);
                // Whoever cancels it has it.
                this.reveal();
            }
            queued
        }
        _ => None,
    };
    let done = cancel_with(this.upcast(), || timer_repr(this));
    // Only now: letting go of the queue's reference may free the handle's callback and run code.
    drop(queued);
    done
}

fn timer_repr(this: &Instance<TimerHandle>) -> Res<Obj> {
    if let Some(kept) = this.handle.rare_opt(|rare| &rare.last_repr) {
        return Ok(kept);
    }
    let words = describe(this.upcast(), Some(this.when()?))?;
    string(&format!("<{words}>"))
}

/// Timers are ordered by deadline; equal ones are those that would do the same.
fn compare(this: &Instance<TimerHandle>, other: &Object, operator: &'static str) -> Res<Option<bool>> {
    let Some(other) = other.cast::<TimerHandle>() else { return Ok(None) };
    let (left, right) = (this.when.get(), other.when.get());
    Ok(Some(match operator {
        "<" => left < right,
        ">" => left > right,
        "<=" => left < right || same(this, other)?,
        ">=" => left > right || same(this, other)?,
        "==" => same(this, other)?,
        _ => !same(this, other)?,
    }))
}

fn same(this: &Instance<TimerHandle>, other: &Instance<TimerHandle>) -> Res<bool> {
    if this.as_object().is(other.as_object()) {
        return Ok(true);
    }
    if this.when.get() != other.when.get() || this.handle.cancelled.get() != other.handle.cancelled.get() {
        return Ok(false);
    }
    let callbacks = match (this.handle.callback.get(), other.handle.callback.get()) {
        (Some(left), Some(right)) => left.equals(&right)?,
        (None, None) => true,
        _ => false,
    };
    Ok(callbacks && this.handle.args.get().to_tuple()?.equals(&*other.handle.args.get().to_tuple()?)?)
}

impl Class for TimerHandle {
    fields! {
        class extends Handle in handle;
        objects { given }
        plain { when, timer }
    }

    const NAME: &'static std::ffi::CStr = c"saburo.TimerHandle";
    const DOC: &'static std::ffi::CStr = c"TimerHandle(when, callback, args, loop, context=None)
--

A call that a loop will make at a certain time: what `call_later` and `call_at` return.

Cancelling takes it out of the loop's queue at once. Timers compare by deadline.
`isinstance(handle, asyncio.TimerHandle)` is true. Semantics: asyncio.TimerHandle.

>>> import saburo
>>> loop = saburo.new_event_loop()
>>> loop.call_at(2.5, print).when()
2.5
>>> loop.close()";
    const REUSED: bool = true;

    #[inline]
    fn depart(&self) {
        self.handle.depart();
    }

    fn describe(builder: Builder<TimerHandle>) -> Builder<TimerHandle> {
        builder
            .init(|this, args| {
                const PARAMS: Params<5> = Params {
                    function: "TimerHandle.__init__",
                    names: ["when", "callback", "args", "loop", "context"],
                    required: 4,
                    positional: 5,
                };
                let [when, rest @ ..] = args.bind(&PARAMS)?;
                let when = when.expect("bind() has checked what is required");
                if when.is_none() {
                    return raise(builtin::type_error(), "when must not be None");
                }
                this.when.set(when.as_f64()?);
                this.set_given(when);
                init(this.upcast(), rest)
            })
            .noargs(
                c"cancel",
                cancel_timer,
                c"Keeps the callback from being called. A second call does nothing.",
            )
            .noargs(
                c"when",
                |this| this.when(),
                c"The deadline, in seconds of the loop's clock (`loop.time()`).",
            )
            .repr(timer_repr)
            .compare(compare)
            .hash(|this| this.when()?.hash())
            .reported_class(
                |_| &names().class_timer_handle,
                c"asyncio.TimerHandle, for isinstance; of a derived class that class.",
            )
            .getter(c"_when", |this| this.when(), c"The deadline.")
            .getter(c"_scheduled", |this| this.timer.get().is_some(), c"Is it in the loop's queue?")
            .setter(|_, _| Ok(()))
    }
}

/// What a loop has for its handles.
pub(crate) fn describe_loop(builder: Builder<Loop>) -> Builder<Loop> {
    builder
        .many(
            c"call_soon",
            schedule::call_soon,
            c"call_soon(callback, *args, context=None): calls callback(*args) in the next turn. Returns a Handle.",
        )
        .many(
            c"call_soon_threadsafe",
            schedule::call_soon_threadsafe,
            c"call_soon_threadsafe(callback, *args, context=None): call_soon from any thread.",
        )
        .many(
            c"call_later",
            schedule::call_later,
            c"call_later(delay, callback, *args, context=None): call after `delay` seconds. Returns a TimerHandle.",
        )
        .many(
            c"call_at",
            schedule::call_at,
            c"call_at(when, callback, *args, context=None): call when time() reaches `when`. Returns a TimerHandle.",
        )
        .noargs(c"time", |this| float(schedule::now(this)), c"Seconds of the loop's monotonic clock.")
        .many(
            c"add_reader",
            watch::add_reader,
            c"add_reader(fd, callback, *args): calls whenever fd is readable.",
        )
        .many(
            c"add_writer",
            watch::add_writer,
            c"add_writer(fd, callback, *args): calls whenever fd is writable.",
        )
}
