//! The region: which pages it takes over, and what threads may know of it without its lock.

use throttle_core::region::{COUNTERS, NotARegion, OpenPermits, Page, Region, SharedRegion};

#[test]
fn pages_are_taken_over_as_they_are_and_others_are_refused() {
    let (mut region, tables) = Region::new(&[2]).expect("three pages");
    region.line_mut(tables[0].line_at(1, 3)).stamp = 7;
    region.set_permits(OpenPermits { open: 1, ..OpenPermits::default() });
    region.count_untracked(COUNTERS - 1);
    let pages = region.into_pages();
    let again = Region::over(pages.clone()).expect("a region of this version");
    assert_eq!(again.line(tables[0].line_at(1, 3)).stamp, 7);
    assert_eq!((again.permits().open, again.untracked(COUNTERS - 1)), (1, 1));
    assert!(SharedRegion::new(again).may_have_in_flight());

    let with_word = |word: usize, value: u64| {
        let mut pages = pages.clone();
        bytemuck::cast_slice_mut::<Page, u64>(&mut pages)[word] = value;
        Region::over(pages).err()
    };
    assert_eq!(with_word(0, 1), Some(NotARegion::OtherMagic(1)));
    assert_eq!(with_word(1, 2), Some(NotARegion::OtherVersion(2)));
    assert_eq!(with_word(2, 2), None);
    assert_eq!(Region::over(Box::new([])).err(), Some(NotARegion::Empty));
}

#[test]
fn the_hint_follows_what_is_open() {
    let shared = SharedRegion::new(Region::new(&[1]).expect("two pages").0);
    assert!(!shared.may_have_in_flight());
    shared.lock().set_permits(OpenPermits { open: 2, ..OpenPermits::default() });
    assert!(shared.may_have_in_flight());
    shared.lock().set_permits(OpenPermits::default());
    assert!(!shared.may_have_in_flight());
}
