//! Binary WebSocket messages that must come back. RFC 6455, as much of it as that takes.

use super::http::{Head, field};
use super::{Dialogue, Expected, Script, Then, Turn};
use crate::pattern::Pattern;
use crate::wrong::{Result, Wrong};

/// One message is one operation, in one frame each way.
#[derive(Debug)]
pub(crate) struct WebSocket {
    size: usize,
    /// The server's answer to the handshake, until it is whole.
    head: Head,
    expected: Expected,
}

impl WebSocket {
    pub(crate) fn new(size: usize) -> Self {
        assert!((126..=0xffff).contains(&size), "frames of {size} bytes have another kind of header");
        WebSocket { size, head: Head::default(), expected: Expected::default() }
    }

    fn header(&self, mask: u8) -> Vec<u8> {
        let [high, low] = (self.size as u16).to_be_bytes();
        vec![FINAL_BINARY, mask | LENGTH_IN_TWO_BYTES, high, low]
    }
}

impl Dialogue for WebSocket {
    fn open(&mut self) -> Option<Script> {
        self.head.clear();
        Some(Script::text(HANDSHAKE))
    }

    fn say(&mut self, turn: Turn, pattern: &Pattern) -> Script {
        let message = pattern.piece(turn.number, self.size, 1);
        self.expected = Expected::new(Script { text: self.header(0), window: message });
        let mut frame = self.header(MASKED);
        frame.extend_from_slice(&KEY);
        let masked = pattern.run(message, 0).iter().zip(KEY.iter().cycle());
        frame.extend(masked.map(|(byte, key)| byte ^ key));
        Script::text(frame)
    }

    fn hear(&mut self, bytes: &[u8], pattern: &Pattern) -> Result<Then> {
        if self.head.whole {
            return Ok(if self.expected.hear(bytes, pattern)? { Then::Done } else { Then::Listen });
        }
        let rest = self.head.hear(bytes)?;
        if !self.head.whole {
            return Ok(Then::Listen);
        }
        let head = self.head.text()?;
        if !head.starts_with("HTTP/1.1 101 ") || field(head, "sec-websocket-accept") != Some(ACCEPTED) {
            return Err(Wrong::new(format!("the handshake is answered with {head:?}")));
        }
        if !rest.is_empty() {
            return Err(Wrong::new("the server spoke first"));
        }
        Ok(Then::Done)
    }
}

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// The answer to the key above, both from section 1.3 of the RFC.
const ACCEPTED: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const FINAL_BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
const LENGTH_IN_TWO_BYTES: u8 = 126;
/// Servers unmask whatever the key is, so one is enough.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
