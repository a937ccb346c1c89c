//! Clients: connections that keep a server busy, each with one exchange at a time.
//!
//! One thread, edge-triggered: a connection costs a write, a read and its share of a poll for every exchange.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::channel::{Channel, Dialer};
use crate::dialogue::{Dialogue, Script, Then, Turn};
use crate::pattern::Pattern;
use crate::wrong::{Result, Wrong};

/// How much to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    Operations(u64),
    Time(Duration),
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    /// The share of that time in which this process was running. Near 1 it was the bottleneck.
    pub(crate) busy: f64,
}

pub(crate) struct Load {
    epoll: OwnedFd,
    dialer: Dialer,
    pattern: Pattern,
    connections: Vec<Connection>,
    /// The most operations of one exchange.
    depth: u64,
    lifetime: Lifetime,
    /// Exchanges begun so far.
    exchanges: u64,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Connected before anything is measured, and kept.
    Kept,
    /// A connection for each exchange.
    Visit,
}

impl Load {
    pub(crate) fn new(
        dialer: Dialer,
        pattern: Pattern,
        lifetime: Lifetime,
        depth: u64,
        dialogues: Vec<Box<dyn Dialogue>>,
    ) -> Result<Self> {
        let mut load = Load {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            dialer,
            pattern,
            connections: dialogues.into_iter().map(Connection::new).collect(),
            depth,
            lifetime,
            exchanges: 0,
            buffer: vec![0; 256 * 1024],
            events: Vec::with_capacity(256),
        };
        if lifetime == Lifetime::Kept {
            load.open()?;
        }
        Ok(load)
    }

    /// Have the connections do so much, and see every operation to its end.
    pub(crate) fn run(&mut self, amount: Amount) -> Result<Report> {
        let (begun, processor) = (Instant::now(), processor_time());
        let mut work = Work::new(amount);
        for index in 0..self.connections.len() {
            self.begin(index, &mut work)?;
        }
        self.finish(&mut work)?;
        let seconds = begun.elapsed().as_secs_f64();
        let busy = (processor_time() - processor).as_secs_f64() / seconds;
        Ok(Report { operations: work.done, seconds, busy })
    }

    fn open(&mut self) -> Result<()> {
        let mut work = Work::new(Amount::Operations(0));
        for index in 0..self.connections.len() {
            self.connect(index)?;
            let connection = &mut self.connections[index];
            if let Some(script) = connection.dialogue.open() {
                work.outstanding += 1;
                connection.say(script, 0, &self.pattern).map_err(|wrong| wrong.on(index))?;
            }
        }
        self.finish(&mut work)
    }

    fn connect(&mut self, index: usize) -> Result<()> {
        let channel = self.dialer.dial()?;
        // Once for both directions, for good: the answers of an exchange need no other call than a read.
        let all = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &channel, EventData::new_u64(index as u64), all)?;
        self.connections[index].channel = Some(channel);
        Ok(())
    }

    /// The connection's next exchange, if there is work left.
    fn begin(&mut self, index: usize, work: &mut Work) -> Result<()> {
        let Some(operations) = work.take(self.depth) else {
            return Ok(());
        };
        if self.lifetime == Lifetime::Visit {
            self.connect(index)?;
        }
        self.exchanges += 1;
        let connection = &mut self.connections[index];
        let script = connection.dialogue.say(Turn { number: self.exchanges, operations }, &self.pattern);
        connection.say(script, operations, &self.pattern).map_err(|wrong| wrong.on(index))
    }

    fn finish(&mut self, work: &mut Work) -> Result<()> {
        while work.outstanding > 0 {
            self.events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&PATIENCE)) {
                Ok(0) => {
                    let waiting = work.outstanding;
                    let seconds = PATIENCE.tv_sec;
                    return Err(Wrong::new(format!("{waiting} exchanges stand still for {seconds} s")));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for at in 0..self.events.len() {
                let event = self.events[at];
                let flags = event.flags;
                let closed = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                let index = event.data.u64() as usize;
                self.advance(index, closed, work).map_err(|wrong| wrong.on(index))?;
            }
        }
        Ok(())
    }

    /// Writes and reads until neither is possible: an edge is told only once.
    fn advance(&mut self, index: usize, closed: bool, work: &mut Work) -> Result<()> {
        loop {
            let connection = &mut self.connections[index];
            connection.flush(&self.pattern)?;
            let Some(channel) = &mut connection.channel else {
                return Ok(()); // the event was an earlier visit's
            };
            let count = match channel.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let Some(operations) = connection.operations else {
                return Err(Wrong::new(format!("{count} bytes came unasked (0: it was closed)")));
            };
            let drained = count < self.buffer.len() && channel.tells_by_short_reads() && !closed;
            let then = match count {
                0 => connection.dialogue.end()?,
                _ => connection.dialogue.hear(&self.buffer[..count], &self.pattern)?,
            };
            match then {
                Then::Listen => {}
                Then::TakeLeave => channel.take_leave()?,
                Then::Done => {
                    if connection.unsaid(&self.pattern) {
                        return Err(Wrong::new("the answer was there before the question"));
                    }
                    connection.operations = None;
                    work.finish(operations);
                    if self.lifetime == Lifetime::Visit
                        && let Some(channel) = connection.channel.take()
                    {
                        channel.close();
                    }
                    self.begin(index, work)?;
                }
            }
            if drained {
                return Ok(());
            }
        }
    }
}

#[derive(Debug)]
struct Connection {
    channel: Option<Channel>,
    dialogue: Box<dyn Dialogue>,
    script: Script,
    said: u64,
    /// Those of the exchange under way.
    operations: Option<u64>,
}

impl Connection {
    fn new(dialogue: Box<dyn Dialogue>) -> Self {
        Connection { channel: None, dialogue, script: Script::default(), said: 0, operations: None }
    }

    fn say(&mut self, script: Script, operations: u64, pattern: &Pattern) -> Result<()> {
        (self.script, self.said, self.operations) = (script, 0, Some(operations));
        self.flush(pattern)
    }

    fn flush(&mut self, pattern: &Pattern) -> Result<()> {
        let Some(channel) = &mut self.channel else {
            return Ok(());
        };
        channel.flush()?;
        loop {
            let run = self.script.run(self.said, pattern);
            if run.is_empty() {
                return Ok(());
            }
            match channel.write(run) {
                Ok(count) => self.said += count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn unsaid(&self, pattern: &Pattern) -> bool {
        !self.script.run(self.said, pattern).is_empty()
    }
}

/// What is to be done, and how far it is.
#[derive(Debug)]
struct Work {
    end: End,
    given: u64,
    done: u64,
    /// Exchanges begun and not finished.
    outstanding: usize,
}

#[derive(Clone, Copy, Debug)]
enum End {
    After(u64),
    At(Instant),
}

impl Work {
    fn new(amount: Amount) -> Self {
        let end = match amount {
            Amount::Operations(total) => End::After(total),
            Amount::Time(span) => End::At(Instant::now() + span),
        };
        Work { end, given: 0, done: 0, outstanding: 0 }
    }

    fn take(&mut self, depth: u64) -> Option<u64> {
        let operations = match self.end {
            End::After(total) => depth.min(total - self.given),
            End::At(end) if Instant::now() < end => depth,
            End::At(_) => 0,
        };
        if operations == 0 {
            return None;
        }
        self.given += operations;
        self.outstanding += 1;
        Some(operations)
    }

    fn finish(&mut self, operations: u64) {
        self.done += operations;
        self.outstanding -= 1;
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

const PATIENCE: Timespec = Timespec { tv_sec: 15, tv_nsec: 0 };
