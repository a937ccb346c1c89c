//! Bytes on their way out of one socket or pipe.
//!
//! Pieces keep their order and are not copied; as many as possible leave in one system call. A
//! piece that has left is handed back and not dropped here: dropping it may be more than freeing
//! memory to the host.

use std::collections::{TryReserveError, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::RawFd;

use crate::sys::{pipe, socket};

/// What waits to be sent, first in, first out.
///
/// ```
/// use saburo_core::WriteQueue;
/// use std::io::Read;
/// use std::os::{fd::AsRawFd, unix::net::UnixStream};
///
/// let (sender, mut receiver) = UnixStream::pair()?;
/// let mut queue = WriteQueue::new();
/// queue.push("one ");
/// queue.push("call");
/// assert_eq!(queue.len(), 8);
/// queue.flush(sender.as_raw_fd(), |_piece| {})?;
/// assert!(queue.is_empty());
///
/// let mut buffer = [0; 8];
/// receiver.read_exact(&mut buffer)?;
/// assert_eq!(&buffer, b"one call");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct WriteQueue<P> {
    pieces: VecDeque<P>,
    /// How much of the first piece has left already; less than its length.
    gone: usize,
    /// All bytes that have not left.
    len: usize,
}

impl<P: AsRef<[u8]>> WriteQueue<P> {
    /// An empty queue, which takes no memory.
    ///
    /// ```
    /// assert!(saburo_core::WriteQueue::<Vec<u8>>::new().is_empty());
    /// ```
    pub const fn new() -> Self {
        WriteQueue { pieces: VecDeque::new(), gone: 0, len: 0 }
    }

    /// How many bytes wait.
    ///
    /// ```
    /// let mut queue = saburo_core::WriteQueue::new();
    /// queue.push("12345");
    /// assert_eq!(queue.len(), 5);
    /// ```
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing waits.
    ///
    /// ```
    /// let mut queue = saburo_core::WriteQueue::new();
    /// queue.push("");
    /// assert!(queue.is_empty());
    /// ```
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Append a piece. An empty one leaves nothing behind.
    ///
    /// ```
    /// let mut queue = saburo_core::WriteQueue::new();
    /// queue.push(vec![1, 2]);
    /// queue.push(vec![3]);
    /// assert_eq!(queue.len(), 3);
    /// ```
    #[inline]
    pub fn push(&mut self, piece: P) {
        if self.reserve().is_err() {
            panic!("there is memory for one more piece to send");
        }
        self.push_reserved(piece);
    }

    /// The same, or the piece again if there is no memory for one more.
    ///
    /// # Errors
    ///
    /// Where memory is out.
    #[inline]
    pub fn try_push(&mut self, piece: P) -> Result<(), P> {
        if self.reserve().is_err() {
            return Err(piece);
        }
        self.push_reserved(piece);
        Ok(())
    }

    #[inline]
    fn push_reserved(&mut self, piece: P) {
        let len = piece.as_ref().len();
        if len > 0 {
            self.len += len;
            self.pieces.push_back(piece);
        }
    }

    #[inline]
    fn reserve(&mut self) -> Result<(), TryReserveError> {
        if self.pieces.len() == self.pieces.capacity() { self.pieces.try_reserve(1) } else { Ok(()) }
    }

    /// The last piece, for a host that can make it longer, together with the count to add to.
    ///
    /// ```
    /// let mut queue = saburo_core::WriteQueue::new();
    /// queue.push(vec![1]);
    /// queue.extend_last(|last| { last.push(2); 1 });
    /// assert_eq!(queue.len(), 2);
    /// ```
    #[inline]
    pub fn extend_last(&mut self, extend: impl FnOnce(&mut P) -> usize) {
        if let Some(last) = self.pieces.back_mut() {
            self.len += extend(last);
        }
    }

    /// Send until all has left or the kernel takes no more, handing back each piece that is done.
    /// On `Ok`, unsent bytes stay in the queue until the socket is writable.
    ///
    /// # Errors
    ///
    /// The kernel's, `WouldBlock` excepted. What had not left by then is still there.
    ///
    /// ```
    /// # use saburo_core::WriteQueue;
    /// # use std::os::{fd::AsRawFd, unix::net::UnixStream};
    /// let (sender, receiver) = UnixStream::pair()?;
    /// drop(receiver);
    /// let mut queue = WriteQueue::new();
    /// queue.push("for nobody");
    /// assert!(queue.flush(sender.as_raw_fd(), |_| {}).is_err());
    /// assert_eq!(queue.len(), 10);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn flush(&mut self, fd: RawFd, done: impl FnMut(P)) -> io::Result<()> {
        self.flush_by(&SOCKET, fd, done)
    }

    /// The same into a pipe, or what can be one.
    ///
    /// # Errors
    ///
    /// As for [`flush`](WriteQueue::flush). In a process that does not ignore SIGPIPE, that comes first.
    ///
    /// ```
    /// # use saburo_core::WriteQueue;
    /// # use std::{io::Read, os::fd::AsRawFd};
    /// let (mut reader, writer) = std::io::pipe()?;
    /// let mut queue = WriteQueue::new();
    /// queue.push("one ");
    /// queue.push("call");
    /// queue.flush_pipe(writer.as_raw_fd(), |_piece| {})?;
    /// drop(writer);
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "one call");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn flush_pipe(&mut self, fd: RawFd, done: impl FnMut(P)) -> io::Result<()> {
        self.flush_by(&PIPE, fd, done)
    }

    #[inline]
    fn flush_by(&mut self, calls: &SystemCalls, fd: RawFd, mut done: impl FnMut(P)) -> io::Result<()> {
        while self.len > 0 {
            let asked = self.first_bytes();
            let sent = match self.send(calls, fd) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                result => result?,
            };
            self.leave(sent, &mut done);
            if sent < asked {
                // Asking again would only be told so: the socket says when it has room.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Take everything out.
    ///
    /// ```
    /// let mut queue = saburo_core::WriteQueue::new();
    /// queue.push("unsent");
    /// assert_eq!(queue.take(), ["unsent"]);
    /// assert!(queue.is_empty());
    /// ```
    #[must_use = "the pieces are the host's to drop"]
    pub fn take(&mut self) -> VecDeque<P> {
        self.gone = 0;
        self.len = 0;
        std::mem::take(&mut self.pieces)
    }

    /// Every piece that waits, for a garbage collector's traversal.
    ///
    /// ```
    /// let mut queue = saburo_core::WriteQueue::new();
    /// queue.push("a");
    /// assert_eq!(queue.iter().count(), 1);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &P> {
        self.pieces.iter()
    }

    /// How many bytes one call is asked to send.
    fn first_bytes(&self) -> usize {
        if self.pieces.len() <= AT_ONCE {
            return self.len;
        }
        self.pieces.iter().take(AT_ONCE).map(|piece| piece.as_ref().len()).sum::<usize>() - self.gone
    }

    #[inline]
    fn send(&self, calls: &SystemCalls, fd: RawFd) -> io::Result<usize> {
        match self.pieces.len() {
            1 => (calls.one)(fd, self.first()),
            // Laying out the places for many costs more than filling a few.
            2..=FEW => self.send_together::<FEW>(calls, fd),
            _ => self.send_together::<AT_ONCE>(calls, fd),
        }
    }

    #[inline]
    fn first(&self) -> &[u8] {
        &self.pieces[0].as_ref()[self.gone..]
    }

    fn send_together<const PLACES: usize>(&self, calls: &SystemCalls, fd: RawFd) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PLACES];
        slices[0] = IoSlice::new(self.first());
        let mut count = 1;
        for (slice, piece) in slices[1..].iter_mut().zip(self.pieces.iter().skip(1)) {
            *slice = IoSlice::new(piece.as_ref());
            count += 1;
        }
        (calls.many)(fd, &slices[..count])
    }

    fn leave(&mut self, mut sent: usize, done: &mut impl FnMut(P)) {
        debug_assert!(sent <= self.len, "the kernel took {sent} of {} bytes", self.len);
        self.len -= sent;
        while sent > 0 {
            let rest = self.pieces[0].as_ref().len() - self.gone;
            if sent < rest {
                self.gone += sent;
                return;
            }
            sent -= rest;
            self.gone = 0;
            if let Some(piece) = self.pieces.pop_front() {
                done(piece);
            }
        }
        if self.pieces.is_empty() && self.pieces.capacity() > KEPT {
            // An idle connection keeps little.
            self.pieces = VecDeque::new();
        }
    }
}

impl<P: AsRef<[u8]>> Default for WriteQueue<P> {
    fn default() -> Self {
        WriteQueue::new()
    }
}

/// The system calls that take one piece, and several.
struct SystemCalls {
    one: fn(RawFd, &[u8]) -> io::Result<usize>,
    many: fn(RawFd, &[IoSlice<'_>]) -> io::Result<usize>,
}

const SOCKET: SystemCalls = SystemCalls { one: socket::send, many: socket::send_vectored };
const PIPE: SystemCalls = SystemCalls { one: pipe::write, many: pipe::write_vectored };

/// Pieces in one system call. The kernel takes up to 1024; the array lies on the stack.
const AT_ONCE: usize = 128;
/// What is usual, if it is more than one.
const FEW: usize = 8;
/// Places kept by an empty queue.
const KEPT: usize = 4;
