//! The inbox: what a post from another thread costs, to whoever posts and to the loop.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use saburo_core::{Clock, Core, Shared, Timeout};

type Handle = (usize, usize);

/// As a loop that is awake: no system call on either side.
fn same_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("inbox");
    for size in [1usize, 100, 10_000] {
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("post_and_collect", size), |b| {
            let mut core = Core::<Handle>::new(Clock::monotonic()).unwrap();
            let shared = core.shared();
            b.iter(|| {
                for n in 0..size {
                    shared.post(black_box((n, n)));
                }
                core.collect_due(None);
                while let Some(handle) = core.next() {
                    black_box(handle);
                }
            });
        });
    }
    group.finish();
}

/// A thread posts as fast as it can, and the loop sleeps whenever it has caught up.
fn two_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("inbox");
    group.throughput(Throughput::Elements(1));
    group.bench_function("stream_from_a_thread", |b| {
        b.iter_custom(|posts| {
            let mut core = Core::<Handle>::new(Clock::monotonic()).unwrap();
            let shared = core.shared();
            let begin = Instant::now();
            let poster = thread::spawn(move || {
                for n in 0..posts as usize {
                    shared.post((n, n));
                }
            });
            let mut received = 0;
            while received < posts {
                turn(&mut core);
                while let Some(handle) = core.next() {
                    black_box(handle);
                    received += 1;
                }
            }
            let taken = begin.elapsed();
            poster.join().unwrap();
            taken
        });
    });
    group.bench_function("ping_pong_of_two_loops", |b| {
        b.iter_custom(|rounds| {
            let mut here = Core::<Handle>::new(Clock::monotonic()).unwrap();
            let mut there = Core::<Handle>::new(Clock::monotonic()).unwrap();
            let (to_here, to_there) = (here.shared(), there.shared());
            let done = Arc::new(AtomicBool::new(false));
            let echo = {
                let done = done.clone();
                thread::spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        turn(&mut there);
                        forward(&mut there, &to_here);
                    }
                })
            };
            let begin = Instant::now();
            to_there.post((0, 0));
            for _ in 1..rounds {
                while here.ready_len() == 0 {
                    turn(&mut here);
                }
                forward(&mut here, &to_there);
            }
            let taken = begin.elapsed();
            done.store(true, Ordering::Relaxed);
            to_there.wake();
            echo.join().unwrap();
            taken
        });
    });
    group.finish();
}

fn turn(core: &mut Core<Handle>) {
    let timeout: Timeout = core.plan(None);
    let mut wait = core.lend_wait();
    wait.wait(timeout).unwrap();
    core.collect(wait, None).unwrap();
}

fn forward(from: &mut Core<Handle>, to: &Shared<Handle>) {
    while let Some(handle) = from.next() {
        to.post(handle);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = same_thread, two_threads
}
criterion_main!(benches);
