//! Timer heap. Equal deadlines fire in insertion order: asyncio leaves that open, we fix it
//! so that runs repeat.
//!
//! Most timers never fire: they guard something that finishes in time. So a cancel is real
//! and immediate, it hands the handle back and leaves nothing behind, and an item is small:
//! sixteen bytes, so that the four children of a node fill one cache line.

use std::collections::TryReserveError;

use crate::clock::Time;
use crate::ready::ReadyQueue;

/// Which timer: the answer of [`Core::insert_timer`](crate::Core::insert_timer), good for one
/// [`cancel_timer`](crate::Core::cancel_timer). A stale one, whose timer fired or was
/// cancelled, does nothing, even if its place has been given to another timer since.
///
/// ```
/// use saburo_core::{Clock, Core, Time};
///
/// let mut core = Core::new(Clock::manual().0)?;
/// let id = core.insert_timer(Time::from_nanos(5), "tea");
/// assert_eq!(core.cancel_timer(id), Some("tea"));
/// assert_eq!(core.cancel_timer(id), None);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
pub(crate) struct Timers<H> {
    /// A 4-ary heap by (deadline, sequence): the children of `i` are `4i + 1 ..= 4i + 4`.
    heap: Vec<HeapItem>,
    /// Where in the heap each slot's item is. Apart from the handles because sifting writes
    /// here at every step and the handles would only be in the way.
    places: Vec<Place>,
    /// `Some` exactly for the slots that have an item in the heap.
    handles: Vec<Option<H>>,
    /// The first vacant slot; the others follow through `Place::position`.
    vacant: u32,
    /// The next timer's place among its equals. Renumbered before it would overflow.
    sequence: u32,
    /// The generation of a new slot: higher than that of any slot there was before `take`.
    first_generation: u32,
}

impl<H> Timers<H> {
    pub(crate) fn new() -> Self {
        Timers {
            heap: Vec::new(),
            places: Vec::new(),
            handles: Vec::new(),
            vacant: NONE,
            sequence: 0,
            first_generation: 0,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The earliest deadline, [`Time::NEVER`] if only such timers are left.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.heap.first().map(|item| item.when)
    }

    #[inline]
    pub(crate) fn insert(&mut self, when: Time, handle: H) -> TimerId {
        if self.sequence == u32::MAX {
            self.renumber();
        }
        let index = self.occupy(handle);
        let item = HeapItem { when, sequence: self.sequence, slot: index };
        self.sequence += 1;
        self.heap.push(item);
        self.sift_up(self.heap.len() - 1, item);
        TimerId { index, generation: self.places[index as usize].generation }
    }

    /// The same, or the handle again if there is no memory for one more.
    #[inline]
    pub(crate) fn try_insert(&mut self, when: Time, handle: H) -> Result<TimerId, H> {
        let is_full = self.heap.len() == self.heap.capacity()
            || (self.vacant == NONE
                && self.places.len() == self.places.capacity().min(self.handles.capacity()));
        if is_full && self.try_grow().is_err() {
            return Err(handle);
        }
        Ok(self.insert(when, handle))
    }

    #[cold]
    fn try_grow(&mut self) -> Result<(), TryReserveError> {
        self.heap.try_reserve(1)?;
        self.places.try_reserve(1)?;
        self.handles.try_reserve(1)
    }

    #[inline]
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<H> {
        let place = self.places.get(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let position = place.position as usize;
        // The generation changes whenever a slot is vacated, so an id of ours has found its
        // timer. One of another core's may have hit a vacant slot, whose position means nothing.
        if self.heap.get(position)?.slot != id.index {
            return None;
        }
        self.unlink(position);
        Some(self.vacate(id.index))
    }

    /// Timers due at `now` become ready, in order. Those that there is no memory for stay, and are due as before.
    /// Timers for [`Time::NEVER`] are never due.
    #[inline]
    pub(crate) fn take_due(&mut self, now: Time, ready: &mut ReadyQueue<H>) {
        // Taking the first of a large heap again and again is slow. Once it is clear that a good part
        // of all are due, they are sorted at once; until then nothing was lost by starting singly.
        let singly = FEW.max(self.heap.len() / 8);
        for _ in 0..singly {
            match self.heap.first() {
                Some(first) if first.is_due(now) && ready.has_room() => {
                    let slot = first.slot;
                    self.unlink(0);
                    ready.push(self.vacate(slot));
                }
                _ => return,
            }
        }
        if self.heap.first().is_some_and(|first| first.is_due(now)) {
            self.take_many(now, ready);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &H> {
        self.handles.iter().flatten()
    }

    /// Every handle, in no particular order, and without asking for memory. Outstanding ids go stale.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = H> + use<H> {
        let highest = self.places.iter().map(|place| place.generation).max();
        let first_generation = highest.map_or(self.first_generation, |highest| highest.wrapping_add(1));
        let taken = std::mem::replace(self, Timers { first_generation, ..Timers::new() });
        taken.handles.into_iter().flatten()
    }

    /// As `take_due`, by looking at every timer once.
    #[cold]
    fn take_many(&mut self, now: Time, ready: &mut ReadyQueue<H>) {
        // Those that are due come first, without memory for a second list.
        let mut count = 0;
        for position in 0..self.heap.len() {
            if self.heap[position].is_due(now) {
                self.heap.swap(count, position);
                count += 1;
            }
        }
        self.heap[..count].sort_unstable_by_key(HeapItem::key);
        let mut taken = 0;
        while taken < count && ready.has_room() {
            let slot = self.heap[taken].slot;
            ready.push(self.vacate(slot));
            taken += 1;
        }
        self.heap.drain(..taken);
        // A heap from the leaves up: each parent sinks among its descendants, which are heaps already.
        for position in (0..self.heap.len()).rev() {
            let item = self.heap[position];
            let hole = self.sink_hole(position);
            self.rise(hole, item, position);
        }
    }

    fn occupy(&mut self, handle: H) -> u32 {
        if self.vacant != NONE {
            let index = self.vacant;
            self.vacant = self.places[index as usize].position;
            self.handles[index as usize] = Some(handle);
            return index;
        }
        let index = u32::try_from(self.places.len()).expect("fewer than 2^32 timers at a time");
        self.places.push(Place { position: NONE, generation: self.first_generation });
        self.handles.push(Some(handle));
        index
    }

    #[inline]
    fn vacate(&mut self, index: u32) -> H {
        let place = &mut self.places[index as usize];
        place.generation = place.generation.wrapping_add(1);
        place.position = self.vacant;
        self.vacant = index;
        self.handles[index as usize].take().expect("a slot in the heap has a handle")
    }

    /// Take the item at `position` out of the heap.
    #[inline]
    fn unlink(&mut self, position: usize) {
        let last = self.heap.pop().expect("the heap has the entry at `position`");
        if position == self.heap.len() {
            return;
        }
        // `last` fills the hole. It is a leaf and so likely late: walk the hole down to a leaf
        // without looking at it, and then let it rise; that is a comparison less a level.
        let hole = self.sink_hole(position);
        self.sift_up(hole, last);
    }

    /// Move the earliest child up into the hole until the hole has no children; where it ended.
    #[inline]
    fn sink_hole(&mut self, mut hole: usize) -> usize {
        loop {
            let first = ARITY * hole + 1;
            let earliest = if let Some(family) = self.heap.get(first..first + ARITY) {
                let left = if family[1].key() < family[0].key() { 1 } else { 0 };
                let right = if family[3].key() < family[2].key() { 3 } else { 2 };
                first + if family[right].key() < family[left].key() { right } else { left }
            } else if first < self.heap.len() {
                let family = first..self.heap.len();
                family.min_by_key(|&child| self.heap[child].key()).expect("not empty")
            } else {
                return hole;
            };
            self.put(hole, self.heap[earliest]);
            hole = earliest;
        }
    }

    /// Let `item` rise from the hole to where no ancestor is later.
    #[inline]
    fn sift_up(&mut self, hole: usize, item: HeapItem) {
        self.rise(hole, item, 0);
    }

    /// The same within the heap below `top`.
    #[inline]
    fn rise(&mut self, mut hole: usize, item: HeapItem, top: usize) {
        while hole > top {
            let parent = (hole - 1) / ARITY;
            if self.heap[parent].key() < item.key() {
                break;
            }
            self.put(hole, self.heap[parent]);
            hole = parent;
        }
        self.put(hole, item);
    }

    #[inline]
    fn put(&mut self, position: usize, item: HeapItem) {
        self.heap[position] = item;
        self.places[item.slot as usize].position = position as u32;
    }

    /// Give the timers the sequence numbers 0, 1, 2 … in their order: once in four thousand
    /// million insertions.
    #[cold]
    fn renumber(&mut self) {
        // A sorted list is a heap.
        self.heap.sort_unstable_by_key(HeapItem::key);
        for position in 0..self.heap.len() {
            let sequence = position as u32;
            let item = HeapItem { sequence, ..self.heap[position] };
            self.put(position, item);
        }
        self.sequence = self.heap.len() as u32;
    }
}

#[derive(Copy, Clone, Debug)]
struct HeapItem {
    when: Time,
    sequence: u32,
    slot: u32,
}

impl HeapItem {
    #[inline]
    fn is_due(&self, now: Time) -> bool {
        self.when <= now && self.when != Time::NEVER
    }

    /// What the heap is ordered by. The slot decides nothing, sequences differ; as one number
    /// the comparison has no branch.
    #[inline]
    fn key(&self) -> u128 {
        (self.when.rank() as u128) << 64 | (self.sequence as u128) << 32 | self.slot as u128
    }
}

#[derive(Debug)]
struct Place {
    /// Where in the heap, or, in a vacant slot, the next vacant one.
    position: u32,
    /// How often the slot has been vacated: what makes old ids stale.
    generation: u32,
}

const ARITY: usize = 4;
/// So many due timers are taken singly however small the heap is.
const FEW: usize = 64;
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_renumbering() {
        let mut timers = Timers::new();
        timers.sequence = u32::MAX - 5;
        let mut ids = Vec::new();
        for handle in 0..20 {
            // Two moments in turn, so that the order of the heap is not that of insertion.
            ids.push(timers.insert(Time::from_nanos(handle % 2), handle));
        }
        assert!(timers.sequence <= 20, "it was renumbered: {}", timers.sequence);
        assert_eq!(timers.cancel(ids[4]), Some(4), "an id from before still finds its timer");
        let mut ready = ReadyQueue::new();
        timers.take_due(Time::from_nanos(1), &mut ready);
        let due: Vec<_> = ready.take().collect();
        let expected: Vec<_> = (0..20).step_by(2).chain((1..20).step_by(2)).filter(|n| *n != 4).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn many_due_at_once_keep_their_order_and_leave_a_heap() {
        let mut timers = Timers::new();
        // A thousand moments in a scattered order, each twice.
        let moments: Vec<u64> = (0..2000).map(|n| n * 7919 % 1000).collect();
        let mut ids = Vec::new();
        for (number, &moment) in moments.iter().enumerate() {
            ids.push(timers.insert(Time::from_nanos(moment), (moment, number)));
        }
        timers.insert(Time::NEVER, (u64::MAX, 0));
        let mut expected: Vec<(u64, usize)> = moments.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        for now in [100, 899, 5000] {
            let mut ready = ReadyQueue::new();
            timers.take_due(Time::from_nanos(now), &mut ready);
            let due: Vec<_> = ready.take().collect();
            let rest = expected.split_off(expected.partition_point(|(moment, _)| *moment <= now));
            assert_eq!(due, expected);
            expected = rest;
            for child in 1..timers.heap.len() {
                let parent = (child - 1) / ARITY;
                assert!(timers.heap[parent].key() < timers.heap[child].key(), "{child} is before {parent}");
            }
            // Ids of those that are left still find them.
            if let Some((moment, number)) = expected.pop() {
                assert_eq!(timers.cancel(ids[number]), Some((moment, number)));
            }
        }
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_slot_is_used_again_before_a_new_one_is_made() {
        let mut timers = Timers::new();
        for _ in 0..100 {
            let id = timers.insert(Time::NEVER, ());
            timers.cancel(id);
        }
        assert_eq!(timers.places.len(), 1);
    }
}
