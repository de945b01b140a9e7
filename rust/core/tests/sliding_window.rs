//! The sliding-window table against a list of events.

mod oracle;

use oracle::{Windows, key};
use proptest::prelude::*;
use throttle_core::key::Key;
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::Region;
use throttle_core::store::sliding_window::SlidingWindow;
use throttle_core::store::{SlotReservations, Verdict};

const SECOND_US: u64 = 1_000_000;

/// Limits at both sides of every change of a slot's shape, and those that people write.
const LIMITS: [u64; 20] = [
    1,
    2,
    3,
    5,
    7,
    8,
    63,
    64,
    100,
    500,
    3_000,
    65_535,
    65_536,
    (1 << 19) - 1,
    1 << 19,
    (1 << 32) - 1,
    1 << 37,
    (1 << 38) - 1,
    1 << 38,
    1 << 50,
];

/// The end of engine time that is tested: half of all that there is.
const LAST_US: u64 = 1 << 59;

const PERIODS: [u64; 6] = [1, 7, 60, 600, 3_600, 86_400];

const STARTS: [u64; 3] = [0, 1, 1_637_889_600_000_000];

fn rate(amount: u64, seconds: u64) -> Rate {
    Rate { amount, period_us: seconds * SECOND_US, sized: false }
}

fn windows(pages: u32, rate: Rate, when_full: WhenFull) -> (Region, SlidingWindow) {
    let (region, tables) = Region::new(&[pages]).expect("little enough memory");
    (region, SlidingWindow::new(tables[0], rate, when_full).expect("a period that a clock can count"))
}

/// Keys of the same two lines: what is written for one must leave the others.
fn neighbour(number: u64) -> Key {
    Key(0x0123_4567 << 32 | (number + 1))
}

fn consult(window: &SlidingWindow, region: &Region, key: Key, now_us: u64, amount: u64) -> Verdict {
    window
        .consult(
            region,
            &window.table.candidates(key),
            window.ticks_at(now_us),
            amount,
            &mut SlotReservations::default(),
        )
        .0
}

fn charge(window: &SlidingWindow, region: &mut Region, key: Key, now_us: u64, amount: u64) -> bool {
    let at = window.table.candidates(key);
    let now = window.ticks_at(now_us);
    let (_, spot) = window.consult(region, &at, now, amount, &mut SlotReservations::default());
    window.charge(region, &at, spot, now, amount)
}

/// A limit, a time to start at and steps from there: how long to wait, how much to ask, how often, and for which key.
#[derive(Clone, Debug)]
struct Schedule {
    rate: Rate,
    start_us: u64,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    pause: Pause,
    /// In parts of 2³² of the limit; and so much more.
    part: u32,
    more: u64,
    times: u8,
    who: u64,
}

#[derive(Clone, Copy, Debug)]
enum Pause {
    /// So many microseconds.
    Micros(u64),
    /// In parts of 2¹⁶ of the period.
    Part(u64),
    /// To the n-th pane's edge from here, and so far off it.
    Edge(u64, i64),
}

impl Pause {
    fn end_us(self, now_us: u64, window: &SlidingWindow, period_us: u64) -> u64 {
        let pane_us = period_us.div_ceil(window.panes().into());
        match self {
            Self::Micros(us) => now_us + us,
            Self::Part(part) => now_us + ((u128::from(period_us) * u128::from(part)) >> 16) as u64,
            Self::Edge(n, off) => (now_us / pane_us + n).saturating_mul(pane_us).saturating_add_signed(off).max(now_us),
        }
    }
}

fn steps(pause: impl Strategy<Value = Pause>, times: std::ops::Range<u8>) -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![4 => Just(0u32), 2 => any::<u32>(), 1 => Just(u32::MAX), 1 => 0..u32::MAX / 8];
    let step = (pause, part, 0u64..3, times, 0u64..4);
    prop::collection::vec(
        step.prop_map(|(pause, part, more, times, who)| Step { pause, part, more, times, who }),
        1..70,
    )
}

fn schedules(pause: impl Strategy<Value = Pause>, times: std::ops::Range<u8>) -> impl Strategy<Value = Schedule> {
    let amount = prop_oneof![prop::sample::select(&LIMITS[..]), 1u64..200, 1u64..=65_535];
    let period = prop_oneof![prop::sample::select(&PERIODS[..]), 1u64..100_000];
    (amount, period, prop::sample::select(&STARTS[..]), steps(pause, times))
        .prop_map(|(amount, seconds, start_us, steps)| Schedule { rate: rate(amount, seconds), start_us, steps })
}

fn edge() -> impl Strategy<Value = Pause> {
    (0u64..22, -2i64..3).prop_map(|(n, off)| Pause::Edge(n, off))
}

fn drip() -> impl Strategy<Value = Pause> {
    prop_oneof![(0u64..4_000).prop_map(Pause::Part), (0u64..3).prop_map(Pause::Micros)]
}

fn idle() -> impl Strategy<Value = Pause> {
    let wraps = (prop::sample::select(vec![8u32, 16, 31, 32, 33, 48]), 1u64..4, -2i64..20)
        .prop_map(|(bits, n, off)| Pause::Edge((n << bits).saturating_add_signed(off).min(1 << 30), 0));
    let years = (0u64..3).prop_map(|us| Pause::Micros(100 * 365 * 86_400 * SECOND_US + us));
    prop_oneof![wraps, years, (0u64..200_000).prop_map(Pause::Part)]
}

/// P4: nothing ever counts above the limit. Whoever keeps it in one pane more than the window is admitted.
/// P10: refused until the time told, admitted at it.
fn holds(schedule: &Schedule) -> Result<(), TestCaseError> {
    let Schedule { rate, start_us, steps } = schedule;
    let (mut region, window) = windows(1, *rate, WhenFull::Refuse);
    let pane_us = rate.period_us.div_ceil(window.panes().into());
    let mut exact = Windows::new(rate.period_us);
    let mut careful = Windows::new(pane_us * u64::from(window.panes() + 1));
    let mut now = *start_us;
    for &Step { pause, part, more, times, who } in steps {
        now = pause.end_us(now, &window, rate.period_us);
        if now > LAST_US {
            break;
        }
        let cost = ((u128::from(rate.amount) * u128::from(part)) >> 32) as u64 + more;
        let units = cost.div_ceil(window.unit) * window.unit;
        for _ in 0..times {
            let verdict = consult(&window, &region, neighbour(who), now, cost);
            if window.unit == 1 && careful.counted(&who, now) + cost <= rate.amount {
                prop_assert_eq!(verdict, Verdict::Fits, "who keeps the limit is refused");
            }
            match verdict {
                Verdict::Fits => {
                    prop_assert!(charge(&window, &mut region, neighbour(who), now, cost));
                    exact.charge(who, now, cost);
                    careful.charge(who, now, cost);
                    let counted = exact.counted(&who, now);
                    prop_assert!(counted <= rate.amount, "{} in a window of {}", counted, rate.amount);
                }
                Verdict::From(until) => {
                    prop_assert!(until > now);
                    prop_assert_eq!(consult(&window, &region, neighbour(who), until - 1, cost), verdict);
                    prop_assert_eq!(consult(&window, &region, neighbour(who), until, cost), Verdict::Fits);
                }
                Verdict::Never => prop_assert!(units > rate.amount / window.unit * window.unit),
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn bursts_at_the_edges_of_panes_keep_the_limit(schedule in schedules(edge(), 1..9)) {
        holds(&schedule)?;
    }

    #[test]
    fn drips_keep_the_limit(schedule in schedules(drip(), 1..4)) {
        holds(&schedule)?;
    }

    #[test]
    fn mixtures_keep_the_limit(schedule in schedules(prop_oneof![edge(), drip(), drip()], 1..7)) {
        holds(&schedule)?;
    }

    #[test]
    fn idle_times_of_any_length_keep_the_limit(schedule in schedules(prop_oneof![idle(), edge(), drip()], 1..5)) {
        holds(&schedule)?;
    }
}

/// How many of `count` messages are refused that each cost `cost` and come `d` apart, times rounded down:
/// d = `parts`/`of` of a window.
fn refused(
    window: &SlidingWindow, region: &mut Region, start_us: u64, step: (u128, u128), cost: u64, count: u64,
) -> u64 {
    let at_us = |n: u64| start_us + (u128::from(n) * step.0 / step.1) as u64;
    let send = |n: &u64| {
        let fits = consult(window, region, key(1), at_us(*n), cost) == Verdict::Fits;
        fits && charge(window, region, key(1), at_us(*n), cost)
    };
    count - (0..count).filter(send).count() as u64
}

/// A cost that divides `amount` and makes few enough messages of it.
fn part_of(amount: u64) -> u64 {
    let few = |cost: &u64| amount / cost < 1 << 20 && amount % cost == 0;
    [1, 65_537, 3 * 524_287, 1 << 21, 1 << 33].into_iter().find(few).expect("a cost for every limit")
}

#[test]
fn an_evenly_spaced_sender_at_four_fifths_of_the_limit_is_never_refused() {
    for amount in LIMITS {
        let cost = part_of(amount);
        let messages = amount / cost;
        let periods = if messages > 1 << 17 { &PERIODS[2..3] } else { &PERIODS[..] };
        for &seconds in periods {
            let period_us = seconds * SECOND_US;
            // 0.8 · messages in a window: one in 5/(4 · messages) of it.
            let step = (5 * u128::from(period_us), 4 * u128::from(messages));
            let count = (messages * 2).max(20);
            for phase in [0, 1, 499_999, period_us / 3, period_us - 1] {
                let (mut region, window) = windows(1, rate(amount, seconds), WhenFull::Refuse);
                let turned_away = refused(&window, &mut region, STARTS[2] + phase, step, cost, count);
                assert_eq!(turned_away, 0, "{amount} in {seconds} s, by {cost}, phase {phase}");
            }
            let (mut region, window) = windows(1, rate(amount, seconds), WhenFull::Refuse);
            let step = (step.0 * 76, step.1 * 100);
            let turned_away = refused(&window, &mut region, STARTS[2], step, cost, count);
            assert!(turned_away > 0, "{amount} in {seconds} s: 1.05 of the limit passes");
        }
    }
}

#[test]
fn a_cost_over_the_limit_never_fits_and_one_of_the_limit_does() {
    for amount in [1, 10, 65_535, 1 << 30] {
        let (mut region, window) = windows(1, rate(amount, 60), WhenFull::Admit);
        assert_eq!(consult(&window, &region, key(1), 0, amount + 1), Verdict::Never);
        assert_eq!(consult(&window, &region, key(1), 0, u64::MAX), Verdict::Never);
        assert_eq!(consult(&window, &region, key(1), 0, amount), Verdict::Fits);
        assert!(charge(&window, &mut region, key(1), 0, amount));
        assert!(matches!(consult(&window, &region, key(1), 59 * SECOND_US, 1), Verdict::From(_)));
    }
}

#[test]
fn what_counts_is_told_by_the_first_microsecond_of_a_pane() {
    let (mut region, window) = windows(1, rate(100, 60), WhenFull::Refuse);
    assert_eq!(window.panes(), 12);
    for (now, cost) in [(0, 30), (5 * SECOND_US - 1, 10), (5 * SECOND_US, 60)] {
        assert!(charge(&window, &mut region, key(1), now, cost));
    }
    // The first 40 leave together when the pane that ends at 5 s has left the window, the 60 one pane later.
    assert_eq!(consult(&window, &region, key(1), 6 * SECOND_US, 40), Verdict::From(65 * SECOND_US));
    assert_eq!(consult(&window, &region, key(1), 6 * SECOND_US, 41), Verdict::From(70 * SECOND_US));
    assert_eq!(consult(&window, &region, key(1), 6 * SECOND_US, 0), Verdict::Fits);
}

#[test]
fn what_comes_in_the_last_microsecond_of_a_pane_counts_for_a_whole_window() {
    for amount in LIMITS {
        for seconds in [1, 7, 11, 13, 60, 97, 86_399] {
            let told = |now_us: u64| {
                let (mut region, window) = windows(1, rate(amount, seconds), WhenFull::Refuse);
                assert!(charge(&window, &mut region, key(1), now_us, amount));
                match consult(&window, &region, key(1), now_us, amount) {
                    Verdict::From(until) => until,
                    verdict => panic!("{amount} twice at once: {verdict:?}"),
                }
            };
            // What is told is where a pane begins.
            let last = told(STARTS[2]) - 1;
            let waits = [told(last) - last, told(last + 1) - (last + 1)];
            assert!(waits[0] >= seconds * SECOND_US, "{amount} in {seconds} s: {waits:?}");
            assert!(
                waits[0] < waits[1] && waits[1] * 4 <= seconds * SECOND_US * 5,
                "{amount} in {seconds} s: {waits:?}"
            );
        }
    }
}

#[test]
fn a_full_table_never_evicts_and_says_when_a_slot_is_free() {
    for (amount, slots, panes) in [(1, 192, 15), (1 << 37, 128, 4)] {
        let seconds = 60;
        let (mut region, window) = windows(1, rate(amount, seconds), WhenFull::Refuse);
        assert_eq!((window.slots(), window.panes()), (slots, panes));
        let free_at = seconds * SECOND_US / u64::from(panes) * u64::from(panes + 1);
        let mut tracked = Vec::new();
        for number in 0..2_000 {
            match consult(&window, &region, key(number), SECOND_US, amount) {
                Verdict::Fits => {
                    assert!(charge(&window, &mut region, key(number), SECOND_US, amount));
                    tracked.push(number);
                }
                verdict => assert_eq!(verdict, Verdict::From(free_at)),
            }
        }
        assert!(tracked.len() as u64 > slots * 9 / 10, "{slots} slots hold {}", tracked.len());
        assert_eq!(window.used(&region, 0, free_at - 1), tracked.len() as u64);
        for number in tracked {
            assert_eq!(consult(&window, &region, key(number), free_at - 1, 1), Verdict::From(free_at));
            assert_eq!(consult(&window, &region, key(number), free_at, 1), Verdict::Fits);
        }
        assert_eq!(window.used(&region, 0, free_at), 0, "a slot whose panes have expired is free");
    }
}

#[test]
fn admit_counts_nothing_for_a_key_without_room_and_refuse_promises_no_slot_twice() {
    let (mut region, window) = windows(1, rate(100, 60), WhenFull::Admit);
    let untracked = (0..2_000).filter(|&number| !charge(&window, &mut region, key(number), 0, 1)).count();
    assert_eq!(2_000 - untracked as u64, window.used(&region, 0, 0));
    for (amount, slots) in [(100, 6), (1 << 30, 4)] {
        let (region, window) = windows(1, rate(amount, 60), WhenFull::Refuse);
        let mut promised = SlotReservations::with_room(slots);
        let mut ask =
            || window.consult(&region, &window.table.candidates(key(1)), window.ticks_at(0), 1, &mut promised).0;
        assert!((0..slots).all(|_| ask() == Verdict::Fits));
        assert_eq!(ask(), Verdict::Never, "two lines of {} slots", slots / 2);
    }
}

#[test]
fn limits_above_256_gib_are_kept_in_units_rounded_up() {
    let tib = 1u64 << 40;
    let (mut region, window) = windows(1, rate(tib, 3_600), WhenFull::Refuse);
    assert_eq!(window.unit, 8);
    let mut sent = 0;
    while consult(&window, &region, key(1), 0, 1_000_000_001) == Verdict::Fits {
        charge(&window, &mut region, key(1), 0, 1_000_000_001);
        sent += 1_000_000_001;
    }
    assert!(sent <= tib && sent > tib - 2_000_000_000, "{sent} of {tib}");
    assert!(charge(&window, &mut region, key(2), 0, tib - 8));
    assert!(charge(&window, &mut region, key(2), 0, 1));
    assert!(matches!(consult(&window, &region, key(2), 0, 1), Verdict::From(_)), "a part of a unit is free");
}
