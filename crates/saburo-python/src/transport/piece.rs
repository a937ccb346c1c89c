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
/// Copies go into blocks of up to this size.
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
    // The first copy takes what it needs: as a rule it is the only one.
    let room = if queue.is_empty() { 0 } else { BLOCK };
    let mut copied = false;
    queue.extend_last(|last| {
        let whole = last.as_ref().len() + data.len();
        match last {
            _ if whole > BLOCK => return 0,
            Piece::Copied(block) => {
                if whole > block.capacity() {
                    // Whoever has written this often goes on.
                    block.reserve_exact(if whole <= SMALL { SMALL } else { BLOCK } - block.len());
                }
                block.extend_from_slice(data);
            }
            // A head and a body, say: both in one are sent by a simpler call.
            Piece::Bytes(first) if first.as_ref().len() <= SMALL => {
                let mut both = Vec::with_capacity(whole.max(SMALL));
                both.extend_from_slice(first.as_ref());
                both.extend_from_slice(data);
                *last = Piece::Copied(both);
            }
            Piece::Bytes(_) => return 0,
        }
        copied = true;
        data.len()
    });
    if !copied {
        let mut block = Vec::with_capacity(room.max(data.len()));
        block.extend_from_slice(data);
        queue.push(Piece::Copied(block));
    }
}
