//! Streams: StreamReader, StreamWriter and the protocol between them and a transport.
//!
//! A transport tells the protocol what comes, the protocol feeds the reader, and a coroutine that reads looks
//! at what is there: nothing of Python stands between. How a connection comes about is Python's affair
//! (`_streams.py`). Semantics, names and messages are those of asyncio's streams.

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
