//! The command line: `saburo-load MODE [ADDRESS] [--NAME VALUE]...`

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

use crate::wrong::{Result, Wrong};

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) mode: String,
    pub(crate) address: Option<String>,
    named: HashMap<String, String>,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments.peekable();
        let mode = arguments.next().ok_or_else(|| Wrong::new(USAGE))?;
        let address = arguments.next_if(|argument| !argument.starts_with("--"));
        let mut named = HashMap::new();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").filter(|name| NAMES.contains(name));
            let (Some(name), Some(value)) = (name, arguments.next()) else {
                return Err(Wrong::new(format!("{argument:?} is no option, or has no value\n{USAGE}")));
            };
            named.insert(name.to_owned(), value);
        }
        Ok(Options { mode, address, named })
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str, otherwise: T) -> Result<T> {
        debug_assert!(NAMES.contains(&name));
        match self.named.get(name) {
            None => Ok(otherwise),
            Some(value) => {
                value.parse().map_err(|_| Wrong::new(format!("--{name} takes a number, not {value:?}")))
            }
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(NAMES.contains(&name));
        self.named.get(name).map(String::as_str)
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }
}

const NAMES: [&str; 8] = ["connections", "size", "depth", "times", "warm", "pattern", "certificate", "body"];

pub(crate) const USAGE: &str = "\
saburo-load MODE ADDRESS [OPTIONS]    ADDRESS: tcp:HOST:PORT, udp:HOST:PORT or unix:PATH
  echo          messages of --size, --depth of them at once, come back --times
  lines         the same with lines of --size
  download      chunks of --size from the server; the bytes are those of the file --pattern
  upload        chunks of --size to the server, which counts them
  visit         connect, be closed; with --size a message comes back before
  http          GET, answered with --body
  websocket     messages of --size come back
  --connections N  --warm OPERATIONS  --certificate FILE (speaks TLS)
saburo-load serve-echo                echoes
saburo-load serve-http                answers every GET with --body

Prints a JSON object a line. Clients wait for lines like 'operations 1000' or 'seconds 10' and end, as servers do,
with their standard input.";
