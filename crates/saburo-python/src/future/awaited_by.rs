//! The waiters of a future, for asyncio's call graphs (3.14 and later).
//!
//! A task that awaits a future stands among its callbacks already, and costs nothing more. Those who wait
//! through a callback of their own (gather, wait, TaskGroup) say so by `future_add_to_awaited_by`; usually
//! there is one, so a set is made only for the second.

use crate::ffi::{Args, Instance, Obj, Object, Res, builtin, list, raise};
use crate::names::names;

use super::Future;
use super::callbacks::waiting_tasks;

/// `future_add_to_awaited_by(fut, waiter)`; a future that is not ours is asyncio's affair.
pub(crate) fn add_to_awaited_by(args: Args<'_>) -> Res<()> {
    let (future, waiter) = both(args)?;
    let Some(this) = future.cast::<Future>() else {
        return theirs(&names().add_to_awaited_by, future, waiter);
    };
    if !is_future(waiter)? {
        return Ok(());
    }
    match this.awaited_by.get() {
        None => this.awaited_by.set(Some(waiter.to_obj())),
        Some(recorded) if recorded.is(waiter) => {}
        Some(recorded) if recorded.is_exact_set() => recorded.set_add(waiter)?,
        Some(recorded) => this.awaited_by.set(Some(set_of(vec![recorded, waiter.to_obj()])?)),
    }
    Ok(())
}

/// `future_discard_from_awaited_by(fut, waiter)`.
pub(crate) fn discard_from_awaited_by(args: Args<'_>) -> Res<()> {
    let (future, waiter) = both(args)?;
    let Some(this) = future.cast::<Future>() else {
        return theirs(&names().discard_from_awaited_by, future, waiter);
    };
    match this.awaited_by.get() {
        Some(recorded) if recorded.is(waiter) => this.awaited_by.set(None),
        Some(recorded) if recorded.is_exact_set() => recorded.set_discard(waiter)?,
        _ => {}
    }
    Ok(())
}

/// All waiters of the future, as a set; None if there are none.
pub(super) fn awaited_by(this: &Instance<Future>) -> Res<Option<Obj>> {
    let mut waiters = waiting_tasks(this)?;
    match this.awaited_by.get() {
        Some(recorded) if recorded.is_exact_set() => {
            let all = names().set_class.call(&[&recorded])?;
            for waiter in &waiters {
                all.set_add(waiter)?;
            }
            return Ok(all.truth()?.then_some(all));
        }
        Some(recorded) => waiters.push(recorded),
        None => {}
    }
    if waiters.is_empty() { Ok(None) } else { set_of(waiters).map(Some) }
}

fn theirs(function: &Option<Obj>, future: &Object, waiter: &Object) -> Res<()> {
    match function {
        Some(function) => function.call(&[future, waiter]).map(drop),
        None => Ok(()),
    }
}

fn both<'a>(args: Args<'a>) -> Res<(&'a Object, &'a Object)> {
    match args.positional() {
        &[future, waiter] => Ok((future, waiter)),
        given => raise(
            builtin::type_error(),
            &format!("a future and who waits for it are expected, {} arguments were given", given.len()),
        ),
    }
}

fn is_future(waiter: &Object) -> Res<bool> {
    Ok(waiter.cast::<Future>().is_some() || waiter.is_instance(&names().class_future)?)
}

fn set_of(objects: Vec<Obj>) -> Res<Obj> {
    names().set_class.call(&[&*list(objects.into_iter())?])
}
