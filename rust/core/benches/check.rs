//! A whole `inbound` check in Rust, and its three parts: reading the envelope, working out what to ask, settling it.
//!
//! A million senders in turn, more than 16 MiB remembers and fewer than 256 MiB does.
//! With `SUFFIX_LIST=<public_suffix_list.dat>` on that list, else on a few rules.

mod side_by_side;
mod traffic;

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use side_by_side::{is_listing, median_ns, print, rounds};
use throttle_core::engine::{Engine, Found, Purpose, Request};
use traffic::{Senders, at, stages, warm};

const MIB: u64 = 1 << 20;

/// Checks of a batch: few, so that what was read for one part is still at hand for the next.
const BATCH: usize = 128;

/// Batches of each part in turn, on senders of their own.
fn parts(engine: &Engine, senders: &Senders, turn: &mut usize) -> [f64; 4] {
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..rounds() * 2 {
        let first = *turn;
        let envelopes: Vec<_> = (first..first + BATCH).map(|turn| senders.envelope(turn)).collect();
        let start = Instant::now();
        let identities: Vec<_> = envelopes.iter().map(|envelope| engine.read(envelope, stages())).collect();
        times[0].push(start.elapsed());

        let start = Instant::now();
        let mut requests: Vec<Request> = Vec::with_capacity(BATCH);
        for identities in &identities {
            requests.push(Request::default());
            if let Some(request) = requests.last_mut() {
                engine.prepare(request, identities, None, stages(), Purpose::Check);
            }
        }
        times[1].push(start.elapsed());

        let start = Instant::now();
        for (request, turn) in requests.iter().zip(first..) {
            black_box(engine.transact(request, &mut Found::default(), at(turn), Purpose::Check));
        }
        times[2].push(start.elapsed());

        let envelopes: Vec<_> = (first + BATCH..first + 2 * BATCH).map(|turn| senders.envelope(turn)).collect();
        let start = Instant::now();
        for (envelope, turn) in envelopes.iter().zip(first + BATCH..) {
            black_box(engine.check(envelope, None, at(turn)));
        }
        times[3].push(start.elapsed());
        *turn += 2 * BATCH;
    }
    times.map(|times| median_ns(times, BATCH))
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let senders = Senders::new();
    for mib in [16, 256] {
        let engine = warm(mib * MIB, &senders);
        let mut turn = senders.count();
        criterion.bench_function(&format!("check/inbound, {mib} MiB"), |bencher| {
            bencher.iter(|| {
                turn += 1;
                engine.check(&senders.envelope(turn), None, at(turn))
            });
        });
        if !is_listing() {
            let [read, request, settle, whole] = parts(&engine, &senders, &mut turn);
            let rows = [("whole check", whole), ("read", read), ("ask", request), ("settle", settle)];
            print(&format!("inbound check, {} senders in turn, {mib} MiB", senders.count()), &rows);
        }
    }
    criterion.final_summary();
}
