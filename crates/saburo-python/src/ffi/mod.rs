//! The CPython door: the only place in this crate where `unsafe` is allowed.
//!
//! Everything outside this folder is written against the safe names below and never sees a raw
//! pointer. Three facts make that sound, and every `SAFETY` comment leans on one of them:
//!
//! 1. **Attached.** An [`Obj`] or [`Object`] is neither `Send` nor `Sync`, and the first one a thread
//!    gets comes from the interpreter calling us. Code that holds one is on an attached thread.
//!    [`detach`] is the only way to release the interpreter, and its closure must be `Send`.
//! 2. **Owned or lent.** [`Obj`] owns one reference. `&Object` is a reference that other code keeps
//!    alive for at least that borrow: a caller's argument, or an `Obj` on our stack.
//! 3. **No lasting borrow.** Fields that Python can reach are [`Slot`]s and `Cell`s. They hand out
//!    copies (new references), never a view into themselves, because every call, every attribute
//!    access and every decref can run code that changes the field underneath.

mod args;
mod audit;
mod buffer;
mod call;
mod class;
mod compat;
mod context;
mod context_layout;
mod coroutine;
mod docstring;
mod error;
mod inline;
mod interpreter;
mod methods;
mod module;
mod object;
mod os_error;
mod owner;
mod program;
mod python;
mod slot;
#[cfg(Py_3_14)]
mod thread_state;
mod weak;
mod window;

pub(crate) use args::{Args, Params};
pub(crate) use audit::is_audited;
pub(crate) use buffer::{
    Bytes, RECV_INTO, View, bytearray, bytes, bytes_made, lend, lend_mut, lend_ready, lend_text,
};
pub(crate) use call::mapping;
pub(crate) use class::{
    Behind, Builder, Class, Dict, Holds, In, Instance, OneSlot, Own, Owns, TypeCell, Visit, fields,
    holds_nothing, trim_dead,
};
pub(crate) use context::{Context, inside};
pub(crate) use context_layout::{Vars, current_vars, find_layout};
pub(crate) use coroutine::{Sent, send, throw};
pub(crate) use error::{
    Raised, Res, aside, builtin, no_memory, raise, raise_given, warn_deprecated, warn_resource,
};
pub(crate) use inline::Inline;
pub(crate) use interpreter::{Global, attached_thread, check_signals, deeper, detach};
pub(crate) use methods::copy_inherited;
pub(crate) use module::Module;
pub(crate) use object::{
    Obj, Object, boolean, float, fs_decoded, import, int, intern, list, none, string, tuple,
};
pub(crate) use os_error::find_strerror;
pub(crate) use owner::{Owner, find_descriptors, socket_number};
pub(crate) use program::run_file;
pub(crate) use slot::Slot;
#[cfg(Py_3_14)]
pub(crate) use thread_state::RunningTask;
pub(crate) use weak::Weak;
pub(crate) use window::{BytesWriter, SslPart, Stretch, Window};
