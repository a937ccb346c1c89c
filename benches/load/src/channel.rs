//! A connection that is ready or says `WouldBlock`, whatever it is made of.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::wrong::{Result, Wrong};

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Udp(SocketAddr),
}

impl Address {
    /// `tcp:127.0.0.1:80`, `unix:/run/socket` or `udp:127.0.0.1:80`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let socket = || rest.parse().map_err(|_| Wrong::new(format!("{rest:?} is no address")));
        match kind {
            "tcp" => Ok(Address::Tcp(socket()?)),
            "udp" => Ok(Address::Udp(socket()?)),
            "unix" => Ok(Address::Unix(rest.into())),
            _ => Err(Wrong::new(format!("{text:?} is no address"))),
        }
    }

    /// On loopback the kernel accepts at once, so this may block.
    fn connect(&self) -> io::Result<OwnedFd> {
        Ok(match self {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                stream.into()
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                stream.into()
            }
            Address::Udp(address) => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(address)?;
                socket.set_nonblocking(true)?;
                socket.into()
            }
        })
    }
}

/// Makes channels to one server.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
}

impl Dialer {
    pub(crate) fn new(address: Address) -> Self {
        Dialer { address, tls: None }
    }

    /// With TLS, trusting the certificates of this file only. Every handshake is a full one.
    pub(crate) fn secure(address: Address, certificates: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let unreadable = |error| Wrong::new(format!("{}: {error}", certificates.display()));
        for certificate in CertificateDer::pem_file_iter(certificates).map_err(unreadable)? {
            roots.add(certificate.map_err(unreadable)?)?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Dialer { address, tls: Some(Arc::new(config)) })
    }

    pub(crate) fn dial(&self) -> Result<Channel> {
        let wire = Wire(self.address.connect()?);
        let Some(config) = &self.tls else {
            return Ok(Channel::Plain(wire));
        };
        let name = ServerName::try_from("localhost").expect("a valid name");
        let mut session = ClientConnection::new(config.clone(), name)?;
        session.set_buffer_limit(Some(256 * 1024));
        Ok(Channel::Secure(Box::new(Secure { wire, session })))
    }
}

#[derive(Debug)]
pub(crate) enum Channel {
    Plain(Wire),
    Secure(Box<Secure>),
}

impl Channel {
    /// 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(wire) => wire.read(buffer),
            Channel::Secure(secure) => secure.read(buffer),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(wire) => wire.write(bytes),
            Channel::Secure(secure) => secure.write(bytes),
        }
    }

    /// Sends what an earlier call had to leave behind.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Channel::Plain(_) => Ok(()),
            Channel::Secure(secure) => secure.flush(),
        }
    }

    /// Whether a read that did not fill its buffer says that there is no more.
    pub(crate) fn tells_by_short_reads(&self) -> bool {
        matches!(self, Channel::Plain(_))
    }

    /// Says that nothing more will be written. With TLS that is a message of TLS.
    pub(crate) fn take_leave(&mut self) -> io::Result<()> {
        match self {
            Channel::Plain(wire) => Ok(shutdown(&wire.0, Shutdown::Write)?),
            Channel::Secure(secure) => {
                secure.session.send_close_notify();
                secure.flush()
            }
        }
    }

    /// Closes a connection on which both ends have said all. By a reset, for a socket in TIME_WAIT keeps
    /// its port for a minute, and there are not so many.
    pub(crate) fn close(self) {
        let _ = sockopt::set_socket_linger(self.as_fd(), Some(Duration::ZERO));
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Channel::Plain(wire) => wire.0.as_fd(),
            Channel::Secure(secure) => secure.wire.0.as_fd(),
        }
    }
}

/// A socket of any kind, non-blocking and connected.
#[derive(Debug)]
pub(crate) struct Wire(pub(crate) OwnedFd);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.0, buffer, RecvFlags::empty())?.0)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// TLS on a wire. Its handshake happens while it is read and flushed.
#[derive(Debug)]
pub(crate) struct Secure {
    wire: Wire,
    session: ClientConnection,
}

impl Secure {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Closed without a farewell of TLS: what was owed is missed by the dialogue.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            self.session.read_tls(&mut self.wire)?;
            self.session.process_new_packets().map_err(io::Error::other)?;
            self.flush()?;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.writer().write(bytes)?;
        self.flush()?;
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// What the wire does not take now stays, for the call after the next event.
    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.wire) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                result => result?,
            };
        }
        Ok(())
    }
}
