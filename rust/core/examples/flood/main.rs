//! What a flood of unique keys does to several designs at equal memory, and which split of a limit's share between
//! table and sketch loses least.
//!
//! ```text
//!  cargo run --release --locked -p throttle-core --example flood              the designs side by side,
//!  three simulated minutes each; `3 10 GCRA`: these only
//!  cargo run --release --locked -p throttle-core --example flood -- splits    our sketch: splits × depths × panes;
//!  `splits window 3 10`: one, at 3 and 10 million
//!  … --json FILE           the table, and the same as JSON for the picture          BENCH=short …   an eighth of
//!  everything
//! ```
//!
//! 1 MiB, 100 a minute, a million legitimate messages a minute (Zipf 1.1 over a million keys), F unique keys a minute,
//! each used once, and one sender
//! of 150 a minute, evenly spaced. Every run sees the same messages. A sender of at most 50 a minute is told apart by
//! its expected rate.

mod designs;
mod report;
mod run;
mod traffic;

use designs::Design;
use throttle_core::store::overflow::Split;
use traffic::Traffic;

/// Millions of unique keys a minute.
const FLOODS: [u64; 5] = [1, 3, 10, 30, 60];

/// A short run is an eighth of everything: messages, senders, unique keys and memory. What a cell has to bear is the
/// same.
fn scale() -> u64 {
    if std::env::var("BENCH").is_ok_and(|length| length == "short") { 8 } else { 1 }
}

fn designs_side_by_side(traffic: &Traffic, floods: &[u64], is_meant: impl Fn(&str) -> bool) -> report::Rows {
    let mut rows = Vec::new();
    for &millions in floods {
        for design in Design::all(scale()).into_iter().filter(|design| is_meant(design.name())) {
            let name = design.name();
            let row = run::run(traffic, design, millions * 1_000_000 / scale());
            eprintln!("{millions:3} M/min  {name}");
            rows.push((millions, name.to_owned(), row));
        }
    }
    rows
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
            tried.extend([0, 4].map(|grain| Split { grain, ..base }));
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
                let design =
                    if algorithm == "gcra" { Design::gcra(split, scale()) } else { Design::window(split, scale()) };
                let row = run::run(traffic, design, millions * 1_000_000 / scale());
                let Split { sketch_16ths, depth, panes, grain, outweigh } = split;
                println!(
                    "{algorithm:9}  {sketch_16ths:9}  {depth:5}  {panes:5}  {grain:5}  {outweigh:8}  {millions:7}  \
                    {:9.5}  {:10}",
                    row.refused_percent(),
                    row.admitted_a_minute()
                );
            }
        }
    }
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let traffic = Traffic::new(scale());
    let stated: Vec<u64> = given.iter().filter_map(|word| word.parse().ok()).collect();
    let floods = |usual: &[u64]| if stated.is_empty() { usual.to_vec() } else { stated.clone() };
    if given.iter().any(|word| word == "splits") {
        splits(&traffic, &floods(&[3, 10, 30]), &given);
    } else {
        let json = given.iter().position(|word| word == "--json").and_then(|at| given.get(at + 1));
        let is_name = |word: &&String| word.parse::<u64>().is_err() && !word.starts_with('-') && Some(*word) != json;
        let names: Vec<&String> = given.iter().filter(is_name).collect();
        let is_meant = |name: &str| names.is_empty() || names.iter().any(|word| name.contains(word.as_str()));
        let rows = designs_side_by_side(&traffic, &floods(&FLOODS), is_meant);
        report::table(&rows);
        if let Some(path) = json {
            std::fs::write(path, report::json(&rows, scale())).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
}
