//! A model of the inbox and its bell, explored by loom: every interleaving of a loop that goes
//! to sleep with threads that post.
//!
//! Only the pipe is made up: a flag and a condition, on which the "kernel" lets the loop sleep
//! until it was written to. A post that is lost is then a loop that sleeps for ever, which loom
//! reports as a deadlock.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p saburo-core --release --no-default-features --test loom_inbox
//! ```

#![cfg(loom)]

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use saburo_core::Inbox;

/// What the waker's pipe is to the loop: it sleeps until there are bytes in it.
struct Pipe {
    bytes: Mutex<Bytes>,
    written: Condvar,
}

#[derive(Copy, Clone, Default)]
struct Bytes {
    unread: usize,
    ever: usize,
}

impl Pipe {
    fn new() -> Self {
        Pipe { bytes: Mutex::new(Bytes::default()), written: Condvar::new() }
    }

    fn write(&self) {
        let mut bytes = self.bytes.lock().unwrap();
        bytes.unread += 1;
        bytes.ever += 1;
        self.written.notify_one();
    }

    fn sleep(&self) {
        let mut bytes = self.bytes.lock().unwrap();
        while bytes.unread == 0 {
            bytes = self.written.wait(bytes).unwrap();
        }
        bytes.unread = 0;
    }

    fn ever(&self) -> usize {
        self.bytes.lock().unwrap().ever
    }
}

struct Loop {
    inbox: Inbox<u32>,
    pipe: Pipe,
}

impl Loop {
    fn new() -> Arc<Self> {
        Arc::new(Loop { inbox: Inbox::new(), pipe: Pipe::new() })
    }

    /// As `Shared::post` does.
    fn post(&self, handle: u32) {
        if self.inbox.post(handle) {
            self.pipe.write();
        }
    }

    /// As `Shared::wake` does.
    fn wake(&self) {
        if self.inbox.bell().ring() {
            self.pipe.write();
        }
    }

    /// As a turn does that has nothing else to do: wait, collect. How often it slept.
    fn turn(&self, into: &mut Vec<u32>) -> usize {
        let mut slept = 0;
        if self.inbox.bell().fall_asleep() {
            self.pipe.sleep();
            self.inbox.bell().wake_up();
            slept = 1;
        }
        // As `ReadyQueue::append_posts` does: emptied into a buffer that is empty.
        let mut posts = Vec::new();
        self.inbox.drain(&mut posts);
        into.append(&mut posts);
        slept
    }
}

#[test]
fn no_post_is_lost_and_a_sleep_costs_one_wake() {
    loom::model(|| {
        let shared = Loop::new();
        let posters = [1, 2].map(|handle| {
            let shared = shared.clone();
            thread::spawn(move || shared.post(handle))
        });
        let mut posts = Vec::new();
        let mut slept = 0;
        while posts.len() < 2 {
            slept += shared.turn(&mut posts);
        }
        posters.into_iter().for_each(|poster| poster.join().unwrap());
        posts.sort_unstable();
        assert_eq!(posts, [1, 2]);
        assert_eq!(shared.pipe.ever(), slept, "each sleep was ended by one wake");
    });
}

#[test]
fn the_posts_of_one_thread_keep_their_order() {
    loom::model(|| {
        let shared = Loop::new();
        let poster = {
            let shared = shared.clone();
            thread::spawn(move || [1, 2, 3].map(|handle| shared.post(handle)))
        };
        let mut posts = Vec::new();
        while posts.len() < 3 {
            shared.turn(&mut posts);
        }
        poster.join().unwrap();
        assert_eq!(posts, [1, 2, 3]);
    });
}

/// The loop may wake up for another reason, a descriptor or a timer, at any moment.
#[test]
fn a_post_that_meets_a_loop_waking_up_by_itself_is_seen_before_it_sleeps_again() {
    loom::model(|| {
        let shared = Loop::new();
        let poster = {
            let shared = shared.clone();
            thread::spawn(move || shared.post(1))
        };
        let mut posts = Vec::new();
        if shared.inbox.bell().fall_asleep() {
            shared.inbox.bell().wake_up();
        }
        shared.inbox.drain(&mut posts);
        while posts.is_empty() {
            shared.turn(&mut posts);
        }
        poster.join().unwrap();
        assert_eq!(posts, [1]);
    });
}

#[test]
fn a_wake_ends_a_sleep_or_prevents_it() {
    loom::model(|| {
        let shared = Loop::new();
        let waker = {
            let shared = shared.clone();
            thread::spawn(move || shared.wake())
        };
        // One turn, and it ends.
        let slept = shared.turn(&mut Vec::new());
        waker.join().unwrap();
        assert_eq!(shared.pipe.ever(), slept);
    });
}
