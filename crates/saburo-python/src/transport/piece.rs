//! The pieces of data that wait to be written.

use std::io::{self, ErrorKind};

use saburo_core::WriteQueue;

use crate::ffi::Bytes;

/// A piece of data to send.
pub(super) enum Piece {
    /// The program's own `bytes`, not copied.
    Bytes(Bytes),
    /// A block of copies: small pieces one after the other, and data that the program may change.
    Copied(Vec<u8>),
}

impl AsRef<[u8]> for Piece {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            Piece::Bytes(bytes) => bytes.as_ref(),
            Piece::Copied(copied) => copied,
        }
    }
}

/// Up to this many bytes, a copy costs less than another entry of a vectored call.
pub(super) const SMALL: usize = 512;
/// The largest size of a block of copies.
const BLOCK: usize = 4096;

/// Appends data to the queue, and copies it if it is small. On `OutOfMemory` the queue is unchanged, here as
/// below.
#[inline]
pub(super) fn push(queue: &mut WriteQueue<Piece>, bytes: Bytes) -> io::Result<()> {
    if queue.is_empty() || bytes.as_ref().len() > SMALL {
        return append(queue, Piece::Bytes(bytes));
    }
    copy(queue, bytes.as_ref())
}

/// Appends a piece without a copy.
#[inline]
pub(super) fn append(queue: &mut WriteQueue<Piece>, piece: Piece) -> io::Result<()> {
    // Dropping a piece runs no code.
    queue.try_push(piece).map_err(|_| ErrorKind::OutOfMemory.into())
}

/// Copies data into a piece of its own.
pub(super) fn copied(data: &[u8]) -> io::Result<Piece> {
    block(data, 0).map(Piece::Copied)
}

/// Copies data into a block with room for `room` bytes.
fn block(data: &[u8], room: usize) -> io::Result<Vec<u8>> {
    let mut block = Vec::new();
    block.try_reserve_exact(room.max(data.len()))?;
    block.extend_from_slice(data);
    Ok(block)
}

/// Appends a copy to the queue.
pub(super) fn copy(queue: &mut WriteQueue<Piece>, data: &[u8]) -> io::Result<()> {
    // The first copy takes only the room it needs: usually it is the only one.
    let room = if queue.is_empty() { 0 } else { BLOCK };
    let mut copied = Ok(false);
    queue.extend_last(|last| {
        let whole = last.as_ref().len() + data.len();
        match last {
            _ if whole > BLOCK => return 0,
            Piece::Copied(block) => {
                if whole > block.capacity() {
                    // A program that has written several times will probably write again.
                    let more = if whole <= SMALL { SMALL } else { BLOCK } - block.len();
                    if let Err(full) = block.try_reserve_exact(more) {
                        copied = Err(full.into());
                        return 0;
                    }
                }
                block.extend_from_slice(data);
            }
            // For example a head and a body: one piece with both needs a simpler call.
            Piece::Bytes(first) if first.as_ref().len() <= SMALL => {
                let mut both = match block(first.as_ref(), whole.max(SMALL)) {
                    Ok(both) => both,
                    Err(full) => {
                        copied = Err(full);
                        return 0;
                    }
                };
                both.extend_from_slice(data);
                *last = Piece::Copied(both);
            }
            Piece::Bytes(_) => return 0,
        }
        copied = Ok(true);
        data.len()
    });
    if copied? { Ok(()) } else { append(queue, Piece::Copied(block(data, room)?)) }
}
