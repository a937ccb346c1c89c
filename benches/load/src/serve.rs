//! A server, for the cases in which the client is what is measured.
//!
//! It ends when its standard input does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt;
use std::time::Duration;

use crate::wrong::Result;

/// What clients get.
#[derive(Debug)]
pub(crate) enum Answers {
    /// What they said.
    Echo,
    /// For every request without a body, this response.
    Response(Vec<u8>),
}

impl Answers {
    pub(crate) fn http(body: &str) -> Self {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nServer: saburo-load\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        Answers::Response((head + body).into())
    }
}

#[derive(Debug)]
pub(crate) struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    answers: Answers,
    /// By token.
    guests: Vec<Option<Guest>>,
    vacant: Vec<usize>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Guest {
    stream: TcpStream,
    /// Answers that the socket did not take yet.
    unsent: Vec<u8>,
    /// Bytes of the empty line that ends a request, seen so far.
    ending: usize,
}

impl Server {
    pub(crate) fn listen(answers: Answers) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        rustix::net::listen(&listener, BACKLOG)?; // more than what std asks for
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        epoll::add(&epoll, io::stdin(), EventData::new_u64(STDIN), EventFlags::IN)?;
        let buffer = vec![0; 256 * 1024];
        Ok(Server { epoll, listener, answers, guests: Vec::new(), vacant: Vec::new(), buffer })
    }

    pub(crate) fn port(&self) -> Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    pub(crate) fn run(mut self) -> Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    STDIN => return Ok(()),
                    LISTENER => self.accept()?,
                    token => self.serve(token as usize),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let token = self.vacant.pop().unwrap_or(self.guests.len());
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&self.epoll, &stream, EventData::new_u64(token as u64), flags)?;
            let guest = Guest { stream, unsent: Vec::new(), ending: 0 };
            if token == self.guests.len() {
                self.guests.push(Some(guest));
            } else {
                self.guests[token] = Some(guest);
            }
        }
    }

    /// A guest that is gone or broke off is forgotten: it is for the client to complain.
    fn serve(&mut self, token: usize) {
        let Some(guest) = &mut self.guests[token] else {
            return; // an event of the same wait, after the end
        };
        match guest.serve(&self.answers, &mut self.buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => {
                // By a reset, or the client's port would be in TIME_WAIT for a minute.
                let _ = sockopt::set_socket_linger(&guest.stream, Some(Duration::ZERO));
                self.guests[token] = None;
                self.vacant.push(token);
            }
        }
    }
}

impl Guest {
    /// Until the end, or WouldBlock.
    fn serve(&mut self, answers: &Answers, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            while !self.unsent.is_empty() {
                let sent = self.stream.write(&self.unsent)?;
                self.unsent.drain(..sent);
            }
            let count = self.stream.read(buffer)?;
            if count == 0 {
                return Ok(());
            }
            match answers {
                Answers::Echo => self.send(&buffer[..count])?,
                Answers::Response(response) => {
                    for _ in 0..self.requests(&buffer[..count]) {
                        self.send(response)?;
                    }
                }
            }
            if count < buffer.len() && self.unsent.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        if self.unsent.is_empty() {
            sent = match self.stream.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                result => result?,
            };
        }
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// How many requests end in these bytes.
    fn requests(&mut self, bytes: &[u8]) -> usize {
        let mut found = 0;
        for byte in bytes {
            self.ending = match (*byte, self.ending) {
                (b'\r', 0 | 2) | (b'\n', 1) => self.ending + 1,
                (b'\n', 3) => {
                    found += 1;
                    0
                }
                (b'\r', _) => 1,
                _ => 0,
            };
        }
        found
    }
}

const BACKLOG: i32 = 4096;
const LISTENER: u64 = u64::MAX;
const STDIN: u64 = u64::MAX - 1;
