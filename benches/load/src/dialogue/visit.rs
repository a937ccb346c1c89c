//! A whole connection is one operation.

use super::{Dialogue, Expected, Script, Then, Turn};
use crate::pattern::Pattern;
use crate::wrong::{Result, Wrong};

/// Says one message, hears it back, takes its leave and hears the peer do so. Without a message the peer
/// must close as soon as it has accepted.
#[derive(Debug)]
pub(crate) struct Visit {
    size: usize,
    /// What is still missing of the answer.
    expected: Option<Expected>,
}

impl Visit {
    pub(crate) fn new(size: usize) -> Self {
        Visit { size, expected: None }
    }
}

impl Dialogue for Visit {
    fn say(&mut self, turn: Turn, pattern: &Pattern) -> Script {
        if self.size == 0 {
            return Script::default();
        }
        let message = pattern.piece(turn.number, self.size, 1);
        self.expected = Some(Expected::new(Script::window(message)));
        Script::window(message)
    }

    fn hear(&mut self, bytes: &[u8], pattern: &Pattern) -> Result<Then> {
        let Some(expected) = &mut self.expected else {
            return Err(Wrong::new(format!("{} bytes where the end was due", bytes.len())));
        };
        if !expected.hear(bytes, pattern)? {
            return Ok(Then::Listen);
        }
        self.expected = None;
        Ok(Then::TakeLeave)
    }

    fn end(&mut self) -> Result<Then> {
        match self.expected {
            None => Ok(Then::Done),
            Some(_) => Err(Wrong::new("the connection was closed before the answer was whole")),
        }
    }
}
