//! Streams: StreamReader, StreamWriter and the protocol between them and a transport.
//!
//! A transport feeds the protocol, the protocol feeds the reader, and a coroutine that reads looks at the
//! reader's bytes: no Python code runs in between. Opening a connection is done in Python (`_streams.py`).
//! Semantics, names and messages are those of asyncio's streams.

mod any_reader;
mod draining;
mod limit;
mod link;
mod protocol;
mod reader;
mod reading;
mod received;
mod receiver;
mod waiter;
mod waiting;
mod writer;

pub(crate) use protocol::StreamReaderProtocol;
pub(crate) use reader::StreamReader;
pub(crate) use receiver::receiver_of;
pub(crate) use writer::StreamWriter;
