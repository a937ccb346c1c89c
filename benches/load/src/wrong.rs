//! What ends the program: a peer that did not do what it should, or a machine that cannot.

use std::fmt;
use std::io;

pub(crate) type Result<T> = std::result::Result<T, Wrong>;

/// A sentence for people.
#[derive(Debug)]
pub(crate) struct Wrong(String);

impl Wrong {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Wrong(sentence.into())
    }

    /// Says where it happened.
    pub(crate) fn on(self, connection: usize) -> Self {
        Wrong(format!("connection {connection}: {self}"))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Wrong(error.to_string())
    }
}

impl From<rustix::io::Errno> for Wrong {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

impl From<rustls::Error> for Wrong {
    fn from(error: rustls::Error) -> Self {
        Wrong(error.to_string())
    }
}
