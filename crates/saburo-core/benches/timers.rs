//! Timers: most are cancelled, so the cancel counts as much as the insertion.
//!
//! The yardstick is what asyncio does with `heapq`: a binary heap (the standard library's) whose
//! cancelled entries stay until they come up. Its cancels are nearly free, and their price is
//! paid when they expire, which is why it is measured to the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use saburo_core::{Clock, Core, Time};

type Handle = (usize, usize);

/// What is measured, here and on the yardstick.
trait Heap {
    type Id: Copy;
    fn new() -> Self;
    fn insert(&mut self, when: u64, handle: Handle) -> Self::Id;
    fn cancel(&mut self, id: Self::Id);
    /// How many were due.
    fn expire(&mut self, now: u64) -> usize;
}

impl Heap for Core<Handle> {
    type Id = saburo_core::TimerId;

    fn new() -> Self {
        Core::new(Clock::manual().0).unwrap()
    }

    fn insert(&mut self, when: u64, handle: Handle) -> Self::Id {
        self.insert_timer(Time::from_nanos(when), handle)
    }

    fn cancel(&mut self, id: Self::Id) {
        black_box(self.cancel_timer(id));
    }

    fn expire(&mut self, now: u64) -> usize {
        self.collect_due(Some(Time::from_nanos(now)));
        let due = self.begin_batch();
        for _ in 0..due {
            black_box(self.next());
        }
        due
    }
}

struct Lazy {
    /// (deadline, sequence); the sequence is the index of the handle.
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    handles: Vec<Option<Handle>>,
    due: std::collections::VecDeque<Handle>,
}

impl Heap for Lazy {
    type Id = usize;

    fn new() -> Self {
        Lazy { heap: BinaryHeap::new(), handles: Vec::new(), due: Default::default() }
    }

    fn insert(&mut self, when: u64, handle: Handle) -> usize {
        let id = self.handles.len();
        self.handles.push(Some(handle));
        self.heap.push(Reverse((when, id)));
        id
    }

    fn cancel(&mut self, id: usize) {
        black_box(self.handles[id].take());
    }

    fn expire(&mut self, now: u64) -> usize {
        while let Some(Reverse((when, id))) = self.heap.peek().copied() {
            if when > now {
                break;
            }
            self.heap.pop();
            self.due.extend(self.handles[id].take());
        }
        let due = self.due.len();
        while let Some(handle) = self.due.pop_front() {
            black_box(handle);
        }
        due
    }
}

/// The same at every run: a linear congruential generator, upper bits.
fn random(count: usize) -> Vec<u64> {
    let mut state = 0x5AB0_0501_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 24
    };
    (0..count).map(step).collect()
}

fn measure<H: Heap>(c: &mut Criterion, name: &str) {
    let mut group = c.benchmark_group(name);
    for size in [1_000usize, 100_000] {
        group.throughput(Throughput::Elements(size as u64));
        for (kind, deadlines) in [("random", random(size)), ("equal", vec![7; size])] {
            let fill = |heap: &mut H| -> Vec<H::Id> {
                deadlines.iter().map(|when| heap.insert(*when, (0, 0))).collect()
            };
            group.bench_function(BenchmarkId::new(format!("insert_expire_{kind}"), size), |b| {
                b.iter_batched_ref(
                    H::new,
                    |heap| {
                        fill(heap);
                        assert_eq!(heap.expire(u64::MAX - 1), size);
                    },
                    BatchSize::LargeInput,
                );
            });
            group.bench_function(BenchmarkId::new(format!("insert_cancel_{kind}"), size), |b| {
                b.iter_batched_ref(
                    H::new,
                    |heap| {
                        fill(heap).into_iter().for_each(|id| heap.cancel(id));
                        assert_eq!(heap.expire(u64::MAX - 1), 0);
                    },
                    BatchSize::LargeInput,
                );
            });
        }
        // A timeout around something that finishes in time, while others wait.
        group.throughput(Throughput::Elements(1));
        let deadlines = random(size);
        group.bench_function(BenchmarkId::new("timeout_among", size), |b| {
            let mut heap = H::new();
            let mut now = 0;
            for when in &deadlines {
                heap.insert(u64::MAX / 2 + when, (0, 0));
            }
            b.iter(|| {
                now += 10;
                // As with a timeout of thirty seconds and something that takes a hundred ns.
                let id = heap.insert(now + 3000, (0, 0));
                heap.cancel(id);
                heap.expire(now)
            });
        });
    }
    group.finish();
}

fn timers(c: &mut Criterion) {
    measure::<Core<Handle>>(c, "timers");
    measure::<Lazy>(c, "std_binary_heap");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = timers
}
criterion_main!(benches);
