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
use saburo_core::{Clock, Core, Direction, Registration, Timeout};

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

#[derive(Copy, Clone, Debug)]
enum Step {
    /// A new file under the number, instead of the one it may have had.
    Open(usize),
    /// The second number becomes a duplicate of the first.
    Duplicate(usize, usize),
    Close(usize),
    Set(usize, Direction),
    SetOnce(usize, Direction),
    Remove(usize, Direction),
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
    let way = prop_oneof![Just(Direction::Read), Just(Direction::Write)];
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
struct Entry {
    file: FileId,
    reader: Option<Waiting>,
    writer: Option<Waiting>,
    /// The kernel stops by itself at the next news.
    once: bool,
}

/// One who waits for a direction of a number.
#[derive(Copy, Clone)]
struct Waiting {
    handle: Handle,
    registration: Registration,
    once: bool,
}

impl Entry {
    fn side(&mut self, way: Direction) -> &mut Option<Waiting> {
        match way {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }

    fn is_empty(&self) -> bool {
        self.reader.is_none() && self.writer.is_none()
    }
}

struct World {
    core: Core<Handle>,
    numbers: Numbers,
    /// Which file a number is a name for.
    names: [Option<FileId>; COUNT],
    files: Vec<File>,
    table: BTreeMap<usize, Entry>,
    /// Of registrations that are over.
    stale: Vec<Registration>,
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
            stale: Vec::new(),
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
        self.check();
    }

    fn check(&mut self) {
        assert_eq!(self.core.registered(), self.table.len());
        for n in 0..COUNT {
            let entry = self.table.get(&n);
            let fd = self.numbers.fd(n);
            let expected = |side: fn(&Entry) -> &Option<Waiting>| {
                entry.and_then(|entry| side(entry).map(|waiting| waiting.registration))
            };
            let (reader, writer) = (expected(|it| &it.reader), expected(|it| &it.writer));
            assert_eq!(self.core.registration(fd, Direction::Read), reader);
            assert_eq!(self.core.registration(fd, Direction::Write), writer);
            assert!(reader.into_iter().chain(writer).all(|it| self.core.is_registered(it)));
        }
        for &stale in &self.stale {
            assert!(!self.core.is_registered(stale));
            assert_eq!(self.core.deregister(stale), None, "it is over");
        }
    }

    fn set(&mut self, n: usize, way: Direction, once: bool) {
        let fd = self.numbers.fd(n);
        let handle = self.handles;
        self.handles += 1;
        let answer =
            if once { self.core.register_once(fd, way, handle) } else { self.core.register(fd, way, handle) };
        let Some(file) = self.names[n] else {
            let refused = answer.unwrap_err();
            assert_eq!(refused.error.raw_os_error(), Some(libc::EBADF));
            assert_eq!(refused.handle, handle);
            return;
        };
        let answer = answer.unwrap();
        let mut old = self.table.remove(&n);
        let replaced = old.as_mut().and_then(|old| old.side(way).take());
        assert_eq!(answer.replaced, replaced.map(|it| it.handle));
        self.stale.extend(replaced.map(|it| it.registration));
        let mut new = Entry { file, reader: None, writer: None, once: false };
        let mut evicted = None;
        if let Some(old) = old {
            if old.file == file {
                new = old;
            } else {
                evicted = old.reader.or(old.writer);
            }
        }
        assert_eq!(answer.evicted, evicted.map(|it| it.handle));
        self.stale.extend(evicted.map(|it| it.registration));
        *new.side(way) = Some(Waiting { handle, registration: answer.registration, once });
        new.once = once && (new.reader.is_none() || new.writer.is_none());
        self.table.insert(n, new);
        self.watched.insert((n, file));
    }

    fn remove(&mut self, n: usize, way: Direction) {
        let Some(entry) = self.table.get_mut(&n) else { return };
        let Some(expected) = entry.side(way).take() else { return };
        assert_eq!(self.core.deregister(expected.registration), Some(expected.handle));
        self.stale.push(expected.registration);
        entry.once = false;
        if entry.is_empty() {
            self.forget(n);
        }
    }

    /// Nobody waits for a number any more.
    fn forget(&mut self, n: usize) {
        // The kernel still knows one that has had its news, and so it may still be taken for another.
        let rests = self.table.remove(&n).is_some_and(|entry| entry.once);
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
            // Closed under this number, and yet open under another: it may still have news.
            let may = is_named || self.names.contains(&Some(it.file));
            for (side, has_news) in [(&mut it.reader, file.is_readable()), (&mut it.writer, true)] {
                if let Some(Waiting { handle, registration, once }) = side.filter(|_| may && has_news) {
                    possible.insert(handle);
                    let reached = delivered.contains(&handle);
                    assert!(reached || !is_named, "nothing reached {handle}, which waits for {n}");
                    if once && reached {
                        *side = None;
                        self.stale.push(registration);
                    }
                }
            }
        }
        let over = self.table.iter().filter(|(_, it)| it.is_empty()).map(|(n, _)| *n);
        over.collect::<Vec<_>>().into_iter().for_each(|n| self.forget(n));
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

fn remove(core: &mut Core<&'static str>, fd: RawFd, direction: Direction) -> Option<&'static str> {
    let registration = core.registration(fd, direction)?;
    core.deregister(registration)
}

fn core() -> Core<&'static str> {
    Core::new(Clock::manual().0).unwrap()
}

#[test]
fn the_reader_of_a_descriptor_comes_before_its_writer() {
    let mut core = core();
    let (near, mut far) = pair();
    core.register(near.as_raw_fd(), Direction::Write, "writer").unwrap();
    core.register(near.as_raw_fd(), Direction::Read, "reader").unwrap();
    far.write_all(b"!").unwrap();
    assert_eq!(turn(&mut core), ["reader", "writer"]);
}

#[test]
fn a_reader_that_leaves_bytes_behind_is_called_again() {
    let mut core = core();
    let (near, mut far) = pair();
    core.register(near.as_raw_fd(), Direction::Read, "reader").unwrap();
    far.write_all(b"!!").unwrap();
    for _ in 0..3 {
        assert_eq!(turn(&mut core), ["reader"]);
    }
}

#[test]
fn the_end_of_a_file_is_news_for_its_reader() {
    let mut core = core();
    let (near, far) = pair();
    core.register(near.as_raw_fd(), Direction::Read, "reader").unwrap();
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
    core.register(writer.as_raw_fd(), Direction::Write, "writer").unwrap();
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
    core.register(fd, Direction::Read, "old reader").unwrap();
    core.register(fd, Direction::Write, "old writer").unwrap();

    let (new, mut new_far) = pair();
    numbers.name(0, &new);
    let new = core.register(fd, Direction::Read, "new reader").unwrap();
    assert_eq!((new.replaced, new.evicted), (Some("old reader"), Some("old writer")));

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
    core.register(numbers.fd(0), Direction::Read, "of a closed file").unwrap();
    drop(closed);
    let (other, mut other_far) = pair();
    numbers.name(0, &other);
    other_far.write_all(b"not for us").unwrap();

    // Stale events make the core ask a new selector for all it knows, and it knows this number.
    let (stale, mut stale_far) = pair();
    numbers.name(1, &stale);
    core.register(numbers.fd(1), Direction::Read, "stale").unwrap();
    numbers.close(1);
    remove(&mut core, numbers.fd(1), Direction::Read);
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
    core.register(fd, Direction::Read, "first").unwrap();
    numbers.close(0);
    // The kernel can no longer be told, and says later that it watches this one already.
    assert_eq!(remove(&mut core, fd, Direction::Read), Some("first"));
    numbers.name(0, &near);
    assert_eq!(core.register(fd, Direction::Read, "second").unwrap().replaced, None);
    far.write_all(b"!").unwrap();
    assert_eq!(turn(&mut core), ["second"]);
    assert_eq!(remove(&mut core, fd, Direction::Read), Some("second"));
    assert_eq!(turn(&mut core), [""; 0]);
}

#[test]
fn what_cannot_be_watched_is_refused_and_its_handle_handed_back() {
    let mut core = core();
    let file = std::fs::File::open("/proc/self/exe").or_else(|_| std::fs::File::open("/bin/sh"));
    let file = file.unwrap();
    let refused = core.register(file.as_raw_fd(), Direction::Read, "regular file").unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::PermissionDenied, "asyncio's, too: {}", refused.error);
    assert_eq!(refused.handle, "regular file");
    for (fd, handle) in [(-1, "no descriptor"), (RawFd::MAX, "far too large")] {
        let refused = core.register(fd, Direction::Write, handle).unwrap_err();
        assert_eq!(refused.error.raw_os_error(), Some(libc::EBADF));
        assert_eq!(refused.handle, handle);
    }
    assert_eq!(core.registered(), 0);
}

#[test]
fn a_refused_handle_leaves_the_one_before_it_registered() {
    let mut core = core();
    let mut numbers = Numbers::new(550, 1);
    let (near, _far) = pair();
    numbers.name(0, &near);
    let before = core.register(numbers.fd(0), Direction::Read, "before").unwrap().registration;
    numbers.close(0);
    assert_eq!(core.register(numbers.fd(0), Direction::Read, "after").unwrap_err().handle, "after");
    assert_eq!(core.deregister(before), Some("before"));
}

#[test]
fn removing_one_direction_leaves_the_other() {
    let mut core = core();
    let (near, mut far) = pair();
    let fd = near.as_raw_fd();
    core.register(fd, Direction::Read, "reader").unwrap();
    core.register(fd, Direction::Write, "writer").unwrap();
    far.write_all(b"!").unwrap();
    assert_eq!(remove(&mut core, fd, Direction::Write), Some("writer"));
    assert_eq!(turn(&mut core), ["reader"]);
    assert_eq!(remove(&mut core, fd, Direction::Read), Some("reader"));
    assert_eq!(core.registered(), 0);
    assert_eq!(turn(&mut core), [""; 0]);
}

#[test]
fn one_event_ends_one_direction_and_leaves_the_other() {
    let mut core = core();
    let (near, mut far) = pair();
    let fd = near.as_raw_fd();
    core.register_once(fd, Direction::Read, "reader, once").unwrap();
    core.register(fd, Direction::Write, "writer").unwrap();
    far.write_all(b"!").unwrap();
    assert_eq!(turn(&mut core), ["reader, once", "writer"]);
    assert_eq!(turn(&mut core), ["writer"]);
    assert_eq!(core.registered(), 1);
}

#[test]
fn what_had_its_one_event_is_not_watched_for_anybody() {
    let mut core = core();
    let (near, _far) = pair();
    let once = core.register_once(near.as_raw_fd(), Direction::Write, "once").unwrap();
    assert_eq!(turn(&mut core), ["once"]);
    assert_eq!(core.registered(), 0);
    assert!(!core.is_registered(once.registration));
    for _ in 0..3 {
        assert_eq!(turn(&mut core), [""; 0]);
    }
}

#[test]
fn a_token_of_another_core_means_nothing() {
    let (mut one, mut another) = (core(), core());
    let (near, _far) = pair();
    let ours = one.register(near.as_raw_fd(), Direction::Read, "one's").unwrap().registration;
    let theirs = another.register(near.as_raw_fd(), Direction::Read, "another's").unwrap().registration;
    assert_eq!(another.deregister(ours), None);
    assert_eq!(one.deregister(theirs), None);
    assert_eq!(one.deregister(ours), Some("one's"));
}
