//! `saburo._saburo`: asyncio's event loop, tasks and futures as CPython classes over saburo-core.
//!
//! Read `event_loop/run.rs` first: one turn of the loop on one page. A ready handle becomes a call of
//! Python in `handle/`, a ready task one step of its coroutine in `task/step.rs`. Everything that
//! touches CPython's C API is in `ffi/`, the only folder where `unsafe` is allowed.
//!
//! The rooms stand in layers. Each uses those below it and knows nothing of those above, which reach it by
//! the trait in the last column, or by a table that is filled here, at import:
//!
//! | room | holds | is reached from above by |
//! |---|---|---|
//! | `streams` | readers, writers and the protocol between them and a transport | |
//! | `tls` | a transport over another one, and its protocol | |
//! | `transport` | bytes between a socket or a pipe and a protocol | `Receiver`, how a protocol takes bytes |
//! | `sock`, `pool` | a program's own sockets; the threads of blocking calls | |
//! | `task` | steps of coroutines | |
//! | `coroutine` | coroutines whose body is Rust | `Body`, what is in one |
//! | `future` | results to come, and their callbacks | |
//! | `handle` | scheduled calls | `Sleeper`, the task that a handle wakes |
//! | `event_loop` | the queue, turns, descriptors | `Entry`, what to do; `Transport`; `Unfinished`, a task |
//! | `callable`, `running`, `thrown` | one rule each | |
//! | `names` | what is looked up in Python by name | |
//! | `ffi` | the C API | `Class`, a Rust type that is one of Python's classes |
//!
//! `scripts/lint/layers.py` has the same order and checks it.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod ffi;

mod callable;
mod coroutine;
mod event_loop;
mod future;
mod handle;
mod names;
mod pool;
mod running;
mod sock;
mod streams;
mod task;
mod thrown;
mod tls;
mod transport;

use event_loop::Loop;
use ffi::{Builder, Module, Res};
use names::names;

/// The table of contents of the module.
fn populate(module: &Module) -> Res<()> {
    names::load()?;
    ffi::find_strerror()?;
    ffi::find_layout()?;
    ffi::find_descriptors(&names().class_socket, &names().class_file)?;
    event_loop::load_current()?;
    transport::add_receivers([tls::receiver_of, streams::receiver_of]);
    module.text(c"__version__", env!("CARGO_PKG_VERSION"))?;
    module.internal_error(
        c"A bug in saburo itself: please report it, with the message.

Raised where the native code has panicked; the interpreter goes on.

>>> import saburo
>>> issubclass(saburo.InternalError, RuntimeError)
True",
    )?;
    module.function(
        c"future_add_to_awaited_by",
        future::add_to_awaited_by,
        c"Record that `fut` is awaited on by `waiter`, also where `fut` is one of ours.",
    )?;
    module.function(
        c"future_discard_from_awaited_by",
        future::discard_from_awaited_by,
        c"Record that `fut` is no longer awaited on by `waiter`, also where `fut` is one of ours.",
    )?;
    module.function(
        c"copy_inherited_methods",
        event_loop::copy_inherited_methods,
        c"Give a class that derives from Loop the native methods it inherits as its own.",
    )?;
    module.function(
        c"check_callable",
        callable::check_callable,
        c"Raise TypeError, with advice, if `method` was given a `function` that cannot be called.",
    )?;
    module.function(
        c"run_file",
        ffi::run_file,
        c"Run the source that a descriptor reads as the program `name`, with `names` as its globals.",
    )?;
    module.class::<handle::Handle>()?;
    module.class::<handle::TimerHandle>()?;
    module.class::<future::Future>()?;
    module.class::<future::FutureIter>()?;
    module.class::<task::Task>()?;
    module.class::<handle::TaskWakeup>()?;
    module.class::<streams::StreamReader>()?;
    module.class::<streams::StreamWriter>()?;
    module.class::<streams::StreamReaderProtocol>()?;
    module.class::<coroutine::Coroutine>()?;
    module.class::<coroutine::CoroutineIter>()?;
    module.class::<pool::Pool>()?;
    module.class::<tls::TlsProtocol>()?;
    module.class::<tls::TlsTransport>()?;
    module.class::<transport::StreamTransport>()?;
    module.class::<transport::DatagramTransport>()?;
    module.class::<transport::ReadPipeTransport>()?;
    module.class::<transport::WritePipeTransport>()?;
    module.class::<transport::Listener>()?;
    module.class::<transport::Clients>()?;
    module.class::<transport::Dial>()?;
    module.class_with::<Loop>(|builder| {
        // Each room above the loop describes what a loop has for it.
        let rooms: [fn(Builder<Loop>) -> Builder<Loop>; 6] = [
            handle::describe_loop,
            future::describe_loop,
            task::describe_loop,
            pool::describe_loop,
            sock::describe_loop,
            transport::describe_loop,
        ];
        rooms.into_iter().fold(builder, |builder, describe| describe(builder))
    })
}
