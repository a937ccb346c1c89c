//! The engine under saburo: one turn of an event loop, generic over what it runs.
//!
//! It decides *when*: descriptors, time, order, wake-ups. It has never heard of futures or of
//! Python; what it queues is a handle `H` that only the host can run. A turn has four verbs:
//!
//! - **plan**: how long may we sleep? ([`Core::plan`])
//! - **wait**: the only blocking call, on a part that holds no handle ([`Wait::wait`])
//! - **collect**: posts, events and due timers become ready handles ([`Core::collect`])
//! - **batch**: run exactly what was ready when the turn began ([`Core::begin_batch`])
//!
//! This is a whole event loop:
//!
//! ```
//! use saburo_core::{Clock, Core, Direction, Time};
//! use std::io::{Read, Write};
//! use std::os::fd::AsRawFd;
//! use std::rc::Rc;
//!
//! // What this host queues: a function that gets the core, to queue more.
//! #[derive(Clone)]
//! struct Job(Rc<dyn Fn(&mut Core<Job>)>);
//!
//! fn job(run: impl Fn(&mut Core<Job>) + 'static) -> Job {
//!     Job(Rc::new(run))
//! }
//!
//! fn turn(core: &mut Core<Job>) -> std::io::Result<()> {
//!     let timeout = core.plan(None);
//!     let mut wait = core.lend_wait();
//!     wait.wait(timeout)?;
//!     core.collect(wait, None)?;
//!     for _ in 0..core.begin_batch() {
//!         if let Some(Job(run)) = core.next() {
//!             run(core);
//!         }
//!     }
//!     Ok(())
//! }
//!
//! let mut core = Core::new(Clock::monotonic())?;
//!
//! // In a moment, write into a pipe …
//! let (reader, writer) = std::io::pipe()?;
//! let fd = reader.as_raw_fd();
//! let soon = core.now().saturating_add(std::time::Duration::from_millis(1));
//! core.insert_timer(soon, job(move |_| (&writer).write_all(b"tick").unwrap()));
//!
//! // … whose other end is watched.
//! core.register_once(reader.as_raw_fd(), Direction::Read, job(move |_| {
//!     let mut bytes = [0; 4];
//!     (&reader).read_exact(&mut bytes).unwrap();
//!     assert_eq!(&bytes, b"tick");
//! }))?;
//!
//! while core.ready_len() + core.timer_count() + core.registered() > 0 {
//!     turn(&mut core)?;
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # How often to poll
//!
//! This loop waits in every turn, if only to look at the descriptors. One that is busy does better to ask
//! [`Core::poll_is_due`], and go on to the batch after [`Core::collect_due`] if it is not:
//!
//! - Nothing ready: it is due, and sleeps.
//! - A descriptor registered: due every turn, but for the one after a sleep that brought something. Once 64
//!   polls in a row have brought nothing, only every 61 turns and at least about every 100 µs, until one
//!   brings something.
//! - Nothing registered: that seldom from the start.
//! - Another thread waits for the host to wait: due every turn.
//!
//! # Threads
//!
//! A core belongs to one thread and has no locks. What other threads may touch is
//! [`Core::shared`]. Time is an argument or comes from a [`Clock`], which tests set by hand.

#![deny(unsafe_code)]
#![warn(missing_docs)]

mod address;
mod admission;
mod clock;
mod core;
mod inbox;
mod kernel;
mod marks;
pub mod net;
mod outgoing;
mod pace;
pub mod pipe;
mod reactor;
mod read_buffer;
mod ready;
mod records;
mod separators;
#[cfg(feature = "signals")]
mod signals;
mod sync;
#[allow(unsafe_code)]
mod sys;
mod timers;
mod wait;
mod write_queue;

pub use self::core::Core;
pub use address::Address;
pub use admission::Admission;
pub use clock::{Clock, ManualClock, Time};
pub use inbox::{Alarm, Bell, Inbox, Shared};
pub use marks::{Marks, Pause, Signal, both_marks};
pub use outgoing::{AfterWrite, Outgoing};
pub use reactor::{Direction, Refused, Registered, Registration};
pub use read_buffer::ReadBuffer;
pub use records::{MAX_RECORD, Records, Seen};
pub use separators::{Search, Sought};
#[cfg(feature = "signals")]
pub use signals::Signals;
pub use timers::TimerId;
pub use wait::{Timeout, Wait};
pub use write_queue::WriteQueue;
