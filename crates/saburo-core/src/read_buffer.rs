//! The bytes a stream has received that are not read yet.
//!
//! Reading moves an offset, never the bytes. They are moved only to make room for more, and then at most
//! as many as were read since the last time. A buffer that is read empty gives its memory back: ten
//! thousand idle connections hold none.

use std::collections::TryReserveError;

/// A growable run of bytes that is filled at its end and read from its start.
///
/// ```
/// use saburo_core::ReadBuffer;
///
/// let mut buffer = ReadBuffer::new();
/// buffer.extend(b"first\nsecond\n");
/// buffer.consume(6);
/// assert_eq!(buffer.unread(), b"second\n");
/// buffer.clear();
/// assert_eq!(buffer.capacity(), 0);
/// ```
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: Vec<u8>,
    /// Where what is unread begins; 0 in an empty buffer.
    start: usize,
}

impl ReadBuffer {
    /// An empty buffer, which holds no memory.
    pub const fn new() -> ReadBuffer {
        ReadBuffer { bytes: Vec::new(), start: 0 }
    }

    /// How many bytes are unread.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// True if nothing is unread.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is unread.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Puts `data` behind what is unread; aborts where memory is out.
    #[inline]
    pub fn extend(&mut self, data: &[u8]) {
        self.try_extend(data).expect("there is memory for what has been received");
    }

    /// Puts `data` behind what is unread.
    ///
    /// # Errors
    ///
    /// If there is no memory for it. Nothing has changed then.
    #[inline]
    pub fn try_extend(&mut self, data: &[u8]) -> Result<(), TryReserveError> {
        if self.bytes.capacity() - self.bytes.len() < data.len() {
            self.make_room(data.len())?;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Takes `count` bytes off the start; panics if fewer are unread.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        let left = self.len().checked_sub(count);
        let left = left.unwrap_or_else(|| panic!("{count} bytes read, {} were there", self.len()));
        if left == 0 {
            self.clear();
            return;
        }
        self.start += count;
        if self.bytes.capacity() > KEPT && left < self.bytes.capacity() / SPARSE {
            self.shrink();
        }
    }

    /// Forgets everything, and gives the memory back.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes = Vec::new();
        self.start = 0;
    }

    /// How many bytes of memory it holds.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// What was read leaves; more memory is taken only where that is not enough.
    #[cold]
    fn make_room(&mut self, wanted: usize) -> Result<(), TryReserveError> {
        if self.start == 0 {
            return self.bytes.try_reserve(wanted);
        }
        let unread = self.len();
        if unread <= self.start && self.bytes.capacity() - unread >= wanted {
            self.bytes.copy_within(self.start.., 0);
            self.bytes.truncate(unread);
        } else {
            let mut larger = Vec::new();
            larger.try_reserve_exact((unread + wanted).max(2 * unread))?;
            larger.extend_from_slice(self.unread());
            self.bytes = larger;
        }
        self.start = 0;
        Ok(())
    }

    /// Little is left in much: what is left moves to a place of its size.
    #[cold]
    fn shrink(&mut self) {
        let mut smaller = Vec::new();
        if smaller.try_reserve_exact(self.len()).is_ok() {
            smaller.extend_from_slice(self.unread());
            self.bytes = smaller;
            self.start = 0;
        }
    }
}

/// Up to this capacity a buffer keeps its memory until it is empty.
const KEPT: usize = 4096;
/// Above it, only while at least this part of it is unread: what is moved was read many times over.
const SPARSE: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{KEPT, ReadBuffer, SPARSE};

    #[test]
    fn reading_does_not_move_the_bytes() {
        let mut buffer = ReadBuffer::new();
        buffer.extend(&[7; 1000]);
        let second = buffer.unread()[1..].as_ptr();
        buffer.consume(1);
        assert_eq!(buffer.unread().as_ptr(), second);
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut buffer = ReadBuffer::new();
        buffer.extend(&[7; 100_000]);
        buffer.consume(100_000);
        assert!(buffer.is_empty());
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn little_that_is_left_does_not_keep_much_memory() {
        let mut buffer = ReadBuffer::new();
        buffer.extend(&[7; 1 << 20]);
        buffer.consume((1 << 20) - 10);
        assert_eq!(buffer.unread(), [7; 10]);
        assert!(buffer.capacity() <= KEPT);
    }

    #[test]
    fn a_steady_flow_does_not_grow_the_buffer() {
        let mut buffer = ReadBuffer::new();
        buffer.extend(b"never empty");
        for _ in 0..10_000 {
            buffer.extend(&[7; 100]);
            buffer.consume(100);
        }
        assert!(buffer.capacity() < 1000, "{} bytes for 11", buffer.capacity());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Extend(Vec<u8>),
        Consume(prop::sample::Index),
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            5 => prop::collection::vec(any::<u8>(), 0..3000).prop_map(Step::Extend),
            5 => any::<prop::sample::Index>().prop_map(Step::Consume),
            1 => Just(Step::Clear),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(steps in steps()) {
            let mut buffer = ReadBuffer::new();
            let mut model = Vec::new();
            for step in steps {
                match step {
                    Step::Extend(data) => {
                        buffer.extend(&data);
                        model.extend(data);
                    }
                    Step::Consume(index) => {
                        let count = index.index(model.len() + 1);
                        buffer.consume(count);
                        model.drain(..count);
                    }
                    Step::Clear => {
                        buffer.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!(buffer.unread(), &model[..]);
                prop_assert_eq!(buffer.len(), model.len());
                prop_assert_eq!(buffer.is_empty(), model.is_empty());
                let bound = KEPT.max((SPARSE + 1) * (model.len() + 3000));
                prop_assert!(buffer.capacity() <= bound, "{} for {}", buffer.capacity(), model.len());
            }
        }
    }
}
