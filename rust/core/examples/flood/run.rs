//! One design through three minutes of one flood.

use std::collections::HashMap;

use crate::designs::Design;
use crate::traffic::{MINUTE_US, Traffic, Who};

pub(crate) const MINUTES: u64 = 3;

/// Messages that a key may have in a window.
pub(crate) const LIMIT: u64 = 100;

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) conforming: u64,
    pub(crate) refused: u64,
    /// Messages of the evenly spaced sender of 150 that were admitted, minute by minute.
    pub(crate) greedy: [u64; MINUTES as usize],
    /// Most of its messages that were admitted in one trailing minute.
    pub(crate) worst_window: u64,
    /// Admissions of any known sender above the limit in the minute that ended with them.
    pub(crate) excess: u64,
}

impl Row {
    pub(crate) fn refused_percent(&self) -> f64 {
        self.refused as f64 / self.conforming as f64 * 100.0
    }

    /// In the last minute: the first two hold a bucket's burst as well.
    pub(crate) fn admitted_a_minute(&self) -> u64 {
        self.greedy[self.greedy.len() - 1]
    }
}

/// The last admissions of a sender, as many as a window may hold.
#[derive(Default)]
struct Ring {
    times: Vec<u64>,
    next: usize,
}

impl Ring {
    /// Notes an admission; whether it is one too many in the window that ends with it.
    fn is_excess(&mut self, at_us: u64) -> bool {
        if self.times.len() < LIMIT as usize {
            self.times.push(at_us);
            return false;
        }
        let first = std::mem::replace(&mut self.times[self.next], at_us);
        self.next = (self.next + 1) % LIMIT as usize;
        at_us - first < MINUTE_US
    }
}

pub(crate) fn run(traffic: &Traffic, mut design: Design, unique: u64) -> Row {
    let mut row = Row::default();
    let mut rings: HashMap<u64, Ring> = HashMap::new();
    let mut greedy = Vec::new();
    design.start(unique);
    for minute in 0..MINUTES {
        for message in traffic.minute(minute, unique) {
            let admitted = design.admits(message.key, message.at_us);
            match message.who {
                Who::Unique => continue,
                Who::Conforming => {
                    row.conforming += 1;
                    row.refused += u64::from(!admitted);
                    continue;
                }
                Who::Greedy if admitted => {
                    row.greedy[minute as usize] += 1;
                    greedy.push(message.at_us);
                }
                _ => {}
            }
            if admitted && rings.entry(message.key).or_default().is_excess(message.at_us) {
                row.excess += 1;
            }
        }
    }
    let mut first = 0;
    for (last, &at_us) in greedy.iter().enumerate() {
        while at_us - greedy[first] >= MINUTE_US {
            first += 1;
        }
        row.worst_window = row.worst_window.max((last - first + 1) as u64);
    }
    row
}
