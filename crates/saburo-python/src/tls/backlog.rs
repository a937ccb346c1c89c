//! Plaintext that waits to be encrypted.
//!
//! Small writes become one record: a record costs thirty bytes and about a microsecond, whatever its size. A
//! chunk that could not be encrypted is the beginning of the next chunk, which is never shorter; OpenSSL
//! requires that.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::ffi::{Bytes, Res, Stretch};

/// The data that the application has written, in order.
pub(super) struct Backlog {
    /// Exactly `bytes`, so dropping a piece runs no code. No piece is empty.
    pieces: RefCell<VecDeque<Bytes>>,
    /// How many bytes of the first piece are encrypted.
    offset: Cell<usize>,
    /// How many bytes are not encrypted yet.
    size: Cell<usize>,
}

/// The plaintext to encrypt next, as one record.
pub(super) enum Chunk {
    /// A part of one piece.
    Part { piece: Bytes, start: usize, end: usize },
    /// Several pieces together.
    Gathered(Vec<u8>),
}

/// The plaintext of a full record.
const MAX_PLAINTEXT: usize = 16 * 1024;
/// The most to encrypt before it is sent, so that the transport below gets it in one piece. The engine's
/// buffers grow to hold it, and never give memory back. Half as much costs bulk transfers 5 to 10 % more CPU,
/// twice as much saves none (2026-11-28).
pub(super) const CHUNK: usize = 64 * 1024;

impl Backlog {
    pub(super) fn new() -> Backlog {
        Backlog { pieces: RefCell::new(VecDeque::new()), offset: Cell::new(0), size: Cell::new(0) }
    }

    #[inline]
    pub(super) fn push(&self, piece: Bytes) -> Res<()> {
        let length = piece.as_ref().len();
        if length > 0 {
            let mut pieces = self.pieces.borrow_mut();
            if pieces.len() == pieces.capacity() {
                pieces.try_reserve(1)?;
            }
            pieces.push_back(piece);
            self.size.set(self.size.get() + length);
        }
        Ok(())
    }

    /// The number of bytes that wait.
    #[inline]
    pub(super) fn size(&self) -> usize {
        self.size.get()
    }

    /// The plaintext to encrypt next.
    pub(super) fn next(&self) -> Option<Chunk> {
        let pieces = self.pieces.borrow();
        let first = pieces.front()?;
        let start = self.offset.get();
        let left = first.as_ref().len() - start;
        if left >= MAX_PLAINTEXT || pieces.len() == 1 {
            return Some(Chunk::Part { piece: first.clone(), start, end: start + left.min(CHUNK) });
        }
        let mut gathered = Vec::with_capacity(self.size.get().min(MAX_PLAINTEXT));
        let mut skip = start;
        for piece in pieces.iter() {
            let piece = &piece.as_ref()[skip..];
            skip = 0;
            let room = MAX_PLAINTEXT - gathered.len();
            gathered.extend_from_slice(&piece[..piece.len().min(room)]);
            if gathered.len() == MAX_PLAINTEXT {
                break;
            }
        }
        Some(Chunk::Gathered(gathered))
    }

    /// Marks the first `count` bytes as encrypted.
    pub(super) fn advance(&self, count: usize) {
        let mut pieces = self.pieces.borrow_mut();
        let mut count = count;
        self.size.set(self.size.get().checked_sub(count).expect("more encrypted than there was"));
        while count > 0 {
            let first = pieces.front().expect("the size is that of all pieces");
            let left = first.as_ref().len() - self.offset.get();
            if count < left {
                self.offset.set(self.offset.get() + count);
                break;
            }
            count -= left;
            self.offset.set(0);
            pieces.pop_front();
        }
        if pieces.is_empty() && pieces.capacity() > KEPT {
            *pieces = VecDeque::new();
        }
    }

    pub(super) fn clear(&self) {
        *self.pieces.borrow_mut() = VecDeque::new();
        self.offset.set(0);
        self.size.set(0);
    }
}

/// An idle connection keeps room for this many pieces at most.
const KEPT: usize = 8;

impl Chunk {
    pub(super) fn stretch(&self) -> Stretch<'_> {
        Stretch::of(match self {
            Chunk::Part { piece, start, end } => &piece.as_ref()[*start..*end],
            Chunk::Gathered(gathered) => gathered,
        })
    }
}
