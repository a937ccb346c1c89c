//! TLS: a transport of its own between an application's protocol and the transport below.
//!
//! [`TlsProtocol`] is the protocol of the transport below, and writes to it; [`TlsTransport`] is the
//! transport that the application has. The states, the order of callbacks and the messages are those of
//! `asyncio.sslproto`; encryption has its own border (`engine.rs`). All files here keep one rule: before a
//! protocol or a transport is called, the engine's answer is known and every borrow has ended, since the
//! callee may do anything, even close this connection.

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
