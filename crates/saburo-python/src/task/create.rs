//! `loop.create_task()`: of ours, by the program's factory, or asyncio's own.

use crate::event_loop::Loop;
use crate::ffi::{Args, Instance, Obj, Object, Own, Res, builtin, raise, tuple};
use crate::names::names;

use super::{TaskOptions, create};

/// `create_task(coro, *, name=None, context=None, **kwargs)`
pub(super) fn create_task(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    this.check_usable()?;
    let names = names();
    let &[coro] = args.positional() else {
        return create_task_unusually(this, args);
    };
    let factory = this.task_factory();
    let eager_factory = factory.as_ref().is_some_and(|factory| names.is_eager_factory(factory));
    match factory {
        Some(factory) if !(eager_factory && this.has_native_tasks()) => {
            return by_factory(this, &factory, coro, args);
        }
        None if !this.has_native_tasks() => return by_asyncio(this, coro, args),
        _ => {}
    }
    let mut options = TaskOptions { eager: eager_factory, ..TaskOptions::default() };
    for (keyword, value) in args.keywords() {
        if keyword.is(&names.name) {
            options.name = (!value.is_none()).then_some(value);
        } else if keyword.is(&names.context) {
            options.context = (!value.is_none()).then_some(value);
        } else if keyword.is(&names.eager_start) {
            // None means the default: what the factory says.
            if !value.is_none() {
                options.eager = value.truth()?;
            }
        } else {
            let keyword = keyword.display()?;
            return raise(
                builtin::type_error(),
                &format!("create_task() got an unexpected keyword argument '{keyword}'"),
            );
        }
    }
    create(this, coro, &options).map(Own::into_obj)
}

/// The factory gets every keyword, on every version: the newest asyncio's rule.
fn by_factory(this: &Instance<Loop>, factory: &Object, coro: &Object, args: Args<'_>) -> Res<Obj> {
    let names = names();
    if cfg!(Py_3_14) {
        let all: Vec<&Object> = [this.as_object()].into_iter().chain(args.all().iter().copied()).collect();
        return factory.call_with_names(&all, args.names());
    }
    // Factories written for these versions take no name: it is set on what they return.
    let mut passed: Vec<&Object> = vec![this.as_object(), coro];
    let mut keywords = Vec::new();
    let mut name = None;
    for (keyword, value) in args.keywords() {
        if keyword.is(&names.name) {
            name = (!value.is_none()).then_some(value);
        } else if !(keyword.is(&names.context) && value.is_none()) {
            keywords.push(keyword);
            passed.push(value);
        }
    }
    let keywords = tuple(keywords.into_iter())?;
    let task = factory.call_with_names(&passed, Some(&keywords))?;
    if let (Some(name), Some(set_name)) = (name, task.attr_opt(&names.set_name)?) {
        set_name.call(&[name])?;
    }
    Ok(task)
}

/// `Loop(tasks="stdlib")`: asyncio's own Task.
fn by_asyncio(this: &Instance<Loop>, coro: &Object, args: Args<'_>) -> Res<Obj> {
    let names = names();
    let mut keywords: Vec<&Object> = vec![&names.loop_];
    let mut passed: Vec<&Object> = vec![coro, this.as_object()];
    for (keyword, value) in args.keywords() {
        keywords.push(keyword);
        passed.push(value);
    }
    let keywords = tuple(keywords.into_iter())?;
    names.class_task.call_with_names(&passed, Some(&keywords))
}

#[cold]
fn create_task_unusually(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    match args.positional().len() {
        0 => args.placed("BaseEventLoop.create_task", &["coro"], |args| create_task(this, args)),
        // Counted with self, as Python counts.
        given => raise(
            builtin::type_error(),
            &format!("BaseEventLoop.create_task() takes 2 positional arguments but {} were given", given + 1),
        ),
    }
}
