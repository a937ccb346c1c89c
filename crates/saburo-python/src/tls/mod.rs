//! TLS: a transport of its own between an application's protocol and the transport below.
//!
//! [`TlsProtocol`] is what the transport below feeds and what writes to it; [`TlsTransport`] is what the
//! application has. The states, the order of callbacks and the words are those of `asyncio.sslproto`; what
//! encrypts stands behind a border of its own (`engine.rs`). The rule of all files here: what an engine says
//! is known and every borrow has ended before a protocol or a transport is called, since it may do anything,
//! close this very connection among it.

mod backlog;
mod engine;
mod handshake;
mod lower;
mod protocol;
mod read;
mod receiver;
mod report;
mod shutdown;
mod transport;
mod write;

pub(crate) use protocol::TlsProtocol;
pub(crate) use receiver::receiver_of;
pub(crate) use transport::TlsTransport;
pub(crate) use write::drain;
