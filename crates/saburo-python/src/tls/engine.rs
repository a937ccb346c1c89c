//! The engine: TLS for one connection, and nothing but TLS.
//!
//! Ciphertext goes in and comes out, plaintext comes out and goes in. Behind this file an `ssl.SSLObject`
//! between two memory BIOs does the work; an engine directly on libssl is to replace it. So the files above
//! do not know about BIOs, and know the SSLObject only as an answer of `get_extra_info`.
//!
//! The rule that makes it fast: an SSLObject reports "nothing there" by an exception, which costs more than a
//! record of a kilobyte. The engine follows the records in its input, and does not ask before a record is
//! whole.

use std::cell::{Cell, RefCell};

use saburo_core::{MAX_RECORD, Records};

use crate::ffi::{
    Holds, Obj, Object, Raised, Res, Slot, SslPart, Stretch, View, Window, boolean, bytes, fields, int,
};
use crate::names::{names, tls_names};

/// TLS for one connection.
pub(super) struct Engine {
    /// The `ssl.SSLObject`.
    object: Slot,
    /// The C object inside the SSLObject, if the engine may call it directly to decrypt and encrypt: that is,
    /// if no subclass has its own methods for that.
    core: Slot<SslPart>,
    /// The memory BIO with ciphertext from the peer …
    incoming: Slot<SslPart>,
    /// … and the one with ciphertext for the peer.
    outgoing: Slot<SslPart>,
    /// The records in the bytes that `incoming` has been fed.
    records: RefCell<Records>,
    /// The number of ciphertext bytes in `incoming`.
    unread: Cell<usize>,
    /// The number of records fed since there was last nothing to decrypt.
    fresh: Cell<usize>,
    /// The last plaintext filled the given room, so its record may have more.
    cut: Cell<bool>,
    /// OpenSSL is decrypting or encrypting, without the interpreter lock. Meanwhile a finalizer, or another
    /// thread that wrongly uses the connection, may want to encrypt, and OpenSSL does not allow two calls at
    /// once.
    busy: Cell<bool>,
}

/// Whether the data that the peer has sent so far was enough for a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    Done,
    /// The peer has to send more first.
    Blocked,
}

/// The result of decrypting.
pub(super) enum Plaintext<T> {
    Data(T),
    /// Nothing: the peer has to send more first.
    Blocked,
    /// The peer has said that it sends no more (`close_notify`).
    Closed,
}

impl Engine {
    /// The engine of a connection that is about to start. Raises the exceptions of `context.wrap_bio()`.
    pub(super) fn new(context: &Object, server_side: bool, server_hostname: &Object) -> Res<Engine> {
        let (names, tls) = (names(), tls_names()?);
        let (incoming, outgoing) = (tls.memory_bio.call0()?, tls.memory_bio.call0()?);
        let server_side = boolean(server_side);
        let object = context.method_with_names(
            &names.wrap_bio,
            &[&*incoming, &*outgoing, &*server_side, server_hostname],
            Some(&tls.kw_wrap_bio),
        )?;
        let core = core_of(&object)?;
        let part = |bio: &Obj| SslPart::of(bio).expect("ssl.MemoryBIO is a class of _ssl");
        Ok(Engine {
            core: Slot::new(core),
            incoming: Slot::new(Some(part(&incoming))),
            outgoing: Slot::new(Some(part(&outgoing))),
            object: Slot::new(Some(object)),
            records: RefCell::new(Records::new()),
            unread: Cell::new(0),
            fresh: Cell::new(0),
            cut: Cell::new(false),
            busy: Cell::new(false),
        })
    }

    /// The SSLObject, for `get_extra_info` and for other answers that only it has.
    pub(super) fn object(&self) -> Option<Obj> {
        self.object.get()
    }

    /// Continues the handshake.
    pub(super) fn handshake(&self) -> Res<Progress> {
        self.step(&names().do_handshake)
    }

    /// Tells the peer that no more data comes, and waits for the peer to say the same.
    pub(super) fn shutdown(&self) -> Res<Progress> {
        self.step(&names().unwrap)
    }

    fn step(&self, method: &Object) -> Res<Progress> {
        let Some(object) = self.object.get() else { return Ok(Progress::Blocked) };
        let answer = unless_blocked(object.method(method, &[]))?;
        self.count_unread()?;
        Ok(if answer.is_some() { Progress::Done } else { Progress::Blocked })
    }

    /// Takes a piece of the peer's data: whole records if there are any, and no more of them than the engine
    /// should hold at once.
    pub(super) fn feed(&self, window: &Window, ciphertext: &mut &[u8]) -> Res<()> {
        let (piece, rest) = ciphertext.split_at(self.follow(ciphertext, PIECE));
        self.write_incoming(window, piece)?;
        *ciphertext = rest;
        Ok(())
    }

    /// Takes all of the peer's data.
    pub(super) fn feed_all(&self, ciphertext: &[u8]) -> Res<()> {
        if ciphertext.is_empty() {
            return Ok(());
        }
        self.follow(ciphertext, usize::MAX);
        self.write_incoming(&Window::new()?, ciphertext)
    }

    fn follow(&self, ciphertext: &[u8], limit: usize) -> usize {
        let seen = self.records.borrow_mut().follow(ciphertext, limit);
        self.fresh.set(self.fresh.get() + seen.records);
        seen.bytes
    }

    fn write_incoming(&self, window: &Window, ciphertext: &[u8]) -> Res<()> {
        if let Some(incoming) = self.incoming.get()
            && !ciphertext.is_empty()
        {
            incoming.call_with(window, &names().write, None, Stretch::of(ciphertext))?;
            self.unread.set(self.unread.get() + ciphertext.len());
        }
        Ok(())
    }

    /// The number of ciphertext bytes from the peer that are not decrypted yet.
    pub(super) fn unread(&self) -> usize {
        self.unread.get()
    }

    /// True if there may be plaintext. This is seldom wrong; it can be, as records also carry other things.
    pub(super) fn is_readable(&self) -> Res<bool> {
        if self.cut.get() {
            if self.pending()? > 0 {
                return Ok(true);
            }
            self.cut.set(false);
        }
        let readable = match self.records.borrow().unfinished() {
            Some(unfinished) => self.unread.get() > unfinished,
            None => self.unread.get() > 0,
        };
        if !readable {
            self.fresh.set(0);
        }
        Ok(readable)
    }

    /// True if there is likely to be one record, and not more.
    pub(super) fn has_one_record(&self) -> bool {
        self.fresh.get() <= 1 && !self.cut.get()
    }

    /// Decrypts one record, into a `bytes` of its own.
    pub(super) fn decrypt(&self) -> Res<Plaintext<Obj>> {
        // A record is larger than its plaintext.
        let room = self.unread.get().clamp(1, MAX_RECORD);
        let room_object = int(room as i64)?;
        let answer = match self.core.get() {
            Some(core) => self.busily(|| core.as_object().method(&names().read, &[&*room_object])),
            None => match self.object.get() {
                Some(object) => self.busily(|| object.method(&names().read, &[&*room_object])),
                None => return Ok(Plaintext::Blocked),
            },
        };
        let Some(plaintext) = self.after_decrypting(answer)? else { return Ok(Plaintext::Blocked) };
        Ok(match plaintext.len()? {
            0 => Plaintext::Closed,
            length => {
                self.cut.set(length >= room);
                Plaintext::Data(plaintext)
            }
        })
    }

    /// Decrypts one record to the beginning of `place`, or as much of the record as fits there. Returns the
    /// number of bytes.
    pub(super) fn decrypt_into(&self, window: &Window, place: Stretch<'_>) -> Res<Plaintext<usize>> {
        debug_assert!(place.len() > 0, "no room to decrypt into");
        let names = names();
        let count = if let Some(core) = self.core.get() {
            let most = &tls_names()?.most;
            let answer = self.busily(|| core.call_with(window, &names.read, Some(most), place));
            let Some(count) = self.after_decrypting(answer)? else { return Ok(Plaintext::Blocked) };
            count.as_i64()? as usize
        } else if let Some(object) = self.object.get() {
            let room = int(place.len().min(MAX_RECORD) as i64)?;
            let answer = self.busily(|| object.method(&names.read, &[&*room]));
            let Some(plaintext) = self.after_decrypting(answer)? else { return Ok(Plaintext::Blocked) };
            let plaintext = View::of(&plaintext)?;
            place.fill(plaintext.stretch());
            plaintext.stretch().len()
        } else {
            return Ok(Plaintext::Blocked);
        };
        self.cut.set(count == place.len());
        Ok(if count == 0 { Plaintext::Closed } else { Plaintext::Data(count) })
    }

    #[inline]
    fn busily(&self, call: impl FnOnce() -> Res<Obj>) -> Res<Obj> {
        let before = self.busy.replace(true);
        let answer = call();
        self.busy.set(before);
        answer
    }

    fn after_decrypting(&self, answer: Res<Obj>) -> Res<Option<Obj>> {
        let answer = unless_blocked(answer)?;
        self.count_unread()?;
        Ok(answer)
    }

    /// Encrypts `plaintext`, and returns how many bytes of it. None if that is impossible now: then the next
    /// attempt must begin with the same bytes. If another call is decrypting or encrypting, that call makes
    /// the attempt.
    pub(super) fn encrypt(&self, window: &Window, plaintext: Stretch<'_>) -> Res<Option<usize>> {
        if self.busy.replace(true) {
            return Ok(None);
        }
        let answer = self.ask_to_encrypt(window, plaintext);
        self.busy.set(false);
        let Some(answer) = answer else { return Ok(None) };
        Ok(match unless_blocked(answer)? {
            // A foreign class may return any number.
            Some(count) => Some(count.as_i64()?.clamp(0, plaintext.len() as i64) as usize),
            None => None,
        })
    }

    /// None if the collector has emptied the engine.
    #[inline]
    fn ask_to_encrypt(&self, window: &Window, plaintext: Stretch<'_>) -> Option<Res<Obj>> {
        let names = names();
        if let Some(core) = self.core.get() {
            return Some(core.call_with(window, &names.write, None, plaintext));
        }
        let object = self.object.get()?;
        Some(plaintext.to_bytes().and_then(|plaintext| object.method(&names.write, &[plaintext.as_object()])))
    }

    /// The number of ciphertext bytes for the peer.
    pub(super) fn unsent(&self) -> Res<usize> {
        pending(self.outgoing.get())
    }

    /// Takes out the ciphertext for the peer, as a `bytes`.
    pub(super) fn take_ciphertext(&self) -> Res<Obj> {
        match self.outgoing.get() {
            Some(outgoing) => outgoing.as_object().method(&names().read, &[]),
            None => bytes(&[]),
        }
    }

    /// The number of plaintext bytes left of a record that was returned in part.
    fn pending(&self) -> Res<usize> {
        let Some(object) = self.object.get() else { return Ok(0) };
        Ok(object.method(&names().pending, &[])?.as_i64()? as usize)
    }

    fn count_unread(&self) -> Res<()> {
        self.unread.set(pending(self.incoming.get())?);
        Ok(())
    }
}

impl Holds for Engine {
    fields! {
        part;
        objects { object, core, incoming, outgoing }
        plain { records, unread, fresh, cut, busy }
    }
}

/// How much ciphertext the engine is given at once. A memory BIO never gives memory back, so it should not
/// hold much more than a record.
const PIECE: usize = MAX_RECORD + 1024;

/// The C object inside an SSLObject, unless a subclass has its own way to decrypt or encrypt.
fn core_of(object: &Object) -> Res<Option<SslPart>> {
    let (names, tls) = (names(), tls_names()?);
    let class = object.type_of();
    let is_plain = |method: &Object, original: &Object| -> Res<bool> {
        Ok(class.attr_opt(method)?.is_some_and(|own| own.is(original)))
    };
    if !is_plain(&names.read, &tls.ssl_object_read)? || !is_plain(&names.write, &tls.ssl_object_write)? {
        return Ok(None);
    }
    Ok(object.attr_opt(&names.sslobj)?.and_then(|inside| SslPart::of(&inside)))
}

fn pending(bio: Option<SslPart>) -> Res<usize> {
    match bio {
        Some(bio) => Ok(bio.as_object().attr(&names().pending)?.as_i64()? as usize),
        None => Ok(0),
    }
}

/// Turns "not now" into None, and passes on errors.
#[inline]
fn unless_blocked(answer: Res<Obj>) -> Res<Option<Obj>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(raised) => blocked(raised).map(|()| None),
    }
}

#[cold]
fn blocked(raised: Raised) -> Res<()> {
    // An engine exists, so the names exist; looking them up raises nothing.
    let tls = tls_names()?;
    if raised.matches(&tls.want_read_error) || raised.matches(&tls.syscall_error) {
        raised.swallow();
        return Ok(());
    }
    Err(raised)
}
