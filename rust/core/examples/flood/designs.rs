//! The designs, each in a mebibyte: ours, and those that one would take instead.

use std::time::{Duration, Instant};

use pingora_limits::rate::{PROPORTIONAL_RATE_ESTIMATE_CALC_FN, Rate as PingoraRate};
use throttle_core::key::Key;
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::{Region, Table};
use throttle_core::sketch::count_min::CountMin;
use throttle_core::store::gcra::Gcra;
use throttle_core::store::gcra::GcraRate;
use throttle_core::store::overflow::Split;
use throttle_core::store::rate_counter::RateCounter;
use throttle_core::store::sliding_window::SlidingWindow;
use throttle_core::store::{SlotReservations, Verdict};

use crate::run::LIMIT;
use crate::traffic::{MINUTE_US, mix};

/// Memory at full size.
const BYTES: usize = 1 << 20;
const RATE: Rate = Rate { amount: LIMIT, period_us: MINUTE_US, sized: false };

/// Nanoseconds that are left for one message of a design that reads the real clock: many times what it takes,
/// lest a busy machine fall behind.
const PACE_NS: u64 = 1_000;

/// A design and its memory.
pub(crate) struct Design {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    Ours {
        region: Region,
        pace: RateCounter,
    },
    /// Plain cells, zeroed each minute: a fixed window.
    Fixed {
        shape: CountMin,
        cells: Vec<u32>,
        minute: u64,
    },
    /// Two of them; the older counts for the part of the window that reaches into it.
    TwoBuckets {
        shape: CountMin,
        buckets: [Vec<u32>; 2],
        minute: u64,
    },
    /// A minute is an interval of real time, since its clock cannot be set.
    Pingora {
        rate: PingoraRate,
        minute: Duration,
        start: Instant,
        bytes: usize,
    },
}

impl Design {
    /// Each at one `scale`-th of a mebibyte.
    pub(crate) fn all(scale: u64) -> [Self; 6] {
        let (depth, bytes) = (4, BYTES / scale as usize);
        let shape = |words: usize| CountMin::new(words / depth, depth).expect("a shape");
        let two = shape(bytes / 8);
        [
            Self::ours("GCRA + admit", scale, |table| RateCounter::Gcra(Gcra::new(table, quota(), WhenFull::Admit))),
            Self::gcra(Split::GCRA, scale),
            Self::window(Split::WINDOW, scale),
            Self {
                name: "Count-Min, fixed window",
                kind: Kind::Fixed { shape: shape(bytes / 4), cells: vec![0; bytes / 4], minute: 0 },
            },
            Self {
                name: "Count-Min, two buckets",
                kind: Kind::TwoBuckets { shape: two, buckets: [vec![0; bytes / 8], vec![0; bytes / 8]], minute: 0 },
            },
            Self { name: "pingora-limits Rate", kind: pingora(Duration::from_secs(60), bytes) },
        ]
    }

    pub(crate) fn gcra(split: Split, scale: u64) -> Self {
        Self::ours("GCRA + sketch", scale, |table| RateCounter::Gcra(Gcra::beside_sketch(table, quota(), split)))
    }

    pub(crate) fn window(split: Split, scale: u64) -> Self {
        Self::ours("sliding window + sketch", scale, |table| {
            RateCounter::SlidingWindow(
                SlidingWindow::beside_sketch(table, RATE, split).expect("a rate that a clock can keep"),
            )
        })
    }

    fn ours(name: &'static str, scale: u64, pace: impl FnOnce(Table) -> RateCounter) -> Self {
        let (region, tables) = Region::new(&[(BYTES as u64 / scale / 4096) as u32]).expect("as much memory as that");
        Self { name, kind: Kind::Ours { region, pace: pace(tables[0]) } }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Before the first of so many messages a minute.
    pub(crate) fn start(&mut self, messages: u64) {
        if let Kind::Pingora { bytes, .. } = self.kind {
            self.kind = pingora(Duration::from_nanos(messages * PACE_NS), bytes);
        }
    }

    /// Decides on one message, and charges it when it is admitted.
    pub(crate) fn admits(&mut self, number: u64, at_us: u64) -> bool {
        let key = Key(mix(number.wrapping_add(0x5EED)));
        match &mut self.kind {
            Kind::Ours { region, pace } => {
                let at = pace.lines(key);
                let now = pace.ticks_at(at_us);
                let (verdict, spot) = pace.consult(region, &at, now, 1, &mut SlotReservations::default());
                let fits = verdict == Verdict::Fits;
                if fits {
                    pace.charge(region, &at, spot, now, 1);
                }
                fits
            }
            Kind::Fixed { shape, cells, minute } => {
                if at_us / MINUTE_US != *minute {
                    *minute = at_us / MINUTE_US;
                    cells.fill(0);
                }
                let fits = lowest(shape, cells, key) < LIMIT as u32;
                if fits {
                    shape.positions(key).for_each(|position| cells[position] += 1);
                }
                fits
            }
            Kind::TwoBuckets { shape, buckets, minute } => {
                if at_us / MINUTE_US != *minute {
                    *minute = at_us / MINUTE_US;
                    buckets.swap(0, 1);
                    buckets[0].fill(0);
                }
                let left = (MINUTE_US - at_us % MINUTE_US) as f64 / MINUTE_US as f64;
                let [newer, older] = [&buckets[0], &buckets[1]].map(|cells| f64::from(lowest(shape, cells, key)));
                let fits = newer + older * left + 1.0 <= LIMIT as f64;
                if fits {
                    shape.positions(key).for_each(|position| buckets[0][position] += 1);
                }
                fits
            }
            Kind::Pingora { rate, minute, start, .. } => {
                // Not ahead of the simulated time, at a message in 64.
                if number % 64 == 0 {
                    let due = minute.mul_f64(at_us as f64 / MINUTE_US as f64);
                    while start.elapsed() < due {
                        std::hint::spin_loop();
                    }
                }
                let fits =
                    rate.rate_with(&key.0, PROPORTIONAL_RATE_ESTIMATE_CALC_FN) * minute.as_secs_f64() < LIMIT as f64;
                if fits {
                    rate.observe(&key.0, 1);
                }
                fits
            }
        }
    }
}

fn quota() -> GcraRate {
    GcraRate::new(RATE, LIMIT).expect("a rate that a clock can keep")
}

fn pingora(minute: Duration, bytes: usize) -> Kind {
    // Two estimators of four rows of words.
    let columns = bytes / 2 / 4 / size_of::<isize>();
    let rate = PingoraRate::new_with_estimator_config(minute, 4, columns);
    Kind::Pingora { rate, minute, start: Instant::now(), bytes }
}

fn lowest(shape: &CountMin, cells: &[u32], key: Key) -> u32 {
    shape.positions(key).map(|position| cells[position]).min().unwrap_or(0)
}
