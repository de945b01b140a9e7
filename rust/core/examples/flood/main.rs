//! What a flood of unique keys does to several designs at equal memory, and which split of a limit's share between table and sketch loses least.
//!
//! ```text
//!  cargo run --release --locked -p throttle-core --example flood              the designs side by side, three simulated minutes each
//!  cargo run --release --locked -p throttle-core --example flood -- splits    our sketch: splits × depths × panes; `splits window 3 10`: one, at 3 and 10 million
//!  … --json                the same as JSON, for the picture          BENCH=short …   small floods
//! ```
//!
//! 1 MiB, 100 a minute, a million legitimate messages a minute (Zipf 1.1 over a million keys), F unique keys a minute, each used once, and one sender
//! of 150 a minute, evenly spaced. Every run sees the same messages. A sender of at most 50 a minute is told apart by its expected rate.

mod designs;
mod report;
mod run;
mod traffic;

use designs::Design;
use throttle_core::store::overflow::Split;
use traffic::Traffic;

/// Millions of unique keys a minute.
const FLOODS: [u64; 5] = [1, 3, 10, 30, 60];

fn is_short() -> bool {
    std::env::var("BENCH").is_ok_and(|length| length == "short")
}

fn designs_side_by_side(traffic: &Traffic, is_json: bool) {
    let floods: &[u64] = if is_short() { &FLOODS[..2] } else { &FLOODS };
    let mut rows = Vec::new();
    for &millions in floods {
        for design in Design::all() {
            let name = design.name();
            let row = run::run(traffic, design, millions * 1_000_000);
            eprintln!("{millions:3} M/min  {name}");
            rows.push((millions, name.to_owned(), row));
        }
    }
    if is_json { report::json(&rows) } else { report::table(&rows) }
}

fn splits(traffic: &Traffic, floods: &[u64], only: &[String]) {
    println!("algorithm  sketch/16  depth  panes  grain  outweigh  F M/min  refused %  at 150/min");
    let all = |base: Split, gcra: bool| {
        let mut tried = Vec::new();
        for sketch_16ths in [4, 8, 12, 14] {
            for depth in [2, 3] {
                tried.push(Split { sketch_16ths, depth, ..base });
            }
        }
        for outweigh in [0, 2, 4] {
            tried.push(Split { outweigh, ..base });
        }
        if gcra {
            tried.push(Split { grain: 4, ..base });
            tried.push(Split { grain: 7, ..base });
        } else {
            tried.extend([2, 3, 6].map(|panes| Split { panes, ..base }));
        }
        tried
    };
    let ours = [("gcra", all(Split::GCRA, true)), ("window", all(Split::WINDOW, false))];
    let is_meant = |algorithm: &str| only.iter().all(|word| !matches!(&**word, "gcra" | "window") || word == algorithm);
    for (algorithm, tried) in ours.into_iter().filter(|(algorithm, _)| is_meant(algorithm)) {
        for split in tried {
            for &millions in floods {
                let design = if algorithm == "gcra" { Design::gcra(split) } else { Design::window(split) };
                let row = run::run(traffic, design, millions * 1_000_000);
                let Split { sketch_16ths, depth, panes, grain, outweigh } = split;
                println!(
                    "{algorithm:9}  {sketch_16ths:9}  {depth:5}  {panes:5}  {grain:5}  {outweigh:8}  {millions:7}  {:9.5}  {:10}",
                    row.refused_percent(),
                    row.admitted_a_minute()
                );
            }
        }
    }
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let traffic = Traffic::new();
    if given.iter().any(|word| word == "splits") {
        let floods: Vec<u64> = given.iter().filter_map(|word| word.parse().ok()).collect();
        splits(&traffic, if floods.is_empty() { &[3, 10, 30] } else { &floods }, &given);
    } else {
        designs_side_by_side(&traffic, given.iter().any(|word| word == "--json"));
    }
}
