//! What waits to be written, piece by piece.

use saburo_core::WriteQueue;

use crate::ffi::Bytes;

/// Something to send.
pub(super) enum Piece {
    /// The program's own, uncopied.
    Bytes(Bytes),
    /// Copies of small ones, one behind the other, and of what may change.
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

/// Up to this many bytes, copying costs less than another entry of a vectored call.
pub(super) const SMALL: usize = 512;
/// Copies go into blocks of this size.
const BLOCK: usize = 4096;

/// Appends to the queue, copying what is small.
#[inline]
pub(super) fn push(queue: &mut WriteQueue<Piece>, bytes: Bytes) {
    if queue.is_empty() || bytes.as_ref().len() > SMALL {
        queue.push(Piece::Bytes(bytes));
        return;
    }
    copy(queue, bytes.as_ref());
}

/// Appends a copy to the queue.
pub(super) fn copy(queue: &mut WriteQueue<Piece>, data: &[u8]) {
    let mut copied = false;
    queue.extend_last(|last| match last {
        Piece::Copied(block) if block.len() + data.len() <= BLOCK => {
            block.extend_from_slice(data);
            copied = true;
            data.len()
        }
        _ => 0,
    });
    if !copied {
        let mut block = Vec::with_capacity(BLOCK.max(data.len()));
        block.extend_from_slice(data);
        queue.push(Piece::Copied(block));
    }
}
