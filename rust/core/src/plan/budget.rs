//! How the memory asked for is shared out.
//!
//! A stated share is taken as it is. Of the rest, half goes to the seen_sets of known elements, half to the rate tables
//! in proportion to W/L: how long one message occupies a slot. No table is below [`FLOOR_PAGES`].

use crate::region::PAGE_BYTES;

/// The smallest table: 64 KiB.
pub(super) const FLOOR_PAGES: u64 = 65_536 / PAGE_BYTES;

/// Pages of the region that no table gets: the header.
pub(super) const HEADER_PAGES: u64 = 1;

/// One table's claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// A stated share, in bytes.
    pub(super) stated: Option<u64>,
    /// Its part of the half, when there is no stated share.
    pub(super) weight: u128,
    /// Which half.
    pub(super) half: Half,
}

/// The two halves of what is not stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// Memories of known elements.
    Memories,
    /// Rate tables.
    Rates,
}

/// Pages for each claim, in order, out of `memory_bytes`; `Err` with the bytes that would do.
pub(super) fn share_out(memory_bytes: u64, claims: &[Claim]) -> Result<Vec<u32>, u64> {
    let stated = |claim: &Claim| claim.stated.map(|bytes| (bytes / PAGE_BYTES).max(1));
    let pages = memory_bytes / PAGE_BYTES;
    let fixed = claims.iter().filter_map(stated).fold(HEADER_PAGES, u64::saturating_add);
    let open = |half| claims.iter().filter(move |claim| claim.half == half && claim.stated.is_none());
    let floor = |half| open(half).count() as u64 * FLOOR_PAGES;
    let least = fixed.saturating_add(floor(Half::Memories)).saturating_add(floor(Half::Rates));
    if pages < least {
        return Err(least.saturating_mul(PAGE_BYTES));
    }
    let rest = pages - fixed;
    let seen_sets = match (floor(Half::Memories), floor(Half::Rates)) {
        (0, _) => 0,
        (_, 0) => rest,
        (low, high) => (rest / 2).clamp(low, rest - high),
    };
    let unit = |half, budget: u64| Filling::of(open(half).map(|claim| claim.weight).collect(), budget);
    let (filled_memories, filled_rates) = (unit(Half::Memories, seen_sets), unit(Half::Rates, rest - seen_sets));
    let pages = |claim: &Claim| match (stated(claim), claim.half) {
        (Some(pages), _) => pages,
        (None, Half::Memories) => filled_memories.pages(claim.weight),
        (None, Half::Rates) => filled_rates.pages(claim.weight),
    };
    Ok(claims.iter().map(|claim| u32::try_from(pages(claim)).unwrap_or(u32::MAX)).collect())
}

/// A budget shared in proportion to weights, none below the floor.
struct Filling {
    /// Pages left for the claims above the floor, and the sum of their weights.
    budget: u64,
    weight: u128,
}

impl Filling {
    /// Takes claims off, the lightest first, while their part of the rest is below the floor.
    fn of(mut weights: Vec<u128>, mut budget: u64) -> Self {
        weights.sort_unstable();
        let mut weight: u128 = weights.iter().sum();
        for light in weights {
            if u128::from(budget) * light >= u128::from(FLOOR_PAGES) * weight {
                break;
            }
            budget -= FLOOR_PAGES;
            weight -= light;
        }
        Self { budget, weight }
    }

    fn pages(&self, weight: u128) -> u64 {
        let part = (u128::from(self.budget) * weight).checked_div(self.weight).unwrap_or(0);
        u64::try_from(part).unwrap_or(u64::MAX).max(FLOOR_PAGES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(half: Half, weight: u128) -> Claim {
        Claim { stated: None, weight, half }
    }

    #[test]
    fn half_goes_to_memories_and_rates_share_by_weight_above_the_floor() {
        let claims = [open(Half::Memories, 1), open(Half::Rates, 3), open(Half::Rates, 1), open(Half::Rates, 0)];
        assert_eq!(share_out(PAGE_BYTES * 1025, &claims), Ok(vec![512, 372, 124, 16]));
    }

    #[test]
    fn too_little_says_how_much_would_do() {
        let claims = [open(Half::Memories, 1), Claim { stated: Some(1 << 20), ..open(Half::Rates, 1) }];
        let least = PAGE_BYTES * (1 + 16 + 256);
        assert_eq!(share_out(least - 1, &claims), Err(least));
        assert_eq!(share_out(least, &claims), Ok(vec![16, 256]));
    }

    proptest! {
        #[test]
        fn never_more_than_asked_for_and_never_below_the_floor(
            weights in prop::collection::vec((any::<bool>(), 0u128..1 << 40), 1..20), pages in 0u64..1 << 24,
        ) {
            let claims: Vec<Claim> = weights.iter()
                .map(|&(memory, weight)| open(if memory { Half::Memories } else { Half::Rates }, weight)).collect();
            if let Ok(shares) = share_out(pages * PAGE_BYTES, &claims) {
                prop_assert!(shares.iter().map(|&p| u64::from(p)).sum::<u64>() + HEADER_PAGES <= pages);
                prop_assert!(shares.iter().all(|&p| u64::from(p) >= FLOOR_PAGES));
            } else {
                prop_assert!(pages < HEADER_PAGES + FLOOR_PAGES * claims.len() as u64);
            }
        }
    }
}
