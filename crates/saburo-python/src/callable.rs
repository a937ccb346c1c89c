//! The error for an object that is not a function where a function was expected.
//!
//! The usual cause is that the call was made already: `call_soon(heavy(x))`. asyncio accepts any object, and
//! fails later to call it, inside the loop or a thread, where nothing shows which code gave it. So it is
//! refused where it is given, with the words that asyncio has for it in debug mode, followed by what to write
//! instead.

use crate::ffi::{Args, Object, Params, Res, builtin, raise};
use crate::names::names;

/// TypeError if `given`, which `method` was given to call, cannot be called.
#[inline]
pub(crate) fn check(method: &str, given: &Object) -> Res<()> {
    if given.is_callable() { Ok(()) } else { refuse(method, given) }
}

/// The same for a job of a thread. `asyncio.to_thread` passes a `functools.partial` of a context's `run`; its
/// first argument is the function that `to_thread` was given.
#[inline]
pub(crate) fn check_job(job: &Object) -> Res<()> {
    let names = names();
    if job.is_exactly(&names.partial)
        && let Some(first) = job.attr(&names.args)?.tuple_item(0)
        && !first.is_callable()
        && is_run_of_context(&*job.attr(&names.func)?)?
    {
        return refuse("to_thread", &first);
    }
    check("run_in_executor", job)
}

/// `check_callable(method, function)`, for code written in Python.
pub(crate) fn check_callable(args: Args<'_>) -> Res<()> {
    const PARAMS: Params<2> =
        Params { function: "check_callable", names: ["method", "function"], required: 2, positional: 2 };
    let [Some(method), Some(function)] = args.bind(&PARAMS)? else {
        unreachable!("bind() has checked what is required");
    };
    match &*method.display()? {
        "run_in_executor" => check_job(function),
        method => check(method, function),
    }
}

#[cold]
fn is_run_of_context(function: &Object) -> Res<bool> {
    let owner = function.attr_opt(&names().dunder_self)?;
    Ok(owner.is_some_and(|owner| owner.is_context()))
}

/// How much of the given object is shown: it may be all the data that a program has read.
const SHOWN: usize = 200;

#[cold]
pub(crate) fn refuse<T>(method: &str, given: &Object) -> Res<T> {
    // What comes before the function where it is passed.
    let before = match method {
        "call_later" => "delay, ",
        "call_at" => "when, ",
        "add_reader" | "add_writer" => "fd, ",
        "add_signal_handler" => "sig, ",
        "run_in_executor" => "executor, ",
        _ => "",
    };
    let instead = match method {
        "add_done_callback" | "start_server" | "start_unix_server" => {
            format!("write {method}(f), not {method}(f(x)), which passes what f has returned")
        }
        "create_server" | "create_unix_server" => {
            "pass what makes a protocol, such as its class, not a protocol".to_owned()
        }
        _ => format!(
            "write {method}({before}f, x), not {method}({before}f(x)), which passes what f has returned"
        ),
    };
    let message = if names().is_coroutine.call(&[given])?.truth()? {
        let instead = match method {
            "call_soon" | "to_thread" | "run_in_executor" => {
                "await it, or run it with create_task()".to_owned()
            }
            "call_soon_threadsafe" => "run it with asyncio.run_coroutine_threadsafe()".to_owned(),
            _ => instead,
        };
        format!("coroutines cannot be used with {method}(): {instead}")
    } else {
        let mut shown = given.repr()?;
        if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
            shown.truncate(end);
            shown.push('…');
        }
        format!("a callable object was expected by {method}(), got {shown}: {instead}")
    };
    raise(builtin::type_error(), &message)
}
