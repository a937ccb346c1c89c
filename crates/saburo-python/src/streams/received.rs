//! The bytes that a reader has received and that were not read yet, with two ways to avoid copies.
//!
//! The bytes are in a [`ReadBuffer`], with two exceptions. Bytes that arrive while a coroutine waits are kept
//! in front of the buffer, as the `bytes` object that the coroutine will get. A program that reads asyncio's
//! `_buffer` gets a bytearray that holds all bytes from then on, so that changing it changes what is read. In
//! both cases the bytes are moved back into the buffer when another operation needs them. No Python code is
//! called while the buffer is borrowed.

use std::cell::RefCell;
use std::collections::TryReserveError;

use saburo_core::ReadBuffer;

use crate::ffi::{Holds, Obj, Object, Res, Slot, bytearray, bytes, fields, lend};

pub(super) struct Received {
    buffer: RefCell<ReadBuffer>,
    /// The first of the bytes, as one `bytes`; or all of them, in a bytearray that other code may have as
    /// well.
    object: Slot,
}

impl Received {
    pub(super) const fn new() -> Received {
        Received { buffer: RefCell::new(ReadBuffer::new()), object: Slot::empty() }
    }

    #[inline]
    pub(super) fn len(&self) -> Res<usize> {
        let kept = if self.object.is_set() { self.len_of_kept()? } else { 0 };
        Ok(kept + self.buffer.borrow().len())
    }

    #[cold]
    fn len_of_kept(&self) -> Res<usize> {
        let object = self.object.get();
        match object.as_deref().and_then(Object::as_bytes) {
            Some(kept) => Ok(kept.len()),
            None => self.settle().map(|()| 0),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> Res<bool> {
        Ok(self.len()? == 0)
    }

    /// True if there are no bytes, and no bytearray that other code may fill.
    #[inline]
    pub(super) fn is_vacant(&self) -> Res<bool> {
        Ok(self.is_empty()? && !self.object.is_set())
    }

    /// Lends the bytes to `look`, which calls no Python code.
    #[inline]
    pub(super) fn look<R>(&self, look: impl FnOnce(&[u8]) -> R) -> Res<R> {
        self.settle()?;
        Ok(look(self.buffer.borrow().unread()))
    }

    /// Adds `data` at the end.
    #[inline]
    pub(super) fn extend(&self, data: &[u8]) -> Res<()> {
        if self.object.is_set() {
            return self.extend_elsewhere(data);
        }
        Ok(self.buffer.borrow_mut().try_extend(data)?)
    }

    #[cold]
    fn extend_elsewhere(&self, data: &[u8]) -> Res<()> {
        if self.object.get().is_some_and(|object| object.is_bytearray()) {
            self.settle()?;
        }
        self.buffer.borrow_mut().try_extend(data)?;
        self.publish()
    }

    /// Keeps `data`, a `bytes`, as it is. The caller has checked `is_vacant`.
    #[inline]
    pub(super) fn keep(&self, data: Obj) {
        debug_assert!(data.as_bytes().is_some() && !self.object.is_set() && self.buffer.borrow().is_empty());
        self.object.set(Some(data));
    }

    /// Takes at most `count` bytes from the start, as `bytes`.
    #[inline]
    pub(super) fn take(&self, count: usize) -> Res<Obj> {
        if let Some(kept) = self.take_kept(count) {
            return Ok(kept);
        }
        self.settle()?;
        let taken = {
            let mut buffer = self.buffer.borrow_mut();
            let count = count.min(buffer.len());
            let taken = bytes(&buffer.unread()[..count])?;
            buffer.consume(count);
            taken
        };
        self.publish()?;
        Ok(taken)
    }

    /// Takes at most `count` bytes from the start, and adds them to the end of `into`.
    pub(super) fn pour(&self, count: usize, into: &mut Vec<u8>) -> Res<()> {
        self.settle()?;
        {
            let mut buffer = self.buffer.borrow_mut();
            let count = count.min(buffer.len());
            into.try_reserve(count)?;
            into.extend_from_slice(&buffer.unread()[..count]);
            buffer.consume(count);
        }
        self.publish()
    }

    /// Drops the first `count` bytes.
    pub(super) fn skip(&self, count: usize) -> Res<()> {
        self.settle()?;
        {
            let mut buffer = self.buffer.borrow_mut();
            let count = count.min(buffer.len());
            buffer.consume(count);
        }
        self.publish()
    }

    /// Returns the bytes as a bytearray, which holds them from now on.
    pub(super) fn lend(&self) -> Res<Obj> {
        self.settle()?;
        if let Some(lent) = self.object.get() {
            return Ok(lent);
        }
        let lent = bytearray(self.buffer.borrow().unread())?;
        self.object.set(Some(lent.clone()));
        Ok(lent)
    }

    /// Replaces the received bytes by a bytearray of the program.
    pub(super) fn replace(&self, given: &Object) {
        self.object.set(Some(given.to_obj()));
    }

    /// The `bytes` that were kept, if `count` asks for exactly these.
    #[inline]
    fn take_kept(&self, count: usize) -> Option<Obj> {
        if !self.object.is_set() {
            return None;
        }
        let length = self.object.get()?.as_bytes()?.len();
        if length == count || (length < count && self.buffer.borrow().is_empty()) {
            return self.object.take();
        }
        None
    }

    /// Moves the bytes into the buffer, wherever they are.
    #[inline]
    fn settle(&self) -> Res<()> {
        if self.object.is_set() { self.bring_back() } else { Ok(()) }
    }

    #[cold]
    fn bring_back(&self) -> Res<()> {
        let Some(object) = self.object.get() else { return Ok(()) };
        if let Some(kept) = object.as_bytes() {
            let mut buffer = self.buffer.borrow_mut();
            let mut whole = ReadBuffer::new();
            whole.try_extend(kept)?;
            whole.try_extend(buffer.unread())?;
            *buffer = whole;
            drop(buffer);
            self.object.set(None);
            return Ok(());
        }
        lend(&object, |lent| {
            let mut whole = ReadBuffer::new();
            whole.try_extend(lent)?;
            *self.buffer.borrow_mut() = whole;
            Ok::<(), TryReserveError>(())
        })??;
        if object.references() == 2 {
            // Only this code and the slot have the bytearray; no other code has it any more.
            self.object.set(None);
        }
        Ok(())
    }

    /// Copies a change to the bytearray that other code has, too.
    #[inline]
    fn publish(&self) -> Res<()> {
        if self.object.is_set() { self.write_back() } else { Ok(()) }
    }

    #[cold]
    fn write_back(&self) -> Res<()> {
        match self.object.get() {
            Some(lent) if lent.is_bytearray() => lent.set_bytearray(self.buffer.borrow().unread()),
            _ => Ok(()),
        }
    }
}

impl Holds for Received {
    fields! {
        part;
        objects { object }
        plain { buffer }
    }
}

/// Copies bytes. Other code decides how many, so a failed allocation is an error that the caller handles.
pub(super) fn copy(bytes: &[u8]) -> Result<Vec<u8>, TryReserveError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
