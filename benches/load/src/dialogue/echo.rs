//! Messages that must come back.

use super::{Dialogue, Expected, Script, Then, Turn};
use crate::pattern::Pattern;
use crate::wrong::Result;

/// One message is one operation; all messages of a turn are sent at once.
#[derive(Debug)]
pub(crate) struct Echo {
    size: usize,
    /// What a message's place in the pattern is a multiple of: for lines their length.
    unit: usize,
    /// How many times each message comes back.
    times: u64,
    expected: Expected,
}

impl Echo {
    pub(crate) fn new(size: usize, unit: usize, times: u64) -> Self {
        Echo { size, unit, times, expected: Expected::default() }
    }
}

impl Dialogue for Echo {
    fn say(&mut self, turn: Turn, pattern: &Pattern) -> Script {
        let messages = pattern.piece(turn.number, self.size * turn.operations as usize, self.unit);
        self.expected = Expected::new(Script::window(messages.repeated(self.times)));
        Script::window(messages)
    }

    fn hear(&mut self, bytes: &[u8], pattern: &Pattern) -> Result<Then> {
        Ok(if self.expected.hear(bytes, pattern)? { Then::Done } else { Then::Listen })
    }
}
