//! One look-up and charge on a GCRA table larger than the cache, against the floor: loading the same two prefetched lines.
//!
//! In both, the next key depends on what was read, so that look-ups cannot overlap and latency is what is measured.

#![allow(missing_docs, reason = "criterion's macro writes a function without any")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use throttle_core::key::Key;
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::{Region, prefetch};
use throttle_core::store::gcra::{Gcra, Quota};

const MIB: u32 = 1 << 20;

/// The finaliser of SplitMix64: uniform keys from a counter and what was read.
fn mix(number: u64) -> Key {
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Key(b ^ b >> 31)
}

fn table(bytes: u32) -> (Region, Gcra) {
    let (region, tables) = Region::new(&[bytes / 4096]);
    let quota = Quota::new(Rate { amount: 100, period_us: 60_000_000, sized: false }, 100)
        .expect("a rate that a clock can keep");
    (region, Gcra::new(tables[0], quota, WhenFull::Admit))
}

fn look_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("gcra");
    for mib in [1, 16, 256] {
        let (mut region, gcra) = table(mib * MIB);
        let address = region.address();
        let mut key = mix(1);
        group.bench_function(BenchmarkId::new("floor: load two prefetched lines", format!("{mib} MiB")), |b| {
            b.iter(|| {
                let lines = gcra.lines(key);
                prefetch(address, &lines);
                let read = lines.lines.map(|line| region.line(line).slots[6]);
                key = mix(key.0 ^ read[0] ^ read[1]);
            });
            black_box(key);
        });
        let mut now_us = 1_637_889_600_000_000;
        group.bench_function(BenchmarkId::new("consult and charge", format!("{mib} MiB")), |b| {
            b.iter(|| {
                now_us += 5;
                let lines = gcra.lines(key);
                prefetch(address, &lines);
                let (verdict, spot) = gcra.consult(&region, &lines, now_us, 1, 0);
                let tracked = gcra.charge(&mut region, &lines, spot, now_us, 1);
                let read = lines.lines.map(|line| region.line(line).slots[6]);
                key = mix(key.0 ^ read[0] ^ read[1] ^ u64::from(tracked) ^ verdict.earliest_us(0));
            });
            black_box(key);
        });
        group.bench_function(BenchmarkId::new("consult and charge, not prefetched", format!("{mib} MiB")), |b| {
            b.iter(|| {
                now_us += 5;
                let lines = gcra.lines(key);
                let (verdict, spot) = gcra.consult(&region, &lines, now_us, 1, 0);
                let tracked = gcra.charge(&mut region, &lines, spot, now_us, 1);
                let read = lines.lines.map(|line| region.line(line).slots[6]);
                key = mix(key.0 ^ read[0] ^ read[1] ^ u64::from(tracked) ^ verdict.earliest_us(0));
            });
            black_box(key);
        });
    }
    group.finish();
}

criterion_group!(benches, look_up);
criterion_main!(benches);
