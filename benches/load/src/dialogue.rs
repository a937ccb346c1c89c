//! What is said on a connection, and what must be heard.
//!
//! A dialogue judges every byte that arrives. It knows nothing of sockets: bytes come in pieces of any size.

mod bulk;
mod echo;
mod http;
mod visit;
mod websocket;

use std::fmt::Debug;

use crate::pattern::{Pattern, Window};
use crate::wrong::{Result, Wrong};

pub(crate) use bulk::{Download, Upload};
pub(crate) use echo::Echo;
pub(crate) use http::Http;
pub(crate) use visit::Visit;
pub(crate) use websocket::WebSocket;

/// One for each connection.
pub(crate) trait Dialogue: Debug {
    /// What is said once, on a new connection; the answer counts as no operation.
    fn open(&mut self) -> Option<Script> {
        None
    }

    /// What is said for so many operations.
    fn say(&mut self, turn: Turn, pattern: &Pattern) -> Script;

    /// Judges what arrived.
    fn hear(&mut self, bytes: &[u8], pattern: &Pattern) -> Result<Then>;

    /// The peer says no more.
    fn end(&mut self) -> Result<Then> {
        Err(Wrong::new("the connection was closed"))
    }
}

/// One exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Different for every exchange of every connection.
    pub(crate) number: u64,
    pub(crate) operations: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// There is more to hear.
    Listen,
    /// Say that nothing more will be said, and hear the peer do the same.
    TakeLeave,
    /// The operations are done.
    Done,
}

/// Text, and then a window of the pattern.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) text: Vec<u8>,
    pub(crate) window: Window,
}

impl Script {
    pub(crate) fn text(text: impl Into<Vec<u8>>) -> Self {
        Script { text: text.into(), window: Window::default() }
    }

    pub(crate) fn window(window: Window) -> Self {
        Script { text: Vec::new(), window }
    }

    /// From `position` on, as far as it lies in one piece; empty at the end.
    pub(crate) fn run<'a>(&'a self, position: u64, pattern: &'a Pattern) -> &'a [u8] {
        let text = self.text.len() as u64;
        if position < text {
            &self.text[position as usize..]
        } else {
            pattern.run(self.window, position - text)
        }
    }

    fn length(&self) -> u64 {
        self.text.len() as u64 + self.window.total
    }
}

/// A script that is being heard.
#[derive(Debug, Default)]
struct Expected {
    script: Script,
    heard: u64,
}

impl Expected {
    fn new(script: Script) -> Self {
        Expected { script, heard: 0 }
    }

    /// Whether that was the last of it.
    fn hear(&mut self, mut bytes: &[u8], pattern: &Pattern) -> Result<bool> {
        while !bytes.is_empty() {
            let expected = self.script.run(self.heard, pattern);
            if expected.is_empty() {
                return Err(Wrong::new(format!("{} bytes too many", bytes.len())));
            }
            let (now, later) = bytes.split_at(expected.len().min(bytes.len()));
            if now != &expected[..now.len()] {
                let at = now.iter().zip(expected).take_while(|(got, wanted)| got == wanted).count();
                let (got, wanted, place) = (now[at], expected[at], self.heard + at as u64);
                return Err(Wrong::new(format!("byte {place} is {got:#04x}, not {wanted:#04x}")));
            }
            self.heard += now.len() as u64;
            bytes = later;
        }
        Ok(self.heard == self.script.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_heard_in_pieces_of_any_size() {
        let pattern = Pattern::noise();
        let script = || Script { text: b"head".to_vec(), window: pattern.piece(1, 100, 1).repeated(2) };
        let mut bytes = Vec::new();
        while !script().run(bytes.len() as u64, &pattern).is_empty() {
            bytes.extend_from_slice(script().run(bytes.len() as u64, &pattern));
        }
        assert_eq!(bytes.len(), 204);
        for size in [1, 3, 50, 204] {
            let mut expected = Expected::new(script());
            let ends: Vec<_> =
                bytes.chunks(size).map(|piece| expected.hear(piece, &pattern).unwrap()).collect();
            assert_eq!(ends.iter().position(|end| *end), Some(ends.len() - 1));
            assert!(expected.hear(b"x", &pattern).is_err());
        }
        bytes[150] ^= 1;
        let wrong = Expected::new(script()).hear(&bytes, &pattern).unwrap_err();
        assert!(wrong.to_string().starts_with("byte 150 is"), "{wrong}");
    }
}
