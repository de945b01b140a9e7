//! The sketches: what an addition, an estimate and a merge take, and the error of distinct counts from a million to a
//! hundred million.
//!
//! The error is the root of the mean square over the runs, next to theory's. Keys are counted up and mixed,
//! which is part of neither time.

mod side_by_side;

use std::cell::RefCell;
use std::hint::black_box;

use criterion::Criterion;
use side_by_side::{compare, is_listing, is_measuring, is_short};
use throttle_core::key::Key;
use throttle_core::sketch::count_min::CountMin;
use throttle_core::sketch::hyperloglog::HyperLogLog;
use throttle_core::sketch::hyperloglog::Martingale;

const PRECISION: u32 = 14;

/// Additions of a batch.
const BATCH: usize = 10_000;

/// The finaliser of SplitMix64: uniform keys from a counter.
fn mix(number: u64) -> Key {
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Key(b ^ b >> 31)
}

/// The keys of one run: no two runs share a sequence.
fn keys(run: u64) -> impl Iterator<Item = Key> {
    let start = mix(run + 1).0;
    (0..).map(move |number: u64| mix(start.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15))))
}

fn distinct() -> (HyperLogLog, Vec<u64>) {
    let shape = HyperLogLog::new(PRECISION).expect("a precision");
    (shape, vec![0; shape.words()])
}

fn errors() {
    let (steps, runs): (&[u64], u64) = match (is_measuring(), is_short()) {
        (false, _) => (&[10_000], 1),
        (true, true) => (&[1_000_000, 10_000_000], 5),
        (true, false) => (&[1_000_000, 10_000_000, 100_000_000], 20),
    };
    let mut squares = vec![[0.0, 0.0]; steps.len()];
    for run in 0..runs {
        let ((shape, mut words), mut martingale) = (distinct(), Martingale::default());
        let (mut keys, mut added) = (keys(run), 0);
        for (&step, squares) in steps.iter().zip(&mut squares) {
            for key in keys.by_ref().take((step - added) as usize) {
                if let Some(change) = shape.add(&mut words, key) {
                    martingale.note(shape, change);
                }
            }
            added = step;
            let told = [shape.estimate(&words), martingale.estimate().unwrap_or(f64::NAN)];
            for (sum, told) in squares.iter_mut().zip(told) {
                *sum += (told / step as f64 - 1.0).powi(2);
            }
        }
    }
    let root = f64::from(1u32 << PRECISION).sqrt();
    println!(
        "\n\
        distinct keys, 2^{PRECISION} registers, {runs} runs: root mean square error of the registers, of the martingale"
    );
    for (step, squares) in steps.iter().zip(squares) {
        let [registers, martingale] = squares.map(|sum| 100.0 * (sum / runs as f64).sqrt());
        println!("  {registers:8.3} %  {martingale:8.3} %  {step} keys");
    }
    println!("  {:8.3} %  {:8.3} %  theory", 104.0 / root, 83.3 / root);
}

fn batch<'a>(mut add: impl FnMut(Key) + 'a) -> Box<dyn FnMut() + 'a> {
    let mut keys = keys(7);
    Box::new(move || keys.by_ref().take(BATCH).for_each(&mut add))
}

fn additions() {
    let (shape, words) = distinct();
    let (registers, counted) = (RefCell::new(words.clone()), RefCell::new((words, Martingale::default())));
    let counts = [(2, 1 << 16), (4, 1 << 15), (3, 1 << 23)].map(|(depth, width)| {
        let shape = CountMin::new(width, depth).expect("a shape");
        (shape, RefCell::new(vec![0; shape.words()]))
    });
    let names = ["Count-Min, 2 rows, 1 MiB", "Count-Min, 4 rows, 1 MiB", "Count-Min, 3 rows, 192 MiB"];
    let mut ways = vec![
        ("a key, made and not added", batch(|key| _ = black_box(key))),
        ("HyperLogLog, 12 KiB", batch(|key| _ = black_box(shape.add(&mut registers.borrow_mut(), key)))),
        (
            "HyperLogLog with martingale",
            batch(|key| {
                let (words, martingale) = &mut *counted.borrow_mut();
                if let Some(change) = shape.add(words, key) {
                    martingale.note(shape, change);
                }
            }),
        ),
    ];
    for (name, (shape, cells)) in names.into_iter().zip(&counts) {
        ways.push((name, batch(|key| shape.add(&mut cells.borrow_mut(), key, 1))));
    }
    compare("one addition", BATCH, ways);
}

fn reading() {
    let (shape, mut words) = distinct();
    keys(1).take(1_000_000).for_each(|key| _ = shape.add(&mut words, key));
    let mut into = words.clone();
    let estimate: Box<dyn FnMut()> = Box::new(|| _ = black_box(shape.estimate(black_box(&words))));
    let merge: Box<dyn FnMut() + '_> = Box::new(|| shape.merge(black_box(&mut into), black_box(&words)));
    compare("all 2^14 registers", 1, vec![("HyperLogLog, estimate", estimate), ("HyperLogLog, merge", merge)]);
}

fn one_by_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sketch");
    let (shape, mut words) = distinct();
    let mut stream = keys(3);
    group.bench_function("HyperLogLog::add", |b| {
        b.iter(|| stream.next().and_then(|key| shape.add(&mut words, key)));
    });
    let shape = CountMin::new(1 << 16, 2).expect("a shape");
    let mut cells = vec![0; shape.words()];
    group.bench_function("CountMin::add, 1 MiB", |b| {
        b.iter(|| stream.next().map(|key| shape.add(&mut cells, key, 1)));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    one_by_one(&mut criterion);
    criterion.final_summary();
    if !is_listing() {
        additions();
        reading();
        errors();
    }
}
