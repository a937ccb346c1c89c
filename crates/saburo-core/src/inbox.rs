//! Posts from other threads, and the bell that wakes the loop for them.
//!
//! The rule that makes it right: a post is in the list *before* the bell is rung, and the
//! loop resets the bell *before* it empties the list. So a thread that finds the bell rung already
//! may leave: the loop will look at the list after now. Only a ring that finds the loop asleep
//! costs a system call, which makes one wake per burst.

use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::sys::Waker;

/// The half of a [`Core`](crate::Core) that every thread may touch.
///
/// ```
/// use saburo_core::{Clock, Core};
///
/// let mut core = Core::new(Clock::monotonic())?;
/// let shared = core.shared();
/// std::thread::spawn(move || shared.post("from afar"));
///
/// // Sleeps until the thread has posted.
/// while core.ready_len() == 0 {
///     let timeout = core.plan(None);
///     let mut wait = core.lend_wait();
///     wait.wait(timeout)?;
///     core.collect(wait, None)?;
/// }
/// assert_eq!(core.next(), Some("from afar"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Shared<P> {
    inbox: Inbox<P>,
    alarm: Arc<Alarm>,
}

impl<P> Shared<P> {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        let inbox = Inbox::new();
        let alarm = Alarm { bell: inbox.bell.clone(), waker: Mutex::new(Some(waker)) };
        Shared { inbox, alarm: Arc::new(alarm) }
    }

    /// Post from any thread and make sure the loop sees it.
    ///
    /// After the core was closed what is posted stays in the inbox until the last owner of this
    /// goes.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.shared().post(1);
    /// core.collect_due(None);
    /// assert_eq!(core.next(), Some(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn post(&self, post: P) {
        if self.inbox.post(post) {
            self.alarm.write_waker();
        }
    }

    /// End the loop's sleep, or keep it from falling asleep, without queueing anything.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Timeout};
    /// let core = Core::<()>::new(Clock::monotonic())?;
    /// assert_eq!(core.plan(None), Timeout::Forever);
    /// core.shared().wake();
    /// assert_eq!(core.plan(None), Timeout::Now);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wake(&self) {
        self.alarm.ring();
    }

    /// What wakes the loop, for those who must not know what it queues: it is `Send` even where
    /// a handle is not.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Timeout};
    /// # use std::rc::Rc;
    /// let core = Core::<Rc<()>>::new(Clock::monotonic())?;
    /// let alarm = core.shared().alarm();
    /// std::thread::spawn(move || alarm.ring()).join().unwrap();
    /// assert_eq!(core.plan(None), Timeout::Now);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn alarm(&self) -> Arc<Alarm> {
        self.alarm.clone()
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.inbox.bell
    }

    pub(crate) fn inbox(&self) -> &Inbox<P> {
        &self.inbox
    }

    /// The waker, while the core is open. Only signals need it apart from the bell: a signal
    /// handler cannot lock.
    #[cfg(feature = "signals")]
    pub(crate) fn waker(&self) -> Option<Arc<Waker>> {
        lock(&self.alarm.waker).clone()
    }

    /// In a forked child: one that has all that was posted, and locks that are free. A thread
    /// that held one of the old locks when the process forked is not here to release it; what
    /// it was about to post is lost with it.
    pub(crate) fn after_fork(&self, waker: Arc<Waker>) -> Self {
        let fresh = Shared::new(waker);
        if let Ok(mut posted) = self.inbox.list.try_lock() {
            std::mem::swap(&mut *posted, &mut *lock(&fresh.inbox.list));
        }
        if self.bell().has_rung() {
            fresh.bell().ring();
        }
        fresh
    }

    /// The lock that a thread holds while it wakes the loop.
    #[cfg(test)]
    pub(crate) fn hold_alarm(&self) -> MutexGuard<'_, Option<Arc<Waker>>> {
        lock(&self.alarm.waker)
    }

    /// The core is closed: forget the waker, so that its descriptors can go.
    pub(crate) fn hang_up(&self) {
        lock(&self.alarm.waker).take();
    }
}

/// The bell of one loop, and the waker that makes a ring be heard by one that sleeps.
///
/// ```
/// # use saburo_core::{Clock, Core};
/// let mut core = Core::<()>::new(Clock::monotonic())?;
/// let alarm = core.shared().alarm();
/// alarm.ring();
/// assert!(!alarm.is_heard());
/// core.collect_due(None);
/// assert!(alarm.is_heard(), "the loop has looked");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Alarm {
    bell: Arc<Bell>,
    /// `None` once the core is closed. Held locked while writing, so that no wake can reach
    /// a descriptor that was closed and given to somebody else in between.
    waker: Mutex<Option<Arc<Waker>>>,
}

impl Alarm {
    /// End the loop's sleep, or keep it from falling asleep.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Timeout};
    /// let core = Core::<()>::new(Clock::monotonic())?;
    /// core.shared().alarm().ring();
    /// assert_eq!(core.plan(None), Timeout::Now);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ring(&self) {
        if self.bell.ring() {
            self.write_waker();
        }
    }

    /// Whether the loop has looked since the last ring.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// assert!(Core::<()>::new(Clock::monotonic())?.shared().alarm().is_heard());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_heard(&self) -> bool {
        !self.bell.has_rung()
    }

    #[cold]
    fn write_waker(&self) {
        if let Some(waker) = lock(&self.waker).as_ref() {
            waker.wake();
        }
    }
}

/// The list behind [`Shared::post`], without the system call: what the model checker explores.
///
/// ```
/// use saburo_core::Inbox;
///
/// let inbox = Inbox::new();
/// assert!(!inbox.post(1), "nobody sleeps, nobody needs waking");
///
/// let mut out = Vec::new();
/// inbox.drain(&mut out);
/// assert_eq!(out, [1]);
///
/// assert!(inbox.bell().fall_asleep());
/// assert!(inbox.post(2), "the first post of a burst has to wake the sleeper");
/// assert!(!inbox.post(3), "the second need not");
/// ```
#[derive(Debug)]
pub struct Inbox<P> {
    list: Mutex<Vec<P>>,
    bell: Arc<Bell>,
}

impl<P> Inbox<P> {
    /// An empty one, with its bell at rest.
    ///
    /// ```
    /// assert!(!saburo_core::Inbox::<()>::new().bell().has_rung());
    /// ```
    #[expect(clippy::new_without_default, reason = "an inbox is made by its core")]
    pub fn new() -> Self {
        Inbox { list: Mutex::new(Vec::new()), bell: Arc::new(Bell::new()) }
    }

    /// Add a post and ring. True if the loop sleeps and the caller has to wake it.
    ///
    /// ```
    /// assert!(!saburo_core::Inbox::new().post("no one is asleep"));
    /// ```
    #[must_use = "true means that the loop sleeps and nobody else will wake it"]
    pub fn post(&self, post: P) -> bool {
        lock(&self.list).push(post);
        self.bell.ring()
    }

    /// Move everything posted so far to the end of `into`, if the bell has rung.
    ///
    /// An empty `into` is swapped for the list, so that two allocations serve forever.
    ///
    /// ```
    /// let inbox = saburo_core::Inbox::new();
    /// let _ = inbox.post('a');
    /// let mut out = vec![];
    /// inbox.drain(&mut out);
    /// assert_eq!(out, ['a']);
    /// ```
    #[inline]
    pub fn drain(&self, into: &mut Vec<P>) {
        if self.bell.has_rung() {
            self.bell.reset();
            self.take(into);
        }
    }

    /// Move everything posted so far to the end of `into`, whatever the bell says.
    pub(crate) fn take(&self, into: &mut Vec<P>) {
        let mut list = lock(&self.list);
        if into.is_empty() {
            std::mem::swap(&mut *list, into);
        } else {
            into.append(&mut list);
        }
    }

    /// The bell this inbox rings.
    ///
    /// ```
    /// let inbox = saburo_core::Inbox::new();
    /// let _ = inbox.post(());
    /// assert!(inbox.bell().has_rung());
    /// ```
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// One word on which the loop and all other threads agree whether it must be woken.
///
/// It is one of three: *awake* (the loop runs and will look), *asleep* (it is, or is about to
/// be, in the kernel), *rung* (there is something to see). Going from asleep to rung obliges
/// the thread that did it to wake the loop.
///
/// ```
/// use saburo_core::Inbox;
///
/// let inbox = Inbox::<()>::new();
/// let bell = inbox.bell();
/// bell.ring();
/// assert!(!bell.fall_asleep(), "no sleep while there is something to see");
/// ```
#[derive(Debug)]
pub struct Bell {
    state: AtomicU8,
}

impl Bell {
    fn new() -> Self {
        Bell { state: AtomicU8::new(AWAKE) }
    }

    /// There is something to see. True if the loop sleeps and the caller has to wake it.
    ///
    /// ```
    /// # let inbox = saburo_core::Inbox::<()>::new();
    /// assert!(!inbox.bell().ring());
    /// ```
    #[inline]
    pub fn ring(&self) -> bool {
        // Release: whoever sees the bell sees what it was rung for.
        self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP
    }

    /// Whether it has been rung since the last reset.
    ///
    /// ```
    /// # let inbox = saburo_core::Inbox::<()>::new();
    /// inbox.bell().ring();
    /// assert!(inbox.bell().has_rung());
    /// ```
    #[inline]
    pub fn has_rung(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNG
    }

    /// Declare the loop asleep, right before it is. False if it must not sleep.
    ///
    /// ```
    /// # let inbox = saburo_core::Inbox::<()>::new();
    /// assert!(inbox.bell().fall_asleep());
    /// assert!(inbox.bell().ring(), "now a ring has to be a loud one");
    /// ```
    pub fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The loop is back from the kernel, woken or not. A ring is kept.
    ///
    /// ```
    /// # let inbox = saburo_core::Inbox::<()>::new();
    /// inbox.bell().fall_asleep();
    /// inbox.bell().wake_up();
    /// assert!(!inbox.bell().ring(), "awake again: nobody needs waking");
    /// ```
    pub fn wake_up(&self) {
        let _ = self.state.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// At rest, before looking at what it was rung for: what comes later rings again.
    pub(crate) fn reset(&self) {
        self.state.swap(AWAKE, Ordering::AcqRel);
    }
}

/// A list of handles is whole whatever happened to the thread that held it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const RUNG: u8 = 2;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn shared() -> (Shared<char>, Arc<Waker>) {
        let waker = Arc::new(Waker::new().unwrap());
        (Shared::new(waker.clone()), waker)
    }

    #[test]
    fn a_burst_costs_the_sleeper_one_wake() {
        let (shared, waker) = shared();
        assert!(shared.bell().fall_asleep());
        "burst".chars().for_each(|letter| shared.post(letter));
        shared.wake();
        assert_eq!(waker.pending(), 1);

        shared.bell().wake_up();
        let mut posts = Vec::new();
        shared.inbox().drain(&mut posts);
        assert_eq!(String::from_iter(posts), "burst");
        assert!(shared.bell().fall_asleep(), "all has been seen");
        shared.post('!');
        assert_eq!(waker.pending(), 2, "the next sleep takes a wake of its own");
    }

    #[test]
    fn a_loop_that_is_awake_costs_none() {
        let (shared, waker) = shared();
        "burst".chars().for_each(|letter| shared.post(letter));
        assert!(!shared.bell().fall_asleep());
        assert_eq!(waker.pending(), 0);
    }

    #[test]
    fn after_hanging_up_the_waker_is_neither_kept_nor_written_to() {
        let (shared, waker) = shared();
        assert!(shared.bell().fall_asleep());
        shared.hang_up();
        shared.post('x');
        assert_eq!(waker.pending(), 0);
        assert_eq!(Arc::strong_count(&waker), 1, "its descriptors can go");
    }

    #[test]
    fn draining_appends_to_what_is_there() {
        let inbox = Inbox::new();
        let mut out = vec!['a'];
        for letter in ['b', 'c'] {
            let _ = inbox.post(letter);
            inbox.drain(&mut out);
        }
        assert_eq!(out, ['a', 'b', 'c']);
    }
}
