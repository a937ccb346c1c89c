//! The ready queue: what a handle costs that only passes through.
//!
//! Handles of sixteen bytes, as Python's are. `turn` is what a busy loop does without
//! descriptors: plan, collect what needs no wait, and run the batch, each handle of which makes
//! another ready.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use saburo_core::{Clock, Core};

type Handle = (usize, usize);

fn ready(c: &mut Criterion) {
    let mut group = c.benchmark_group("ready");
    for size in [1usize, 100, 10_000] {
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("push_and_next", size), |b| {
            let mut core = Core::<Handle>::new(Clock::monotonic()).unwrap();
            b.iter(|| {
                for n in 0..size {
                    core.push(black_box((n, n)));
                }
                for _ in 0..core.begin_batch() {
                    black_box(core.next());
                }
            });
        });
        group.bench_function(BenchmarkId::new("turn", size), |b| {
            let mut core = Core::<Handle>::new(Clock::monotonic()).unwrap();
            (0..size).for_each(|n| core.push((n, n)));
            b.iter(|| {
                black_box(core.plan(None));
                core.collect_due(None);
                for _ in 0..core.begin_batch() {
                    let handle = core.next().unwrap();
                    core.push(black_box(handle));
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = ready
}
criterion_main!(benches);
