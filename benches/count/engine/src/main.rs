//! What `make count` counts of the engine without Python: `count WORKLOAD OPERATIONS` does so many and ends.
//!
//! The clock is set by hand, and there is one thread: every run takes the same instructions.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use saburo_core::{Clock, Core, Direction, ReadBuffer, Time, Timeout, WriteQueue};

/// Sixteen bytes, as Python's are.
type Handle = (usize, usize);

const BATCH: usize = 100;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let workload = arguments.next().unwrap_or_default();
    let operations = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    match workload.as_str() {
        "ready" => ready(operations),
        "timers_fire" => timers_fire(operations),
        "timers_cancel" => timers_cancel(operations),
        "inbox" => inbox(operations),
        "events" => events(operations),
        "register" => register(operations),
        "writes" => writes(operations),
        "reads" => reads(operations),
        _ => Err(io::Error::other("usage: count WORKLOAD OPERATIONS")),
    }
}

/// A handle that passes through the queue, a hundred a turn.
fn ready(operations: usize) -> io::Result<()> {
    let mut core = Core::<Handle>::new(Clock::manual().0)?;
    (0..BATCH).for_each(|n| core.push((n, n)));
    for _ in 0..operations / BATCH {
        assert_eq!(core.plan(None), Timeout::Now);
        core.collect_due(None);
        for _ in 0..core.begin_batch() {
            let handle = core.next().expect("the batch was counted");
            core.push(black_box(handle));
        }
    }
    Ok(())
}

/// A timer that fires, a hundred at once with deadlines in disorder.
fn timers_fire(operations: usize) -> io::Result<()> {
    let (clock, hand) = Clock::manual();
    let mut core = Core::<Handle>::new(clock)?;
    for round in 0..operations / BATCH {
        let now = (round as u64 + 1) * 1_000;
        for n in 0..BATCH {
            core.insert_timer(deadline(now, n), (n, n));
        }
        hand.set(Time::from_nanos(now + 1_000));
        core.collect_due(None);
        assert_eq!(take_all(&mut core), BATCH);
    }
    Ok(())
}

/// A timer that is cancelled, a hundred at once.
fn timers_cancel(operations: usize) -> io::Result<()> {
    let mut core = Core::<Handle>::new(Clock::manual().0)?;
    let mut timers = Vec::with_capacity(BATCH);
    for _ in 0..operations / BATCH {
        timers.extend((0..BATCH).map(|n| core.insert_timer(deadline(1_000, n), (n, n))));
        for timer in timers.drain(..) {
            assert!(core.cancel_timer(timer).is_some());
        }
    }
    Ok(())
}

fn deadline(now: u64, n: usize) -> Time {
    Time::from_nanos(now + n as u64 * 7_919 % 1_000)
}

/// A post, ten a turn.
fn inbox(operations: usize) -> io::Result<()> {
    let mut core = Core::<Handle>::new(Clock::manual().0)?;
    let shared = core.shared();
    for _ in 0..operations / 10 {
        (0..10).for_each(|n| shared.post(black_box((n, n))));
        core.collect_due(None);
        assert_eq!(take_all(&mut core), 10);
    }
    Ok(())
}

/// News of a descriptor: a wait, and the handle of its reader.
fn events(operations: usize) -> io::Result<()> {
    let mut core = Core::<Handle>::new(Clock::manual().0)?;
    let (mut here, mut there) = UnixStream::pair()?;
    core.register(here.as_raw_fd(), Direction::Read, (1, 1))?;
    for _ in 0..operations {
        there.write_all(b"x")?;
        let mut wait = core.lend_wait();
        wait.wait(core.plan(None))?;
        core.collect(wait, None)?;
        assert_eq!(take_all(&mut core), 1);
        here.read_exact(&mut [0])?;
    }
    Ok(())
}

/// A reader set and removed, with a wait in between.
fn register(operations: usize) -> io::Result<()> {
    let mut core = Core::<Handle>::new(Clock::manual().0)?;
    let (here, mut there) = UnixStream::pair()?;
    there.write_all(b"x")?;
    for _ in 0..operations {
        let reader = core.register(here.as_raw_fd(), Direction::Read, (1, 1))?;
        let mut wait = core.lend_wait();
        wait.wait(core.plan(None))?;
        core.collect(wait, None)?;
        assert_eq!(take_all(&mut core), 1);
        assert!(core.deregister(reader.registration).is_some());
    }
    Ok(())
}

/// A piece of 64 bytes, twenty to a flush.
fn writes(operations: usize) -> io::Result<()> {
    const PIECES: usize = 20;
    let (here, mut there) = UnixStream::pair()?;
    let mut queue = WriteQueue::new();
    let mut buffer = [0; 64 * PIECES];
    for _ in 0..operations / PIECES {
        (0..PIECES).for_each(|_| queue.push([1_u8; 64]));
        let mut done = 0;
        queue.flush(here.as_raw_fd(), |piece| done += usize::from(piece[0]))?;
        assert_eq!(done, PIECES);
        there.read_exact(&mut buffer)?;
    }
    Ok(())
}

/// 1 KiB into a stream's buffer and out again in four parts.
fn reads(operations: usize) -> io::Result<()> {
    let mut buffer = ReadBuffer::new();
    for _ in 0..operations {
        buffer.extend(black_box(&[1; 1024]));
        for _ in 0..4 {
            black_box(buffer.unread());
            buffer.consume(256);
        }
    }
    assert!(buffer.is_empty());
    Ok(())
}

fn take_all(core: &mut Core<Handle>) -> usize {
    let batch = core.begin_batch();
    for _ in 0..batch {
        black_box(core.next());
    }
    batch
}
