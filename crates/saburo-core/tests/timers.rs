//! The timer heap against a naive model: a list sorted by (deadline, order of insertion), which
//! is too slow to ship and too simple to be wrong.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use saburo_core::{Clock, Core, Time, Timeout, TimerId};

#[derive(Clone, Debug)]
enum Step {
    /// So many nanoseconds from now; few different ones, so that many deadlines are equal.
    Insert(u64),
    InsertPast(u64),
    InsertNever,
    /// Any id that was ever handed out: of a waiting timer, or a stale one.
    Cancel(Index),
    Advance(u64),
    Expire,
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..6u64).prop_map(Step::Insert),
        2 => (0..1_000_000u64).prop_map(Step::Insert),
        1 => (0..6u64).prop_map(Step::InsertPast),
        1 => Just(Step::InsertNever),
        6 => any::<Index>().prop_map(Step::Cancel),
        2 => (0..5u64).prop_map(Step::Advance),
        1 => (0..500_000u64).prop_map(Step::Advance),
        3 => Just(Step::Expire),
        1 => Just(Step::Drain),
    ]
}

#[derive(Default)]
struct Model {
    /// Nanoseconds.
    now: u64,
    /// Sorted by deadline; equal ones in the order of insertion, which is the handles' order.
    waiting: Vec<(Time, u32)>,
    issued: Vec<(TimerId, u32)>,
}

impl Model {
    fn insert(&mut self, when: Time, id: TimerId) {
        let handle = self.next_handle();
        let after = self.waiting.partition_point(|(other, _)| *other <= when);
        self.waiting.insert(after, (when, handle));
        self.issued.push((id, handle));
    }

    fn next_handle(&self) -> u32 {
        self.issued.len() as u32
    }

    fn cancel(&mut self, handle: u32) -> Option<u32> {
        let at = self.waiting.iter().position(|(_, other)| *other == handle)?;
        Some(self.waiting.remove(at).1)
    }

    fn expire(&mut self) -> Vec<u32> {
        let now = Time::from_nanos(self.now);
        let due = self.waiting.partition_point(|(when, _)| *when <= now && *when != Time::NEVER);
        self.waiting.drain(..due).map(|(_, handle)| handle).collect()
    }

    fn handles(&self) -> Vec<u32> {
        let mut handles: Vec<u32> = self.waiting.iter().map(|(_, handle)| *handle).collect();
        handles.sort_unstable();
        handles
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_heap_does_what_a_sorted_list_does(steps in prop::collection::vec(step(), 1..200)) {
        let (clock, hand) = Clock::manual();
        let mut core = Core::new(clock).unwrap();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Insert(delay) => {
                    let when = Time::from_nanos(model.now + delay);
                    model.insert(when, core.insert_timer(when, model.next_handle()));
                }
                Step::InsertPast(ago) => {
                    let when = Time::from_nanos(model.now.saturating_sub(ago));
                    model.insert(when, core.insert_timer(when, model.next_handle()));
                }
                Step::InsertNever => {
                    model.insert(Time::NEVER, core.insert_timer(Time::NEVER, model.next_handle()));
                }
                Step::Cancel(any) => {
                    if model.issued.is_empty() {
                        continue;
                    }
                    let (id, handle) = model.issued[any.index(model.issued.len())];
                    prop_assert_eq!(core.cancel_timer(id), model.cancel(handle));
                }
                Step::Advance(by) => {
                    model.now += by;
                    hand.advance(Duration::from_nanos(by));
                }
                Step::Expire => {
                    core.collect_due(None);
                    let due: Vec<u32> = std::iter::from_fn(|| core.next()).collect();
                    prop_assert_eq!(due, model.expire());
                }
                Step::Drain => {
                    let mut drained: Vec<_> = core.drain().collect();
                    drained.sort_unstable();
                    prop_assert_eq!(drained, model.handles());
                    model.waiting.clear();
                }
            }
            let first = model.waiting.first().map(|(when, _)| *when);
            prop_assert_eq!(core.next_deadline(), first);
            prop_assert_eq!(core.timer_count(), model.waiting.len());
            let now = Time::from_nanos(model.now);
            prop_assert_eq!(core.plan(None), match first {
                None | Some(Time::NEVER) => Timeout::Forever,
                Some(when) if when <= now => Timeout::Now,
                Some(when) => Timeout::Until(when.saturating_duration_since(now)),
            });
        }
        let mut seen = Vec::new();
        core.for_each_handle(&mut |handle| seen.push(*handle));
        seen.sort_unstable();
        prop_assert_eq!(seen, model.handles());
    }
}

fn core_at(nanos: u64) -> Core<u32> {
    let (clock, hand) = Clock::manual();
    hand.set(Time::from_nanos(nanos));
    Core::new(clock).unwrap()
}

fn fired(core: &mut Core<u32>) -> Vec<u32> {
    core.collect_due(None);
    std::iter::from_fn(|| core.next()).collect()
}

#[test]
fn equal_deadlines_fire_in_insertion_order() {
    let mut core = core_at(10);
    // Vacated in this order, so that where a timer is kept says nothing about when it came.
    let vacated: Vec<TimerId> = (0..100).map(|n| core.insert_timer(Time::NEVER, n)).collect();
    for n in 0..100 {
        core.cancel_timer(vacated[n * 37 % 100]);
    }
    let ids: Vec<TimerId> = (0..100).map(|n| core.insert_timer(Time::from_nanos(10), n)).collect();
    for id in ids.iter().step_by(3) {
        core.cancel_timer(*id);
    }
    let expected: Vec<u32> = (0..100).filter(|n| n % 3 != 0).collect();
    assert_eq!(fired(&mut core), expected);
}

#[test]
fn a_timer_due_at_this_very_moment_fires() {
    let mut core = core_at(10);
    core.insert_timer(Time::from_nanos(10), 1);
    core.insert_timer(Time::from_nanos(11), 2);
    assert_eq!(fired(&mut core), [1]);
}

#[test]
fn a_timer_for_never_is_not_due_even_at_the_end_of_time() {
    let mut core = core_at(u64::MAX);
    let id = core.insert_timer(Time::NEVER, 1);
    core.insert_timer(Time::from_nanos(i64::MAX as u64 - 1), 2);
    assert_eq!(fired(&mut core), [2]);
    assert_eq!(core.cancel_timer(id), Some(1), "it was kept");
}

#[test]
fn a_stale_id_cannot_cancel_the_timer_that_took_its_place() {
    let mut core = core_at(0);
    let fired_id = core.insert_timer(Time::ZERO, 1);
    assert_eq!(fired(&mut core), [1]);
    let cancelled_id = core.insert_timer(Time::NEVER, 2);
    assert_eq!(core.cancel_timer(cancelled_id), Some(2));
    core.insert_timer(Time::NEVER, 3);
    assert_eq!(core.cancel_timer(fired_id), None);
    assert_eq!(core.cancel_timer(cancelled_id), None);
    assert_eq!(core.timer_count(), 1);
}

#[test]
fn an_id_of_another_core_is_no_reason_to_panic() {
    let mut many = core_at(0);
    let last = (0..10).map(|n| many.insert_timer(Time::NEVER, n)).last().unwrap();
    let mut few = core_at(0);
    few.insert_timer(Time::NEVER, 0);
    assert_eq!(few.cancel_timer(last), None, "no such slot");

    // A slot that is vacant here and taken there, after as many uses.
    let (mut here, mut there) = (core_at(0), core_at(0));
    for core in [&mut here, &mut there] {
        let id = core.insert_timer(Time::NEVER, 1);
        core.cancel_timer(id);
    }
    let id = there.insert_timer(Time::NEVER, 2);
    assert_eq!(here.cancel_timer(id), None);
}

#[test]
fn a_drained_timers_id_is_stale() {
    let mut core = core_at(0);
    let id = core.insert_timer(Time::NEVER, 1);
    assert!(core.drain().eq([1]));
    core.insert_timer(Time::NEVER, 2);
    assert_eq!(core.cancel_timer(id), None);
}
