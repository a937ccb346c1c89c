//! GET requests on a connection that is kept alive.

use super::{Dialogue, Script, Then, Turn};
use crate::pattern::Pattern;
use crate::wrong::{Result, Wrong};

/// The answer must be 200, keep the connection, and have exactly this body.
#[derive(Debug)]
pub(crate) struct Http {
    body: Vec<u8>,
    head: Head,
    /// Bytes of the body heard; none before the head is whole.
    heard: usize,
}

impl Http {
    pub(crate) fn new(body: &str) -> Self {
        Http { body: body.into(), head: Head::default(), heard: 0 }
    }

    fn check_head(&self, head: &str) -> Result<()> {
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(Wrong::new(format!("the answer begins with {:?}", head.lines().next())));
        }
        if field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            return Err(Wrong::new("the server does not keep the connection alive"));
        }
        let length = field(head, "content-length").and_then(|value| value.parse().ok());
        if length != Some(self.body.len()) {
            return Err(Wrong::new(format!("the body is to have {} bytes: {head:?}", self.body.len())));
        }
        Ok(())
    }
}

impl Dialogue for Http {
    fn say(&mut self, _: Turn, _: &Pattern) -> Script {
        self.head.clear();
        self.heard = 0;
        Script::text(REQUEST)
    }

    fn hear(&mut self, mut bytes: &[u8], _: &Pattern) -> Result<Then> {
        if !self.head.whole {
            bytes = self.head.hear(bytes)?;
            if !self.head.whole {
                return Ok(Then::Listen);
            }
            self.check_head(self.head.text()?)?;
        }
        let left = &self.body[self.heard..];
        if bytes.len() > left.len() || bytes != &left[..bytes.len()] {
            return Err(Wrong::new(format!("the body goes on with {:?}", String::from_utf8_lossy(bytes))));
        }
        self.heard += bytes.len();
        Ok(if self.heard == self.body.len() { Then::Done } else { Then::Listen })
    }
}

/// Everything up to the empty line.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    pub(super) whole: bool,
}

impl Head {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.whole = false;
    }

    /// Takes what belongs to the head and returns the rest.
    pub(super) fn hear<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        // The empty line may have begun in an earlier piece.
        let from = before.saturating_sub(END.len() - 1);
        let Some(at) = self.bytes[from..].windows(END.len()).position(|window| window == END) else {
            if self.bytes.len() > TOO_LONG {
                return Err(Wrong::new("the head of the answer has no end"));
            }
            return Ok(&[]);
        };
        let length = from + at + END.len();
        self.bytes.truncate(length);
        self.whole = true;
        Ok(&bytes[length - before..])
    }

    pub(super) fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.bytes).map_err(|_| Wrong::new("the head of the answer is not text"))
    }
}

/// The value of a header.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What a browser's request looks like, cut down to what every one of them has.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: saburo-load\r\nAccept: */*\r\n\
                       Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\r\n";
const END: &[u8] = b"\r\n\r\n";
const TOO_LONG: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Turn = Turn { number: 0, operations: 1 };

    fn heard(answer: &str, size: usize) -> Result<Vec<Then>> {
        let pattern = Pattern::noise();
        let mut http = Http::new("hello");
        http.say(TURN, &pattern);
        answer.as_bytes().chunks(size).map(|piece| http.hear(piece, &pattern)).collect()
    }

    #[test]
    fn an_answer_may_come_in_pieces() {
        let answer = "HTTP/1.1 200 OK\r\nDate: now\r\nCONTENT-LENGTH: 5\r\n\r\nhello";
        for size in 1..=answer.len() {
            let then = heard(answer, size).unwrap();
            let (last, others) = then.split_last().unwrap();
            assert_eq!(*last, Then::Done, "in pieces of {size}");
            assert!(others.iter().all(|then| *then == Then::Listen), "in pieces of {size}");
        }
    }

    #[test]
    fn anything_else_is_wrong() {
        for answer in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhallo",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            assert!(heard(answer, 1000).is_err(), "{answer}");
        }
    }
}
