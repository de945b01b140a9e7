//! The region: which pages it takes over, what threads may know of it without its lock, engine time, and its lines.

use proptest::prelude::*;
use throttle_core::region::{COUNTERS, Epoch, NotARegion, Now, OpenPermits, Page, Region, SharedRegion};
use throttle_core::region::{LINES, Line, SLOTS};
use throttle_core::time::MAX_US;

#[test]
fn pages_are_taken_over_as_they_are_and_others_are_refused() {
    let (mut region, tables) = Region::new(&[2]).expect("three pages");
    region.line_mut(tables[0].line(LINES + 3)).stamp = 7;
    region.set_permits(OpenPermits { open: 1, ..OpenPermits::default() });
    region.header_mut().untracked[COUNTERS - 1] += 1;
    let pages = region.into_pages();
    let again = Region::over(pages.clone()).expect("a region of this version");
    assert_eq!(again.line(tables[0].line(LINES + 3)).stamp, 7);
    assert_eq!((again.permits().open, again.header().untracked[COUNTERS - 1]), (1, 1));
    let hints = SharedRegion::new(again).hints;
    assert!(hints.has_open_permits.get() && hints.has_reports.get(), "pages may hold reports");

    let with_word = |word: usize, value: u64| {
        let mut pages = pages.clone();
        bytemuck::cast_slice_mut::<Page, u64>(&mut pages)[word] = value;
        Region::over(pages).err()
    };
    assert_eq!(with_word(0, 1), Some(NotARegion::OtherMagic(1)));
    assert_eq!(with_word(1, 1), Some(NotARegion::OtherVersion(1)));
    assert_eq!(with_word(2, 2), None);
    assert_eq!(Region::over(Box::new([])).err(), Some(NotARegion::Empty));
}

#[test]
fn the_hint_follows_what_is_open() {
    let shared = SharedRegion::new(Region::new(&[1]).expect("two pages").0);
    assert!(!shared.hints.has_open_permits.get());
    shared.lock().set_permits(OpenPermits { open: 2, ..OpenPermits::default() });
    assert!(shared.hints.has_open_permits.get());
    shared.lock().set_permits(OpenPermits::default());
    assert!(!shared.hints.has_open_permits.get());
}

#[test]
fn the_hint_of_reports_is_set_by_the_first_one() {
    let shared = SharedRegion::new(Region::new(&[1]).expect("two pages").0);
    assert!(!shared.hints.has_reports.get());
    shared.lock().count_report(1);
    assert!(shared.hints.has_reports.get());
}

const START: Epoch = Epoch { last_us: 0, offset_us: 0 };

#[test]
fn a_small_step_back_stands_still_and_a_large_one_shifts_the_offset() {
    let at_ten = START.at(Now::Clock(10_000_000));
    assert_eq!(at_ten.at(Now::Clock(9_000_001)), at_ten);
    let stepped = at_ten.at(Now::Clock(9_000_000));
    assert_eq!(stepped, Epoch { last_us: 10_000_000, offset_us: 1_000_000 });
    assert_eq!(stepped.at(Now::Clock(9_000_001)).last_us, 10_000_001);
}

#[test]
fn a_stated_time_is_clamped_and_leaves_the_offset() {
    let at_ten = START.at(Now::Clock(10_000_000));
    assert_eq!(at_ten.at(Now::Stated(-5)), at_ten);
    assert_eq!(at_ten.at(Now::Stated(11_000_000)), Epoch { last_us: 11_000_000, offset_us: 0 });
}

#[test]
fn any_distance_keeps_engine_time_rising_and_bounded() {
    let mut epoch = START;
    for us in [i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN, 1_637_889_600_000_000] {
        for now in [Now::Clock(us), Now::Stated(us)] {
            let next = epoch.at(now);
            assert!(next.last_us >= epoch.last_us && next.last_us <= MAX_US, "{epoch:?} {now:?} {next:?}");
            epoch = next;
        }
    }
}

/// Halves of a word that meet each other, and the edges of signed and unsigned numbers.
fn half() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..4, (1u32 << 31) - 2..(1 << 31) + 2, u32::MAX - 3..=u32::MAX, any::<u32>()]
}

fn line() -> impl Strategy<Value = Line> {
    let slot = (half(), half()).prop_map(|(upper, lower)| u64::from(upper) << 32 | u64::from(lower));
    (half(), prop::array::uniform7(slot)).prop_map(|(stamp, slots)| Line { stamp: stamp.into(), slots })
}

/// The slots that pass a test, as bits: one after the other.
fn bits(line: &Line, passes: impl Fn(u64) -> bool) -> u32 {
    (0..SLOTS).map(|slot| u32::from(passes(line.slots[slot])) << slot).sum()
}

proptest! {
    #[test]
    fn slots_compared_at_once_are_those_compared_one_by_one(line in line(), wanted in half(), gap in half()) {
        let is_later = |slot: u64| (slot as u32).wrapping_sub(line.stamp as u32) > gap;
        let is_wanted = |slot: u64| (slot >> 32) as u32 == wanted;
        let other = Line { stamp: line.stamp, slots: line.slots.map(|slot| slot.rotate_left(32)) };
        prop_assert_eq!(Line::matching([&line, &other], wanted), bits(&line, is_wanted) | bits(&other, is_wanted) << 8);
        prop_assert_eq!(line.later(gap), bits(&line, |slot| slot >> 32 != 0 && is_later(slot)));
        let mut kept = line;
        kept.keep_later(gap, 7);
        prop_assert_eq!(kept, Line { stamp: 7, slots: line.slots.map(|slot| if is_later(slot) { slot } else { 0 }) });
    }
}

#[test]
fn a_slot_is_found_at_its_place_and_a_time_counts_from_the_stamp() {
    let line = |stamp| Line { stamp, slots: std::array::from_fn(|slot| (slot as u64 + 1) << 32 | (101 + slot as u64)) };
    assert_eq!(Line::matching([&line(100), &line(107)], 3), 1 << 2 | 1 << 10);
    assert_eq!(line(100).later(5), 1 << 5 | 1 << 6);
    assert_eq!(line(107).later(5), 0b011_1111);
    let mut kept = line(100);
    kept.keep_later(5, 100);
    assert_eq!(kept.slots, [0, 0, 0, 0, 0, line(100).slots[5], line(100).slots[6]]);
}
