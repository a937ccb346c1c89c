//! Reading: the coroutines of a StreamReader.
//!
//! All of them look at what is there, take what they came for, or else wait for more and look again. One
//! that need not wait runs to its end in its first step.

use std::cell::{Cell, RefCell};
use std::collections::TryReserveError;

use saburo_core::{Search, Sought};

use crate::coroutine::{self, Body, Next, Resumed, emptied};
use crate::ffi::{
    Args, Holds, Instance, Obj, Object, Own, Owns, Params, Raised, Res, Slot, Visit, builtin, bytes, fields,
    int, lend, none, raise, raise_given, string,
};
use crate::names::names;

use super::reader::{self, StreamReader};

/// What a coroutine reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Read,
    ReadLine,
    ReadUntil,
    ReadExactly,
    /// A line for `async for`.
    Next,
    /// Nothing: it waits until something is there.
    Wait,
}

/// The body of a coroutine that reads.
struct Reading {
    kind: Kind,
    /// Let go of when the coroutine ends.
    reader: Slot<Own<StreamReader>>,
    /// How many bytes, or which separators, or for whom to wait; None where it was not said.
    argument: Slot,
    progress: Cell<Progress>,
    /// What only few need.
    rest: RefCell<Option<Box<Rest>>>,
}

/// How far it has come.
#[derive(Clone, Copy)]
enum Progress {
    /// Nowhere yet.
    Begun,
    /// So many bytes are wanted.
    Counted(usize),
    /// No separator is before this place.
    Searching(Search),
}

#[derive(Default)]
struct Rest {
    /// More than one separator, or one that is not `bytes`: the shortest first.
    separators: Vec<Vec<u8>>,
    /// What was read so far, up to the end of the stream.
    collected: Vec<u8>,
}

impl Owns for Rest {
    fn show(&self, _visit: &mut Visit<'_>) {
        // Nothing of Python's, but it goes with what is when the coroutine ends.
    }
}

/// What looking at the buffer has come to.
enum Look {
    Took(Obj),
    /// More must come; who waits takes at most so many bytes as they are, 0 for a larger need.
    Wait(usize),
}

const NEWLINE: &[&[u8]] = &[b"\n"];

/// The coroutine of one call.
#[inline]
pub(super) fn start(this: &Instance<StreamReader>, kind: Kind, argument: Option<&Object>) -> Res<Obj> {
    let body = Reading {
        kind,
        reader: Slot::new(Some(this.to_own())),
        argument: Slot::new(argument.map(Object::to_obj)),
        progress: Cell::new(Progress::Begun),
        rest: RefCell::new(None),
    };
    coroutine::start(body, this.debug())
}

/// `read(n=-1)` and `readexactly(n)`
#[inline]
pub(super) fn with_count(this: &Instance<StreamReader>, args: Args<'_>, kind: Kind) -> Res<Obj> {
    if let (&[count], None) = (args.positional(), args.names()) {
        return start(this, kind, Some(count));
    }
    let (function, required) =
        if kind == Kind::Read { ("StreamReader.read", 0) } else { ("StreamReader.readexactly", 1) };
    let [count] = args.bind(&Params { function, names: ["n"], required, positional: 1 })?;
    start(this, kind, count)
}

/// `readuntil(separator=b"\n")`
pub(super) fn until(this: &Instance<StreamReader>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<1> =
        Params { function: "StreamReader.readuntil", names: ["separator"], required: 0, positional: 1 };
    let [separator] = args.bind(&PARAMS)?;
    start(this, Kind::ReadUntil, separator)
}

/// `_wait_for_data(func_name)`
pub(super) fn for_data(this: &Instance<StreamReader>, function: &Object) -> Res<Obj> {
    start(this, Kind::Wait, Some(function))
}

impl Body for Reading {
    fn qualname(&self) -> &'static str {
        match self.kind {
            Kind::Read => "StreamReader.read",
            Kind::ReadLine => "StreamReader.readline",
            Kind::ReadUntil => "StreamReader.readuntil",
            Kind::ReadExactly => "StreamReader.readexactly",
            Kind::Next => "StreamReader.__anext__",
            Kind::Wait => "StreamReader._wait_for_data",
        }
    }

    #[inline]
    fn go_on(&self, resumed: Resumed) -> Res<Next> {
        let Some(reader) = self.reader.get() else { return emptied(resumed) };
        let waited = match resumed {
            Resumed::Started => {
                if let Some(taken) = begin(self, &reader)? {
                    return Ok(Next::Return(taken));
                }
                false
            }
            Resumed::Awaited(outcome) => {
                done_waiting(&reader, outcome)?;
                true
            }
        };
        let most = match look(self, &reader, waited)? {
            Look::Took(taken) => return Ok(Next::Return(taken)),
            Look::Wait(most) => most,
        };
        let waiter = reader::begin_to_wait(&reader, &waiting_function(self)?)?;
        reader.takes.set(most);
        Ok(Next::Await(waiter))
    }
}

impl Holds for Reading {
    fields! {
        part;
        objects { reader, argument, rest }
        plain { kind, progress }
    }
}

/// However the wait ended, nobody waits any more.
#[inline]
fn done_waiting(reader: &Instance<StreamReader>, outcome: Res<Obj>) -> Res<()> {
    reader.takes.set(0);
    reader.waiter.set(None);
    outcome.map(drop)
}

/// Whom an error about waiting names.
fn waiting_function(this: &Reading) -> Res<std::borrow::Cow<'static, str>> {
    Ok(match this.kind {
        Kind::Read => "read".into(),
        Kind::ReadExactly => "readexactly".into(),
        Kind::ReadLine | Kind::ReadUntil | Kind::Next => "readuntil".into(),
        Kind::Wait => this.argument.get().unwrap_or_else(none).display()?.into(),
    })
}

/// What comes before the first look: the arguments are checked, and nothing is read after an exception.
#[inline]
fn begin(this: &Reading, reader: &Instance<StreamReader>) -> Res<Option<Obj>> {
    match this.kind {
        Kind::ReadLine | Kind::Next => check_exception(reader)?,
        Kind::Read => {
            check_exception(reader)?;
            match this.argument.get().map_or(Ok(Count::All), |count| Count::of(&count))? {
                Count::Exactly(0) => return bytes(b"").map(Some),
                Count::Exactly(count) => this.progress.set(Progress::Counted(count)),
                Count::All => *this.rest.borrow_mut() = Some(Box::default()),
            }
        }
        Kind::ReadExactly => {
            let count = Count::of(&this.argument.get().unwrap_or_else(none))?;
            let Count::Exactly(count) = count else {
                return raise(builtin::value_error(), "readexactly size can not be less than zero");
            };
            check_exception(reader)?;
            if count == 0 {
                return bytes(b"").map(Some);
            }
            this.progress.set(Progress::Counted(count));
        }
        Kind::ReadUntil => {
            let given = this.argument.get();
            let separators = given.as_deref().map(separators).transpose()?;
            check_exception(reader)?;
            *this.rest.borrow_mut() = separators.flatten();
        }
        Kind::Wait => return Ok(None),
    }
    if matches!(this.kind, Kind::ReadLine | Kind::Next | Kind::ReadUntil) {
        this.progress.set(Progress::Searching(Search::new()));
    }
    Ok(None)
}

#[inline]
fn check_exception(reader: &Instance<StreamReader>) -> Res<()> {
    match reader.exception.get() {
        Some(exception) => raise_given(&exception),
        None => Ok(()),
    }
}

/// Takes what the coroutine came for, if it is there. Has it waited since it last looked?
#[inline]
fn look(this: &Reading, reader: &Instance<StreamReader>, waited: bool) -> Res<Look> {
    match (this.kind, this.progress.get()) {
        (Kind::Read, Progress::Counted(count)) => read(reader, count, waited),
        (Kind::Read, _) => read_all(this, reader, waited),
        (Kind::ReadExactly, Progress::Counted(count)) => read_exactly(this, reader, count),
        (Kind::ReadUntil, Progress::Searching(search)) => read_until(this, reader, search),
        (_, Progress::Searching(search)) => read_line(this, reader, search),
        _ if waited => Ok(Look::Took(none())),
        _ => Ok(Look::Wait(0)),
    }
}

/// After a wait it is content with nothing, as asyncio is: somebody else may have been faster.
#[inline]
fn read(reader: &Instance<StreamReader>, count: usize, waited: bool) -> Res<Look> {
    let taken = reader.received.take(count)?;
    if taken.as_bytes().is_some_and(<[u8]>::is_empty) && !reader.eof.get() && !waited {
        return Ok(Look::Wait(count));
    }
    reader::resume_if_little(reader)?;
    Ok(Look::Took(taken))
}

/// Up to the end of the stream, as if in reads of as many bytes as the limit allows.
fn read_all(this: &Reading, reader: &Instance<StreamReader>, waited: bool) -> Res<Look> {
    let mut waited = waited;
    loop {
        if !waited {
            check_exception(reader)?;
            if reader.limit_number().is_none_or(|limit| limit <= 0) && reads_nothing(reader)? {
                return all_of(this);
            }
        }
        let unread = reader.received.len()?;
        if unread == 0 && !reader.eof.get() && !waited {
            return Ok(Look::Wait(0));
        }
        if reader.limit_number().is_none() {
            // What cannot be a place in the buffer is an error here.
            reader.limit().check_slice_end()?;
        }
        if unread == 0 {
            reader::resume_if_little(reader)?;
            return all_of(this);
        }
        waited = false;
        let count = match reader.limit_number() {
            // The rest stays where it is when an exception ends the reading,
            Some(limit) if limit > 0 && reader.exception.is_set() => limit as usize,
            // as one may that resuming the transport brings.
            Some(limit) if limit > 0 && reader.is_paused() => {
                let limit = limit as usize;
                unread.saturating_sub(limit).div_ceil(limit).max(1).saturating_mul(limit)
            }
            _ => unread,
        };
        // Out of its cell meanwhile: resuming the transport runs any code.
        let mut rest = this.rest.take().unwrap_or_default();
        let poured = reader.received.pour(count, &mut rest.collected);
        *this.rest.borrow_mut() = Some(rest);
        poured?;
        reader::resume_if_little(reader)?;
    }
}

fn all_of(this: &Reading) -> Res<Look> {
    let collected = this.rest.take().map(|rest| rest.collected).unwrap_or_default();
    bytes(&collected).map(Look::Took)
}

/// Is it a limit by which each read is empty? One below zero reads up to the end of the stream, and so on.
#[cold]
fn reads_nothing(reader: &Instance<StreamReader>) -> Res<bool> {
    let (limit, zero) = (reader.limit(), int(0)?);
    if limit.equals(&zero)? {
        return Ok(true);
    }
    if limit.is_less_than(&zero)? {
        return raise(builtin::recursion_error(), "maximum recursion depth exceeded");
    }
    Ok(false)
}

fn read_exactly(this: &Reading, reader: &Instance<StreamReader>, count: usize) -> Res<Look> {
    if reader.received.len()? < count {
        if reader.eof.get() {
            let partial = reader.received.take(usize::MAX)?;
            return incomplete(&partial, &this.argument.get().unwrap_or_else(none));
        }
        return Ok(Look::Wait(0));
    }
    let taken = reader.received.take(count)?;
    reader::resume_if_little(reader)?;
    Ok(Look::Took(taken))
}

#[inline]
fn read_line(this: &Reading, reader: &Instance<StreamReader>, mut search: Search) -> Res<Look> {
    let limit = reader.limit_number();
    let begun = search.searched();
    let sought = reader.received.look(|unread| search.go_on(unread, NEWLINE, limit.unwrap_or(isize::MAX)))?;
    let sought = if limit.is_some() { sought } else { within_limit(reader, sought, begun, &search)? };
    let line = match sought {
        Sought::Found(newline) => {
            let line = reader.received.take(newline.end)?;
            reader::resume_if_little(reader)?;
            line
        }
        Sought::Missing if reader.eof.get() => reader.received.take(usize::MAX)?,
        Sought::Missing => {
            this.progress.set(Progress::Searching(search));
            return Ok(Look::Wait(0));
        }
        too_far => return line_too_long(reader, &too_far),
    };
    if this.kind == Kind::Next && line.as_bytes().is_some_and(<[u8]>::is_empty) {
        return raise_stop_async_iteration();
    }
    Ok(Look::Took(line))
}

fn read_until(this: &Reading, reader: &Instance<StreamReader>, mut search: Search) -> Res<Look> {
    let given = this.argument.get();
    let limit_number = reader.limit_number();
    let limit = limit_number.unwrap_or(isize::MAX);
    let begun = search.searched();
    let sought = {
        let rest = this.rest.borrow();
        let several = rest.as_ref().map(|rest| &rest.separators[..]);
        // A single `bytes` cannot change, and is looked for where it is.
        let one = given.as_deref().and_then(Object::as_bytes);
        reader.received.look(|unread| match (several, one) {
            (Some(several), _) => search.go_on(unread, several, limit),
            (None, Some(one)) => search.go_on(unread, &[one], limit),
            (None, None) => search.go_on(unread, NEWLINE, limit),
        })?
    };
    let sought = if limit_number.is_some() { sought } else { within_limit(reader, sought, begun, &search)? };
    match sought {
        Sought::Found(separator) => {
            let piece = reader.received.take(separator.end)?;
            reader::resume_if_little(reader)?;
            Ok(Look::Took(piece))
        }
        Sought::Missing if reader.eof.get() => {
            let partial = reader.received.take(usize::MAX)?;
            incomplete(&partial, &none())
        }
        Sought::Missing => {
            this.progress.set(Progress::Searching(search));
            Ok(Look::Wait(0))
        }
        too_far => Err(Raised::raising(&overrun(&too_far)?.0)),
    }
}

/// What a search without a limit has come to, by a limit that is no int; it had begun at this place.
#[cold]
fn within_limit(
    reader: &Instance<StreamReader>,
    sought: Sought,
    begun: usize,
    search: &Search,
) -> Res<Sought> {
    let is_too_far = |place: usize| int(place as i64)?.is_more_than(&reader.limit());
    Ok(match sought {
        Sought::Found(separator) if is_too_far(separator.start)? => Sought::FoundTooFar(separator.start),
        Sought::Missing if search.searched() > begun && is_too_far(search.searched())? => {
            Sought::MissingTooFar(search.searched())
        }
        within => within,
    })
}

/// The line is taken away, as far as it is there: the next one may fit.
#[cold]
fn line_too_long(reader: &Instance<StreamReader>, too_far: &Sought) -> Res<Look> {
    let (error, consumed) = overrun(too_far)?;
    // As if raised: it has a context of its own.
    let error = Raised::raising(&error).take();
    let ends_there = reader.received.look(|unread| unread.get(consumed) == Some(&b'\n'))?;
    reader.received.skip(if ends_there { consumed + 1 } else { usize::MAX })?;
    reader::resume_if_little(reader)?;
    let names = names();
    let message = error.attr(&names.args)?.tuple_item(0).unwrap_or_else(none);
    let replaced = builtin::value_error().call(&[&message])?;
    replaced.set_attr(&names.dunder_context, &error)?;
    Err(Raised::with(replaced))
}

/// The LimitOverrunError, and how many bytes it says are no separator.
#[cold]
fn overrun(too_far: &Sought) -> Res<(Obj, usize)> {
    let (message, consumed) = match *too_far {
        Sought::FoundTooFar(start) => ("Separator is found, but chunk is longer than limit", start),
        Sought::MissingTooFar(searched) => ("Separator is not found, and chunk exceed the limit", searched),
        Sought::Found(_) | Sought::Missing => unreachable!("{too_far:?} is within the limit"),
    };
    let error = names().limit_overrun_error.call(&[&*string(message)?, &*int(consumed as i64)?])?;
    Ok((error, consumed))
}

#[cold]
fn incomplete(partial: &Object, expected: &Object) -> Res<Look> {
    Err(Raised::raising(&*names().incomplete_read_error.call(&[partial, expected])?))
}

#[cold]
fn raise_stop_async_iteration() -> Res<Look> {
    Err(Raised::raising(&*builtin::stop_async_iteration().call0()?))
}

/// How much a caller asks for.
enum Count {
    Exactly(usize),
    /// A negative number.
    All,
}

impl Count {
    fn of(given: &Object) -> Res<Count> {
        if !given.is_int() {
            let zero = int(0)?;
            if given.is_less_than(&zero)? {
                return Ok(Count::All);
            }
            return Count::of(&*given.index()?);
        }
        match given.as_i64() {
            Ok(count) => Ok(usize::try_from(count).map_or(Count::All, Count::Exactly)),
            Err(raised) => {
                // More than there can be, or less than nothing.
                raised.swallow();
                let is_negative = given.is_less_than(&*int(0)?)?;
                Ok(if is_negative { Count::All } else { Count::Exactly(usize::MAX) })
            }
        }
    }
}

/// Copies of the separators, the shortest first; None for a single one that is `bytes`.
fn separators(given: &Object) -> Res<Option<Box<Rest>>> {
    if let Some(one) = given.as_bytes() {
        return if one.is_empty() { no_separator() } else { Ok(None) };
    }
    let mut separators = Vec::new();
    if given.is_tuple() {
        let mut index = 0;
        while let Some(separator) = given.tuple_item(index) {
            separators.push(copied(&separator)?);
            index += 1;
        }
        if separators.is_empty() {
            return raise(builtin::value_error(), "Separator should contain at least one element");
        }
    } else {
        separators.push(copied(given)?);
    }
    separators.sort_by_key(Vec::len);
    if separators[0].is_empty() {
        return no_separator();
    }
    Ok(Some(Box::new(Rest { separators, collected: Vec::new() })))
}

fn no_separator<T>() -> Res<T> {
    raise(builtin::value_error(), "Separator should be at least one-byte string")
}

/// As many bytes as somebody else likes.
pub(super) fn copy(bytes: &[u8]) -> Result<Vec<u8>, TryReserveError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

fn copied(separator: &Object) -> Res<Vec<u8>> {
    if separator.has_buffer() {
        return Ok(lend(separator, copy)??);
    }
    // asyncio asks for the length first.
    if separator.len()? == 0 {
        return Ok(Vec::new());
    }
    let class = separator.type_of().attr(&names().dunder_name)?.display()?;
    raise(builtin::type_error(), &format!("argument should be integer or bytes-like object, not '{class}'"))
}
