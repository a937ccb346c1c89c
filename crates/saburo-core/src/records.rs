//! Where the records of TLS end in a stream of bytes.
//!
//! A TLS library gives plaintext a record at a time, and nothing before a record is whole. Whoever
//! feeds it can tell from the records' headers whether it has anything to give, without asking. A
//! stream that does not look like records is given up for good: what to make of it is the
//! library's business, and it must be asked.

use core::cmp::min;

/// The end of a record or more, looked for in what goes to a TLS library.
///
/// ```
/// use saburo_core::Records;
///
/// let mut records = Records::new();
/// // A record of two bytes, and the first bytes of the next one's header.
/// let seen = records.follow(&[23, 3, 3, 0, 2, 0xc4, 0x1f, 23, 3], usize::MAX);
/// assert_eq!((seen.bytes, seen.records), (9, 1));
/// assert_eq!(records.unfinished(), Some(2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Of the header of the record under way, what has come.
    header: [u8; HEADER],
    /// Of the record under way, header included, the bytes that have come; 0 between two records.
    come: usize,
    /// The stream is not one of records.
    lost: bool,
}

/// What has been followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// How many bytes.
    pub bytes: usize,
    /// How many records have ended in them.
    pub records: usize,
}

impl Records {
    /// The beginning of a stream.
    #[must_use]
    pub const fn new() -> Records {
        Records { header: [0; HEADER], come: 0, lost: false }
    }

    /// Follows the stream through `data`, for at most `limit` bytes: to the last end of a record
    /// within these, or through all of them if there is none.
    ///
    /// With a limit of [`MAX_RECORD`] or more, whole records stay whole.
    pub fn follow(&mut self, data: &[u8], limit: usize) -> Seen {
        let within = &data[..min(data.len(), limit)];
        let mut records = 0;
        let mut last_end = 0;
        let mut place = 0;
        while place < within.len() && !self.lost {
            let rest = &within[place..];
            if self.come < HEADER {
                let part = &rest[..min(rest.len(), HEADER - self.come)];
                self.header[self.come..self.come + part.len()].copy_from_slice(part);
                self.come += part.len();
                place += part.len();
                self.lost = self.come == HEADER && !self.is_plausible();
                if self.come < HEADER || self.body() > 0 {
                    continue;
                }
            } else {
                let part = min(rest.len(), HEADER + self.body() - self.come);
                self.come += part;
                place += part;
            }
            if self.come == HEADER + self.body() {
                self.come = 0;
                records += 1;
                last_end = place;
            }
        }
        if within.len() < data.len() && records > 0 && !self.lost {
            self.come = 0;
            return Seen { bytes: last_end, records };
        }
        Seen { bytes: within.len(), records }
    }

    /// How many of the bytes followed belong to a record that is not whole yet; None for a stream
    /// that is not one of records.
    #[must_use]
    pub fn unfinished(&self) -> Option<usize> {
        (!self.lost).then_some(self.come)
    }

    fn body(&self) -> usize {
        usize::from(u16::from_be_bytes([self.header[3], self.header[4]]))
    }

    /// Is it the header of a record as every version of TLS has them? Of longer ones than TLS 1.3
    /// allows a library may know at once that they are too long.
    fn is_plausible(&self) -> bool {
        matches!(self.header, [20..=23, 3, 0..=4, ..]) && self.body() <= MAX_RECORD - HEADER
    }
}

const HEADER: usize = 5;

/// The most that a record of TLS 1.3 takes: a header, 16 KiB, and 256 bytes for what goes with them.
pub const MAX_RECORD: usize = HEADER + 16 * 1024 + 256;
