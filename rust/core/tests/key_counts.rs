//! Counts by key against a dictionary, with keys that crowd together and around the end of the table.

mod oracle;

use std::collections::HashMap;

use oracle::key;
use proptest::prelude::*;
use throttle_core::key::Key;
use throttle_core::region::Region;
use throttle_core::store::key_counts::KeyCounts;

fn tally(most: u64, columns: usize) -> (Region, KeyCounts) {
    let pages = u32::try_from(KeyCounts::bytes(most, columns) / 4096).expect("a small tally");
    let (region, tables) = Region::new(&[pages]).expect("as much memory as that");
    (region, KeyCounts::new(tables[0], most, columns))
}

fn held(tally: &KeyCounts, region: &Region, key: Key, column: usize) -> u64 {
    tally.held(region, tally.find(region, key), column)
}

/// Every column of every key, and nothing besides.
fn agrees(tally: &KeyCounts, region: &Region, exact: &HashMap<(Key, usize), u64>, keys: &[Key], columns: usize) {
    for &key in keys {
        let row = (0..columns).map(|column| exact.get(&(key, column)).copied().unwrap_or(0));
        let row: Vec<u64> = row.collect();
        let found: Vec<u64> = (0..columns).map(|column| held(tally, region, key, column)).collect();
        assert_eq!(found, row, "{key:?}");
        assert_eq!(tally.find(region, key).is_some(), row.iter().any(|&count| count > 0), "{key:?}");
    }
    let rows: std::collections::HashSet<Key> =
        exact.iter().filter(|(_, count)| **count > 0).map(|((key, _), _)| *key).collect();
    assert_eq!(tally.used(region), rows.len() as u64);
    for column in 0..columns {
        let most = exact.iter().filter(|((_, at), _)| *at == column).map(|(_, count)| *count).max().unwrap_or(0);
        let found = (0..tally.table.pages()).map(|page| tally.most(region, page, column)).max();
        assert_eq!(found, Some(most), "column {column}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_counts_what_a_dictionary_counts(
        most in 1u64..40, columns in 1usize..6, crowd in 0u64..4,
        steps in prop::collection::vec(
            (any::<prop::sample::Index>(), 0u64..60, any::<prop::sample::Index>(), 1u64..1 << 50), 1..200,
        ),
    ) {
        let (mut region, tally) = tally(most, columns);
        let mut exact: HashMap<(Key, usize), u64> = HashMap::new();
        // What each permit holds, so that a release is of what was held.
        let mut open: Vec<(Key, usize, u64)> = Vec::new();
        let keys: Vec<Key> = (0..60).map(|number| match crowd {
            0 => key(number),
            1 => Key(u64::MAX - number),
            2 => Key(2 + number),
            _ => Key(((number % 3) << 62) | (number + 2)),
        }).collect();
        for (choice, number, column, amount) in steps {
            if (open.len() as u64) < most && (open.is_empty() || number % 2 == 0) {
                let (key, column) = (keys[usize::try_from(number).expect("small")], column.index(columns));
                tally.add(&mut region, key, column, amount);
                *exact.entry((key, column)).or_default() += amount;
                open.push((key, column, amount));
            } else if !open.is_empty() {
                let (key, column, amount) = open.swap_remove(choice.index(open.len()));
                tally.take(&mut region, key, column, amount);
                *exact.entry((key, column)).or_default() -= amount;
            }
            agrees(&tally, &region, &exact, &keys, columns);
        }
        for (key, column, amount) in open.drain(..) {
            tally.take(&mut region, key, column, amount);
        }
        prop_assert!(region.words(&tally.table).iter().all(|&word| word == 0), "something is left");
    }
}

/// Every permit with a key of its own: the fullest that it can be.
#[test]
fn it_cannot_fill_and_its_probes_stay_short() {
    const MOST: u64 = 10_000;
    let (mut region, tally) = tally(MOST, 3);
    for number in 0..MOST {
        tally.add(&mut region, key(number), (number % 3) as usize, 1 + number);
    }
    for number in 0..MOST {
        assert_eq!(held(&tally, &region, key(number), (number % 3) as usize), 1 + number);
    }
    assert_eq!(tally.used(&region), MOST);
    // A row is four words: how far it is from one that stands there to the next free one is how long a probe from there
    // is.
    let rows: Vec<bool> = region.words(&tally.table)[4..].chunks(4).take(15_000).map(|row| row[0] != 0).collect();
    let around = rows.iter().chain(&rows);
    let (mut run, mut longest, mut probes) = (0u64, 0u64, 0u64);
    for (place, &used) in around.enumerate() {
        run = if used { run + 1 } else { 0 };
        if place >= rows.len() {
            longest = longest.max(run);
            // As seen from behind, which for a sum over all rows is the same.
            probes += run + 1;
        }
    }
    let average = probes as f64 / rows.len() as f64;
    println!("two thirds full: {average:.2} rows for a key that is not there on average, {longest} at most");
    assert!((4.5..5.5).contains(&average), "theory says 5");
    assert!(longest < 150);
    for number in 0..MOST {
        tally.take(&mut region, key(number), (number % 3) as usize, 1 + number);
    }
    assert!(region.words(&tally.table).iter().all(|&word| word == 0), "something is left");
}
