//! What `store/distinct.rs` promises, shown: an hour under a flood, two days at twice the rate,
//! and how the memory is best split.
//!
//! ```text
//! cargo run --release -p throttle-core --locked --example distinct            the whole: half a minute
//! cargo run --release -p throttle-core --locked --example distinct -- splits  the split between slots and registers
//! too
//! cargo run --release -p throttle-core --locked --example distinct -- short   a sixteenth of it
//! ```
//!
//! It ends with 1 when a bound does not hold.

#[path = "../tests/distinct_flood/mod.rs"]
mod distinct_flood;
#[path = "../tests/draw/mod.rs"]
mod draw;
#[path = "../tests/oracle/mod.rs"]
mod oracle;

use std::process::ExitCode;

use distinct_flood::{HABITS, Outcome, Size, at_twice_the_rate, hour};

/// 1 MiB.
const WHOLE: Size = Size { pages: 256, ordinary: 200_000, attackers: 200, junk: 20_000_000 };

const SHORT: Size = Size { pages: 16, ordinary: 12_500, attackers: 200, junk: 1_250_000 };

/// Different elements at the first refusal over those of the oracle: the median of the attackers.
const MOST_LATE: f64 = 1.2;

/// How far a key in two days may be off its rate.
const MOST_OFF: f64 = 0.2;

const HOURS: u64 = 48;

fn main() -> ExitCode {
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    let (size, keys) = if asked("short") { (SHORT, 50) } else { (WHOLE, 1_000) };
    let mut holds = true;
    let mut bound = |what: String, is_held: bool| {
        println!("  {what}: {}", if is_held { "holds" } else { "DOES NOT HOLD" });
        holds &= is_held;
    };

    println!("100 different elements an hour, 50 at once; {} KiB; {size:?}; everything sent twice", size.pages * 4);
    header();
    let outcome = hour(size, None);
    row("as it is", &outcome);
    bound(format!("ordinary keys refused: {}, at most 0", outcome.flagged), outcome.flagged == 0);
    let all = outcome.found == outcome.found_by_oracle && outcome.late.len() == outcome.found;
    bound(format!("attackers found: {} of {}", outcome.found, outcome.found_by_oracle), all);
    let late = outcome.late_at(0.5);
    bound(format!("elements at detection over the ideal: median {late:.3}, at most {MOST_LATE}"), late <= MOST_LATE);

    if asked("splits") {
        println!("\nhow many pages of eight hold slots");
        header();
        for eighths in 1..8 {
            row(&format!("{eighths} of 8"), &hour(size, Some(eighths)));
            let without = hour(Size { junk: 0, ..size }, Some(eighths));
            row("  without junk", &without);
        }
    }

    println!("\n{keys} keys at twice the rate for {HOURS} hours: what got through, over burst + rate · hours");
    println!("  {:28} {:>6} {:>6} {:>6}", "", "least", "mean", "most");
    for habit in HABITS {
        let through = at_twice_the_rate(keys, HOURS, habit);
        let mean = through.iter().sum::<f64>() / through.len() as f64;
        let (least, most) = (through[0], through[through.len() - 1]);
        println!("  {:28} {least:6.3} {mean:6.3} {most:6.3}", habit.name);
        bound(format!("within {MOST_OFF} of its rate"), 1.0 - least <= MOST_OFF && most - 1.0 <= MOST_OFF);
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn header() {
    println!(
        "  {:16} {:>9} {:>7} {:>8} {:>7} {:>7} {:>7} {:>7} {:>7} {:>10}",
        "", "attackers", "refused", "median", "p95", "most", "slots", "blocks", "", "untracked"
    );
}

fn row(name: &str, outcome: &Outcome) {
    println!(
        "  {name:16} {:4}/{:4} {:7} {:8.3} {:7.3} {:7.3} {:6.1}% {:6.1}% {:7} {:9.2}%",
        outcome.found,
        outcome.found_by_oracle,
        outcome.flagged,
        outcome.late_at(0.5),
        outcome.late_at(0.95),
        outcome.late_at(1.0),
        100.0 * outcome.slots_used,
        100.0 * outcome.blocks_used,
        "",
        100.0 * outcome.untracked as f64 / (outcome.untracked + outcome.tracked) as f64,
    );
}
