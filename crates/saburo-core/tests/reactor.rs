//! The descriptor table against a naive one, on real sockets and a real selector.
//!
//! The rule: an event reaches the handle that asked for it, for the very file it asked about,
//! and nobody else. What makes it hard is what users do without a word to the loop: close a
//! registered descriptor, open another file under its number, keep a duplicate of the old one.
//!
//! The numbers are fixed ones, far above those that the kernel hands out here, so that the tests
//! of this file, which run at the same time, cannot recycle each other's.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use saburo_core::{Clock, Core, Timeout};

/// The numbers `first ..`, each of them open or not, and closed with this.
struct Numbers {
    first: RawFd,
    open: Vec<bool>,
}

impl Numbers {
    fn new(first: RawFd, count: usize) -> Self {
        Numbers { first, open: vec![false; count] }
    }

    fn fd(&self, n: usize) -> RawFd {
        self.first + n as RawFd
    }

    /// What `dup2` does: the number is a name for this file now, whatever it was before.
    fn name(&mut self, n: usize, file: &impl AsRawFd) {
        // SAFETY: two integers. The number belongs to this test, which closes it below.
        let answer = unsafe { libc::dup2(file.as_raw_fd(), self.fd(n)) };
        assert_eq!(answer, self.fd(n), "{}", std::io::Error::last_os_error());
        self.open[n] = true;
    }

    fn file(&self, n: usize) -> Option<ManuallyDrop<UnixStream>> {
        // SAFETY: it is open, as `name` made it so and `close` did not run, and stays so while
        // it is used: only this thread closes it. It is not closed from here.
        self.open[n].then(|| ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(self.fd(n)) }))
    }

    fn close(&mut self, n: usize) {
        if std::mem::replace(&mut self.open[n], false) {
            // SAFETY: `name` opened it and nobody else owns it.
            drop(unsafe { OwnedFd::from_raw_fd(self.fd(n)) });
        }
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        (0..self.open.len()).for_each(|n| self.close(n));
    }
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Way {
    Read,
    Write,
}

#[derive(Copy, Clone, Debug)]
enum Step {
    /// A new file under the number, instead of the one it may have had.
    Open(usize),
    /// The second number becomes a duplicate of the first.
    Duplicate(usize, usize),
    Close(usize),
    Set(usize, Way),
    SetOnce(usize, Way),
    Remove(usize, Way),
    /// The other end of the number's file sends a byte, …
    Send(usize),
    /// … we read all there are, …
    Receive(usize),
    /// … and the other end goes away.
    HangUp(usize),
    /// Sometimes more than the stale events that the core puts up with.
    Turns(usize),
}

const COUNT: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let n = 0..COUNT;
    let way = prop_oneof![Just(Way::Read), Just(Way::Write)];
    prop_oneof![
        4 => n.clone().prop_map(Step::Open),
        3 => (n.clone(), n.clone()).prop_map(|(from, to)| Step::Duplicate(from, to)),
        3 => n.clone().prop_map(Step::Close),
        8 => (n.clone(), way.clone()).prop_map(|(n, way)| Step::Set(n, way)),
        8 => (n.clone(), way.clone()).prop_map(|(n, way)| Step::SetOnce(n, way)),
        8 => (n.clone(), way).prop_map(|(n, way)| Step::Remove(n, way)),
        4 => n.clone().prop_map(Step::Send),
        2 => n.clone().prop_map(Step::Receive),
        1 => n.prop_map(Step::HangUp),
        4 => (1..12usize).prop_map(Step::Turns),
    ]
}

type FileId = usize;
type Handle = usize;

struct File {
    /// `None` once hung up.
    far: Option<UnixStream>,
    unread: usize,
}

impl File {
    fn is_readable(&self) -> bool {
        self.unread > 0 || self.far.is_none()
    }
}

/// What the table should have for a number.
struct Registration {
    file: FileId,
    reader: Option<Handle>,
    writer: Option<Handle>,
    /// For news once only, and whether there has been some.
    once: bool,
    spent: bool,
}

impl Registration {
    fn side(&mut self, way: Way) -> &mut Option<Handle> {
        match way {
            Way::Read => &mut self.reader,
            Way::Write => &mut self.writer,
        }
    }
}

struct World {
    core: Core<Handle>,
    numbers: Numbers,
    /// Which file a number is a name for.
    names: [Option<FileId>; COUNT],
    files: Vec<File>,
    table: BTreeMap<usize, Registration>,
    /// What the kernel may be watching, with closed files that a duplicate keeps alive: it goes by number
    /// and file.
    watched: BTreeSet<(usize, FileId)>,
    handles: usize,
}

impl World {
    fn new(first: RawFd) -> Self {
        World {
            core: Core::new(Clock::manual().0).unwrap(),
            numbers: Numbers::new(first, COUNT),
            names: [None; COUNT],
            files: Vec::new(),
            table: BTreeMap::new(),
            watched: BTreeSet::new(),
            handles: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open(n) => {
                let (near, far) = UnixStream::pair().unwrap();
                near.set_nonblocking(true).unwrap();
                self.numbers.name(n, &near);
                self.files.push(File { far: Some(far), unread: 0 });
                self.names[n] = Some(self.files.len() - 1);
                self.bury();
            }
            Step::Duplicate(from, to) if self.comes_back(to, self.names[from]) => {}
            Step::Duplicate(from, to) => {
                if let Some(file) = self.numbers.file(from) {
                    self.numbers.name(to, &*file);
                    self.names[to] = self.names[from];
                    self.bury();
                }
            }
            Step::Close(n) => {
                self.numbers.close(n);
                self.names[n] = None;
                self.bury();
            }
            Step::Set(n, way) => self.set(n, way, false),
            Step::SetOnce(n, way) => self.set(n, way, true),
            Step::Remove(n, way) => self.remove(n, way),
            Step::Send(n) => {
                if let Some(file) = self.names[n].map(|file| &mut self.files[file])
                    && let Some(far) = &mut file.far
                {
                    far.write_all(b"!").unwrap();
                    file.unread += 1;
                }
            }
            Step::Receive(n) => {
                if let (Some(file), Some(mut near)) = (self.names[n], self.numbers.file(n)) {
                    let mut bytes = [0; 4096];
                    // A short read, end of file or "would block": there is no more either way.
                    let _ = near.read(&mut bytes);
                    self.files[file].unread = 0;
                }
            }
            Step::HangUp(n) => {
                if let Some(file) = self.names[n] {
                    self.files[file].far = None;
                }
            }
            Step::Turns(turns) => (0..turns).for_each(|_| self.turn()),
        }
        assert_eq!(self.core.registered(), self.table.len());
        for n in 0..COUNT {
            let registration = self.table.get(&n);
            let fd = self.numbers.fd(n);
            assert_eq!(self.core.registration(fd).is_some(), registration.is_some());
            assert_eq!(self.core.reader(fd), registration.and_then(|it| it.reader.as_ref()));
            assert_eq!(self.core.writer(fd), registration.and_then(|it| it.writer.as_ref()));
        }
    }

    fn set(&mut self, n: usize, way: Way, once: bool) {
        let fd = self.numbers.fd(n);
        let handle = self.handles;
        self.handles += 1;
        let answer = match (way, once) {
            (Way::Read, false) => self.core.set_reader(fd, handle),
            (Way::Write, false) => self.core.set_writer(fd, handle),
            (Way::Read, true) => self.core.set_reader_once(fd, handle),
            (Way::Write, true) => self.core.set_writer_once(fd, handle),
        };
        let Some(file) = self.names[n] else {
            assert_eq!(answer.unwrap_err().raw_os_error(), Some(libc::EBADF));
            assert_eq!(self.core.take_orphans(), [handle]);
            return;
        };
        let mut old = self.table.remove(&n);
        assert_eq!(answer.unwrap(), old.as_mut().and_then(|old| old.side(way).take()));
        let mut new = Registration { file, reader: None, writer: None, once: false, spent: false };
        let mut orphans = Vec::new();
        if let Some(old) = old {
            if old.file == file {
                new = old;
            } else {
                orphans.extend(old.reader.or(old.writer));
            }
        }
        assert_eq!(self.core.take_orphans(), orphans);
        *new.side(way) = Some(handle);
        new.once = once && (new.reader.is_none() || new.writer.is_none());
        new.spent = false;
        self.table.insert(n, new);
        self.watched.insert((n, file));
    }

    fn remove(&mut self, n: usize, way: Way) {
        let fd = self.numbers.fd(n);
        let answer = match way {
            Way::Read => self.core.remove_reader(fd),
            Way::Write => self.core.remove_writer(fd),
        };
        let expected = self.table.get_mut(&n).and_then(|it| it.side(way).take());
        assert_eq!(answer, expected);
        let Some(it) = self.table.get_mut(&n) else { return };
        if it.reader.is_some() || it.writer.is_some() {
            it.once &= expected.is_none();
            return;
        }
        // The kernel still knows one that has had its news, and so it may still be taken for another.
        let rests = it.once && it.spent;
        self.table.remove(&n);
        if let Some(file) = self.names[n].filter(|_| !rests) {
            self.watched.remove(&(n, file));
        }
    }

    /// Not done here: a registered number that went from a watched file to another, or was
    /// closed, and comes back to it, without a word to us. If the selector was replaced in the
    /// meantime the kernel no longer knows it, and otherwise cannot tell, see `reactor.rs`.
    fn comes_back(&self, n: usize, file: Option<FileId>) -> bool {
        let is_watched = file.is_some_and(|file| self.watched.contains(&(n, file)));
        self.table.contains_key(&n) && self.names[n] != file && is_watched
    }

    fn turn(&mut self) {
        let mut wait = self.core.lend_wait();
        wait.wait(Timeout::Now).unwrap();
        self.core.collect(wait, None).unwrap();
        let delivered: Vec<Handle> = std::iter::from_fn(|| self.core.next()).collect();

        let mut possible = BTreeSet::new();
        for (n, it) in &mut self.table {
            let file = &self.files[it.file];
            let is_named = self.names[*n] == Some(it.file);
            let must = is_named && !(it.once && it.spent);
            // Closed under this number, and yet open under another: it may still have news.
            let may = is_named || self.names.contains(&Some(it.file));
            for (handle, has_news) in [(it.reader, file.is_readable()), (it.writer, true)] {
                if let Some(handle) = handle.filter(|_| may && has_news) {
                    possible.insert(handle);
                    let reached = delivered.contains(&handle);
                    assert!(reached || !must, "nothing reached {handle}, which waits for {n}");
                    it.spent |= reached;
                }
            }
        }
        for (at, handle) in delivered.iter().enumerate() {
            assert!(possible.contains(handle), "{handle} got what was not meant for it");
            assert!(!delivered[..at].contains(handle), "{handle} got it twice");
        }
    }

    /// Files without a name are gone, and the kernel forgets them.
    fn bury(&mut self) {
        let names = self.names;
        self.watched.retain(|(_, file)| names.contains(&Some(*file)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_event_reaches_whoever_asked_for_it_and_nobody_else(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new(500);
        steps.into_iter().for_each(|step| world.step(step));
        world.turn();
    }
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn turn(core: &mut Core<&'static str>) -> Vec<&'static str> {
    let mut wait = core.lend_wait();
    wait.wait(Timeout::Now).unwrap();
    core.collect(wait, None).unwrap();
    std::iter::from_fn(|| core.next()).collect()
}

fn core() -> Core<&'static str> {
    Core::new(Clock::manual().0).unwrap()
}

#[test]
fn the_reader_of_a_descriptor_comes_before_its_writer() {
    let mut core = core();
    let (near, mut far) = pair();
    core.set_writer(near.as_raw_fd(), "writer").unwrap();
    core.set_reader(near.as_raw_fd(), "reader").unwrap();
    far.write_all(b"!").unwrap();
    assert_eq!(turn(&mut core), ["reader", "writer"]);
}

#[test]
fn a_reader_that_leaves_bytes_behind_is_called_again() {
    let mut core = core();
    let (near, mut far) = pair();
    core.set_reader(near.as_raw_fd(), "reader").unwrap();
    far.write_all(b"!!").unwrap();
    for _ in 0..3 {
        assert_eq!(turn(&mut core), ["reader"]);
    }
}

#[test]
fn the_end_of_a_file_is_news_for_its_reader() {
    let mut core = core();
    let (near, far) = pair();
    core.set_reader(near.as_raw_fd(), "reader").unwrap();
    assert_eq!(turn(&mut core), [""; 0]);
    drop(far);
    assert_eq!(turn(&mut core), ["reader"]);
}

#[test]
fn a_broken_pipe_is_news_for_its_writer() {
    let mut core = core();
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[0; 4096]).is_ok() {}
    core.set_writer(writer.as_raw_fd(), "writer").unwrap();
    assert_eq!(turn(&mut core), [""; 0], "it is full");
    drop(reader);
    assert_eq!(turn(&mut core), ["writer"]);
}

#[test]
fn a_recycled_number_gets_a_registration_of_its_own() {
    let mut core = core();
    let mut numbers = Numbers::new(520, 1);
    let fd = numbers.fd(0);
    let (old, mut old_far) = pair();
    numbers.name(0, &old);
    core.set_reader(fd, "old reader").unwrap();
    core.set_writer(fd, "old writer").unwrap();

    let (new, mut new_far) = pair();
    numbers.name(0, &new);
    assert_eq!(core.set_reader(fd, "new reader").unwrap(), Some("old reader"));
    assert_eq!(core.take_orphans(), ["old writer"]);

    // `old` is still open, and so the kernel still watches it under this number.
    old_far.write_all(b"for the old one").unwrap();
    assert_eq!(turn(&mut core), [""; 0]);
    new_far.write_all(b"for the new one").unwrap();
    assert_eq!(turn(&mut core), ["new reader"]);
}

#[test]
fn a_recycled_number_is_not_watched_for_the_file_that_had_it() {
    let mut core = core();
    let mut numbers = Numbers::new(530, 2);
    let (closed, _closed_far) = pair();
    numbers.name(0, &closed);
    core.set_reader(numbers.fd(0), "of a closed file").unwrap();
    drop(closed);
    let (other, mut other_far) = pair();
    numbers.name(0, &other);
    other_far.write_all(b"not for us").unwrap();

    // Stale events make the core ask a new selector for all it knows, and it knows this number.
    let (stale, mut stale_far) = pair();
    numbers.name(1, &stale);
    core.set_reader(numbers.fd(1), "stale").unwrap();
    numbers.close(1);
    core.remove_reader(numbers.fd(1));
    stale_far.write_all(b"boo").unwrap();
    for _ in 0..20 {
        assert_eq!(turn(&mut core), [""; 0]);
    }
}

#[test]
fn a_number_that_was_given_up_closed_and_named_again_can_be_registered() {
    let mut core = core();
    let mut numbers = Numbers::new(540, 1);
    let fd = numbers.fd(0);
    let (near, mut far) = pair();
    numbers.name(0, &near);
    core.set_reader(fd, "first").unwrap();
    numbers.close(0);
    // The kernel can no longer be told, and says later that it watches this one already.
    assert_eq!(core.remove_reader(fd), Some("first"));
    numbers.name(0, &near);
    assert_eq!(core.set_reader(fd, "second").unwrap(), None);
    far.write_all(b"!").unwrap();
    assert_eq!(turn(&mut core), ["second"]);
    assert_eq!(core.remove_reader(fd), Some("second"));
    assert_eq!(turn(&mut core), [""; 0]);
}

#[test]
fn what_cannot_be_watched_is_refused_and_its_handle_handed_back() {
    let mut core = core();
    let file = std::fs::File::open("/proc/self/exe").or_else(|_| std::fs::File::open("/bin/sh"));
    let file = file.unwrap();
    let error = core.set_reader(file.as_raw_fd(), "regular file").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "asyncio's, too: {error}");
    let error = core.set_writer(-1, "no descriptor").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    let error = core.set_reader(RawFd::MAX, "far too large").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    assert_eq!(core.take_orphans(), ["regular file", "no descriptor", "far too large"]);
    assert_eq!(core.registered(), 0);
}

#[test]
fn a_refused_handle_leaves_the_one_before_it_registered() {
    let mut core = core();
    let mut numbers = Numbers::new(550, 1);
    let (near, _far) = pair();
    numbers.name(0, &near);
    core.set_reader(numbers.fd(0), "before").unwrap();
    numbers.close(0);
    assert!(core.set_reader(numbers.fd(0), "after").is_err());
    assert_eq!(core.take_orphans(), ["after"]);
    assert_eq!(core.reader(numbers.fd(0)), Some(&"before"));
}

#[test]
fn removing_one_direction_leaves_the_other() {
    let mut core = core();
    let (near, mut far) = pair();
    let fd = near.as_raw_fd();
    core.set_reader(fd, "reader").unwrap();
    core.set_writer(fd, "writer").unwrap();
    far.write_all(b"!").unwrap();
    assert_eq!(core.remove_writer(fd), Some("writer"));
    assert_eq!(turn(&mut core), ["reader"]);
    assert_eq!(core.remove_reader(fd), Some("reader"));
    assert_eq!(core.registered(), 0);
    assert_eq!(turn(&mut core), [""; 0]);
}
