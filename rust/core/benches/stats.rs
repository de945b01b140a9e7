//! What observation costs: noting a check, the turn of a pane, a name, and an answer.
//!
//! Five identities, as `inbound` has them. The turn is what observation does at once, and so the longest that it makes
//! anybody wait; it comes once in 15 s.

mod side_by_side;

use std::hint::black_box;
use std::time::Instant;

use side_by_side::{Way, compare, is_listing, rounds};
use throttle_core::key::Key;
use throttle_core::region::{PAGE_BYTES, Region};
use throttle_core::stats::{IdentityKey, Layout, Name, Newcomer, Stats, Window};

const IDENTITIES: usize = 5;

const PANE_US: u64 = 15_000_000;

/// After as long, every row is cleared.
const SILENCE_US: u64 = 2 * 3_600_000_000;

/// Notes of a batch.
const BATCH: u64 = 256;

/// Other memory that is read before each turn, so that none of its rows is in the first caches: 8 MiB.
const ELSEWHERE: usize = 1 << 20;

fn key(number: u64) -> Key {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Key((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9))
}

fn seen(number: u64) -> [IdentityKey; IDENTITIES] {
    std::array::from_fn(|place| IdentityKey { place, key: key(number * IDENTITIES as u64 + place as u64) })
}

fn observer(layout: Layout) -> (Region, Stats) {
    let pages = u32::try_from(layout.bytes() / PAGE_BYTES).expect("a small table");
    let (region, tables) = Region::new(&[pages]).expect("enough memory");
    (region, Stats::new(tables[0], layout, vec![None; IDENTITIES].into()))
}

fn newcomer(number: u64) -> Newcomer {
    Newcomer { value: seen(number)[0], name: Name::of("host.of.a.sender.com"), since_us: 0 }
}

/// A check with values of its own, a batch of them.
fn notes<'a>(observer: &'a Stats, mut region: Region, pace_us: u64) -> Box<dyn FnMut() + 'a> {
    let mut number = 1_000;
    Box::new(move || {
        for _ in 0..BATCH {
            number += 1;
            observer.note(&mut region, &seen(number), |_, _, _| 0, true, number * pace_us);
        }
    })
}

fn main() {
    if is_listing() {
        return;
    }
    for layout in Layout::choices(u64::MAX, IDENTITIES).take(2) {
        let (quiet, observer) = observer(layout);
        let busy = || {
            let (mut region, _) = self::observer(layout);
            for number in 0..64 {
                observer.enter(&mut region, &[newcomer(number)], &seen(number), |_, _, _| 0, true);
            }
            region
        };
        let (mut crowded, answering, elsewhere) = (busy(), busy(), vec![1u64; ELSEWHERE]);
        let mut numbers = [0u64; 2];
        let [keys, entered] = &mut numbers;
        let ways: Vec<Way<'_>> = vec![
            (
                "five keys alone",
                Box::new(|| {
                    (0..BATCH).for_each(|_| {
                        *keys += 1;
                        black_box(seen(*keys));
                    })
                }),
            ),
            ("a check, no names", notes(&observer, quiet, 1)),
            ("a check, 64 names and none of them its own", notes(&observer, busy(), 1)),
            ("a check and a turn of the pane", notes(&observer, busy(), PANE_US)),
            ("a check after two hours of silence", notes(&observer, busy(), SILENCE_US)),
            (
                "a name that takes another's place",
                Box::new(|| {
                    (0..BATCH).for_each(|_| {
                        *entered += 1;
                        observer.enter(
                            &mut crowded,
                            &[newcomer(64 + *entered)],
                            &seen(64 + *entered),
                            |_, _, _| 0,
                            true,
                        );
                    })
                }),
            ),
            (
                "an answer: distinct of the hour",
                Box::new(|| {
                    (0..BATCH).for_each(|_| {
                        let mut gathered = observer.registers();
                        observer.gather(&answering, 1, Window::Hour, 1, &mut gathered);
                        black_box(observer.estimate(&gathered));
                    })
                }),
            ),
        ];
        compare(&format!("{} KiB for {IDENTITIES} identities", layout.bytes() >> 10), BATCH as usize, ways);
        let (mut region, mut times) = (busy(), Vec::new());
        for turn in 0..rounds() as u64 {
            black_box(elsewhere.iter().sum::<u64>());
            let start = Instant::now();
            observer.note(&mut region, &[], |_, _, _| 0, true, turn * PANE_US);
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let us = |at: usize| times[at].as_secs_f64() * 1e6;
        println!(
            "  a turn of the pane, out of the first caches: {:.1} µs, p99 {:.1} µs",
            us(times.len() / 2),
            us(times.len() * 99 / 100)
        );
    }
}
