//! Times of the parts of the hook path: what the core adds to a call that a backend intercepts.
//!
//! ```text
//! cargo bench --no-default-features --bench hook_path
//! ```
//! Times on a shared machine vary. `scripts/count-instructions.sh` counts the instructions of the
//! same operations, which do not vary. `benches/device/overhead.py` measures what a hook adds to a
//! real driver's calls, on a device.

#[path = "operations/mod.rs"]
mod operations;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use operations::{Accounts, Launches, Place};

fn memory(c: &mut Criterion) {
    let place = Place::new();
    let mut group = c.benchmark_group("memory");
    group.throughput(Throughput::Elements(1));
    group.bench_function("reserve and release", |b| {
        b.iter(|| place.reserve_and_release(black_box(2 << 20)))
    });
    group.bench_function("refuse", |b| b.iter(|| place.refuse(black_box(2 << 20))));
    group.bench_function("hold and roll back", |b| {
        b.iter(|| place.hold_and_roll_back(black_box(2 << 20)))
    });
    group.bench_function("has the limit changed", |b| {
        b.iter(|| place.limit_unchanged())
    });
    group.finish();
}

fn contended(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory, beside other threads");
    for threads in [2u32, 8] {
        group.bench_function(format!("reserve and release, {threads} threads"), |b| {
            let place = Place::new();
            b.iter_custom(|iterations| {
                let share = iterations.div_ceil(u64::from(threads));
                std::thread::scope(|scope| {
                    let start = std::time::Instant::now();
                    let workers: Vec<_> = (0..threads)
                        .map(|_| {
                            scope.spawn(|| {
                                for _ in 0..share {
                                    place.reserve_and_release(black_box(2 << 20));
                                }
                            })
                        })
                        .collect();
                    for worker in workers {
                        let _ = worker.join();
                    }
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

fn accounts(c: &mut Criterion) {
    let mut group = c.benchmark_group("allocations");
    group.throughput(Throughput::Elements(1));
    for live in [0u64, 10_000] {
        let accounts = Accounts::new(live);
        group.bench_function(format!("insert and remove, {live} live"), |b| {
            b.iter(|| accounts.insert_and_remove(black_box(0x7f00_0000_0000)));
        });
    }
    group.finish();
}

fn launches(c: &mut Criterion) {
    let launches = Launches::new(0);
    let mut group = c.benchmark_group("launch");
    group.throughput(Throughput::Elements(1));
    group.bench_function("cost of a known kernel", |b| b.iter(|| launches.cost()));
    group.bench_function("admit", |b| b.iter(|| launches.launch()));
    for neighbours in [0, 3] {
        let launches = Launches::new(neighbours);
        group.bench_function(format!("a slice of credit, {neighbours} neighbours"), |b| {
            b.iter(|| launches.slice());
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    memory(&mut criterion);
    contended(&mut criterion);
    accounts(&mut criterion);
    launches(&mut criterion);
    criterion.final_summary();
}
