//! Very many bytes one way, a number the other way. An operation is a chunk.

use super::{Dialogue, Expected, Script, Then, Turn};
use crate::pattern::Pattern;
use crate::wrong::Result;

/// We say how many bytes we want, in eight bytes, and hear as many of the endless pattern.
#[derive(Debug)]
pub(crate) struct Download {
    chunk: u64,
    expected: Expected,
}

impl Download {
    pub(crate) fn new(chunk: usize) -> Self {
        Download { chunk: chunk as u64, expected: Expected::default() }
    }
}

impl Dialogue for Download {
    fn say(&mut self, turn: Turn, pattern: &Pattern) -> Script {
        let total = self.chunk * turn.operations;
        self.expected = Expected::new(Script::window(pattern.endless(total)));
        Script::text(total.to_be_bytes())
    }

    fn hear(&mut self, bytes: &[u8], pattern: &Pattern) -> Result<Then> {
        Ok(if self.expected.hear(bytes, pattern)? { Then::Done } else { Then::Listen })
    }
}

/// We say how many bytes will come, then the bytes, and hear how many were seen.
#[derive(Debug)]
pub(crate) struct Upload {
    chunk: u64,
    expected: Expected,
}

impl Upload {
    pub(crate) fn new(chunk: usize) -> Self {
        Upload { chunk: chunk as u64, expected: Expected::default() }
    }
}

impl Dialogue for Upload {
    fn say(&mut self, turn: Turn, pattern: &Pattern) -> Script {
        let total = self.chunk * turn.operations;
        self.expected = Expected::new(Script::text(total.to_be_bytes()));
        Script { text: total.to_be_bytes().to_vec(), window: pattern.endless(total) }
    }

    fn hear(&mut self, bytes: &[u8], pattern: &Pattern) -> Result<Then> {
        Ok(if self.expected.hear(bytes, pattern)? { Then::Done } else { Then::Listen })
    }
}
