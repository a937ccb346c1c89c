//! What threads share state with: the standard library's primitives, or loom's in a model.
//! Chosen here and nowhere else, so that the model checks the code that ships.

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};
