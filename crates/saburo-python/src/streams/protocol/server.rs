//! The server's side of a stream: the callback of an accepted connection, and its task.

use crate::coroutine;
use crate::ffi::{Instance, Obj, Object, Res, mapping, string};
use crate::future;
use crate::names::names;
use crate::streams::{link, writer};
use crate::task::Task;

use super::StreamReaderProtocol;

/// Calls a server's callback, and makes a task of its coroutine.
pub(super) fn serve(
    this: &Instance<StreamReaderProtocol>,
    transport: &Object,
    callback: &Object,
    reader: Option<Obj>,
) -> Res<()> {
    let names = names();
    let event_loop = this.event_loop();
    let writer = writer::of(transport, this, reader.clone(), event_loop.clone())?;
    let answer = callback.call(&[&*link::or_none(reader), writer.as_object()])?;
    drop(writer);
    let is_coroutine = answer.is_exact_coroutine()
        || coroutine::is_native(&answer)
        || names.is_coroutine.call(&[&answer])?.truth()?;
    if !is_coroutine {
        return Ok(());
    }
    let task = event_loop.method(&names.create_task, &[&answer])?;
    this.task.set(Some(task.clone()));
    this.accepted.set(Some(transport.to_obj()));
    // The done callback gets the context that this code runs in. asyncio copies it: that would be one more
    // context for every connection.
    let context = link::context(transport);
    if let (Some(ours), Some(context)) = (task.cast_exact::<Task>(), &context) {
        return future::add_handler_done(ours.upcast(), this.as_object().to_obj(), context.clone());
    }
    let done = this.as_object().attr(&names.handler_done)?;
    match &context {
        Some(context) => {
            let args: [&Object; 2] = [&done, context.as_object()];
            task.method_with_names(&names.add_done_callback, &args, Some(&names.kw_context)).map(drop)
        }
        None => task.method(&names.add_done_callback, &[&done]).map(drop),
    }
}

/// The task of a server's callback has ended.
pub(super) fn handler_done(this: &Instance<StreamReaderProtocol>, task: &Object) -> Res<()> {
    let names = names();
    let transport = link::or_none(this.accepted.take());
    if task.method(&names.cancelled, &[])?.truth()? {
        return link::close(&transport).map(drop);
    }
    let exception = task.method(&names.exception, &[])?;
    if exception.is_none() {
        return Ok(());
    }
    report_unhandled(this, &transport, &exception)?;
    link::close(&transport).map(drop)
}

#[cold]
pub(super) fn report_unhandled(
    this: &Instance<StreamReaderProtocol>,
    transport: &Object,
    exception: &Object,
) -> Res<()> {
    let names = names();
    let message = string("Unhandled exception in client_connected_cb")?;
    let context =
        mapping(&[(&names.message, &message), (&names.exception, exception), (&names.transport, transport)])?;
    this.event_loop().method(&names.call_exception_handler, &[&context]).map(drop)
}
