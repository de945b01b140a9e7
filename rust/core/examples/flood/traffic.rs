//! Who sends when: the same for every design.

/// Legitimate messages a minute, and their keys.
pub(crate) const LEGITIMATE: u64 = 1_000_000;
const SENDERS: usize = 1_000_000;
const EXPONENT: f64 = 1.1;

/// Messages a minute of the sender that is above its limit.
pub(crate) const GREEDY: u64 = 150;
pub(crate) const GREEDY_KEY: u64 = u64::MAX;

/// A sender of at most so many a minute is conforming.
const CONFORMING: f64 = 50.0;

pub(crate) const MINUTE_US: u64 = 60_000_000;

/// One message.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    pub(crate) at_us: u64,
    pub(crate) key: u64,
    pub(crate) who: Who,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Conforming,
    Heavy,
    Unique,
    Greedy,
}

/// The senders: Vose's alias table of their shares.
pub(crate) struct Traffic {
    part: Vec<f64>,
    alias: Vec<u32>,
    /// Ranks from here on are conforming.
    conforming_from: usize,
}

impl Traffic {
    pub(crate) fn new() -> Self {
        let shares: Vec<f64> = (1..=SENDERS).map(|rank| (rank as f64).powf(-EXPONENT)).collect();
        let sum: f64 = shares.iter().sum();
        let a_minute = |share: f64| share / sum * LEGITIMATE as f64;
        let conforming_from = shares.iter().position(|&share| a_minute(share) <= CONFORMING).unwrap_or(SENDERS);
        let mut part: Vec<f64> = shares.iter().map(|share| share / sum * SENDERS as f64).collect();
        let mut alias: Vec<u32> = (0..SENDERS as u32).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..SENDERS).partition(|&at| part[at] < 1.0);
        while let (Some(low), Some(high)) = (small.pop(), large.pop()) {
            alias[low] = high as u32;
            part[high] -= 1.0 - part[low];
            if part[high] < 1.0 { small.push(high) } else { large.push(high) }
        }
        Self { part, alias, conforming_from }
    }

    /// The messages of a minute that begins at `start_us`, in order, with `unique` keys that nobody uses again.
    pub(crate) fn minute(&self, minute: u64, unique: u64) -> impl Iterator<Item = Message> + '_ {
        let (start_us, count) = (minute * MINUTE_US, LEGITIMATE + unique);
        let (mut random, mut spent, mut greedy) = (Random(minute + 1), 0u64, 0u64);
        let mut nth = 0;
        std::iter::from_fn(move || {
            let at_us = start_us + (u128::from(nth) * u128::from(MINUTE_US) / u128::from(count)) as u64;
            let greedy_at = start_us + greedy * MINUTE_US / GREEDY;
            if greedy < GREEDY && greedy_at <= at_us {
                greedy += 1;
                return Some(Message { at_us: greedy_at, key: GREEDY_KEY, who: Who::Greedy });
            }
            if nth == count {
                return None;
            }
            nth += 1;
            // Unique keys are spread evenly between the legitimate.
            if (u128::from(nth) * u128::from(unique) / u128::from(count)) as u64 > spent {
                spent += 1;
                let key = 1 << 40 | minute << 32 | spent;
                return Some(Message { at_us, key, who: Who::Unique });
            }
            let drawn = random.next();
            let place = ((u128::from(drawn as u32) * SENDERS as u128) >> 32) as usize;
            let rank = if ((drawn >> 32) as f64) < self.part[place] * 4_294_967_296.0 {
                place
            } else {
                self.alias[place] as usize
            };
            let who = if rank >= self.conforming_from { Who::Conforming } else { Who::Heavy };
            Some(Message { at_us, key: rank as u64, who })
        })
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }
}

/// The finaliser of SplitMix64: uniform keys from numbers.
pub(crate) fn mix(number: u64) -> u64 {
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    b ^ b >> 31
}
