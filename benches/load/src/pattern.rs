//! The bytes that are sent, and must come back.
//!
//! One block of noise, of which every message is another piece: an answer that belongs to another connection
//! or another moment differs from the right one.

use std::io;
use std::ops::Range;
use std::path::Path;

/// The block. It has no period of its own that a lost or doubled piece could hide in.
#[derive(Debug)]
pub(crate) struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    /// Any bytes.
    pub(crate) fn noise() -> Self {
        let words = (0..LENGTH as u64 / 8).map(mix);
        Pattern { bytes: words.flat_map(u64::to_le_bytes).collect() }
    }

    /// Lines of `size` bytes, the line feed included.
    pub(crate) fn lines(size: usize) -> Self {
        let mut bytes = Pattern::noise().bytes;
        bytes.truncate(LENGTH / size * size);
        for line in bytes.chunks_mut(size) {
            line.iter_mut().for_each(|byte| *byte = LETTERS[usize::from(*byte) % LETTERS.len()]);
            line[size - 1] = b'\n';
        }
        Pattern { bytes }
    }

    /// A block that somebody else has, too.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(Pattern { bytes: std::fs::read(path)? })
    }

    /// `length` bytes that hardly any other number gets, beginning at a multiple of `unit`.
    pub(crate) fn piece(&self, number: u64, length: usize, unit: usize) -> Window {
        let places = (self.bytes.len() - length) / unit + 1;
        Window { start: (mix(number) % places as u64) as usize * unit, length, total: length as u64 }
    }

    /// The whole block, again and again.
    pub(crate) fn endless(&self, total: u64) -> Window {
        Window { start: 0, length: self.bytes.len(), total }
    }

    /// The bytes of the window from `position` on, as far as they lie in one piece; empty at its end.
    pub(crate) fn run(&self, window: Window, position: u64) -> &[u8] {
        &self.bytes[window.run(position)]
    }
}

/// `total` bytes: a range of the block, repeated as long as it takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    start: usize,
    length: usize,
    pub(crate) total: u64,
}

impl Window {
    pub(crate) fn repeated(self, times: u64) -> Self {
        Window { total: self.total * times, ..self }
    }

    fn run(self, position: u64) -> Range<usize> {
        if position >= self.total {
            return 0..0;
        }
        let offset = (position % self.length as u64) as usize;
        let length = ((self.length - offset) as u64).min(self.total - position) as usize;
        self.start + offset..self.start + offset + length
    }
}

/// splitmix64: neighbouring numbers get values that have nothing in common.
fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const LENGTH: usize = 1 << 20;
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_repeats_its_range() {
        let pattern = Pattern::noise();
        let window = pattern.piece(7, 10, 1).repeated(3);
        let first = pattern.run(window, 0).to_vec();
        assert_eq!(first.len(), 10);
        assert_eq!(pattern.run(window, 14), &first[4..]);
        assert_eq!(pattern.run(window, 29), &first[9..]);
        assert!(pattern.run(window, 30).is_empty());
    }

    #[test]
    fn an_endless_window_ends_in_the_middle_of_the_block() {
        let pattern = Pattern::noise();
        let window = pattern.endless(LENGTH as u64 + 5);
        assert_eq!(pattern.run(window, 3).len(), LENGTH - 3);
        assert_eq!(pattern.run(window, LENGTH as u64), pattern.run(window, 0).split_at(5).0);
    }

    #[test]
    fn lines_begin_where_pieces_do() {
        let pattern = Pattern::lines(64);
        for number in 0..100 {
            let piece = pattern.run(pattern.piece(number, 128, 64), 0);
            let ends = piece.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
            assert_eq!(ends.collect::<Vec<_>>(), [63, 127]);
        }
    }

    #[test]
    fn pieces_differ() {
        let pattern = Pattern::noise();
        let pieces: std::collections::HashSet<_> =
            (0..1000).map(|number| pattern.run(pattern.piece(number, 1024, 1), 0).to_vec()).collect();
        assert!(pieces.len() > 990, "{} of 1000", pieces.len());
    }
}
