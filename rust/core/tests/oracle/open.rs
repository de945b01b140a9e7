//! What is open, as a list: every count is a sum over it.

/// One permit: who holds what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) net: u8,
    pub(crate) host: u8,
    pub(crate) bytes: u64,
    /// Whether it was admitted as a neighbour's: under the limit on messages, and under that on bytes.
    pub(crate) is_neighbour: [bool; 2],
}

/// A tier: one in how many of what is free, and who shares.
pub(crate) type Share<'s> = (u64, &'s dyn Fn(&Held) -> bool);

/// Permits that are not released.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open(pub(crate) Vec<Held>);

/// What the oracle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Fits,
    FitsNeighbour,
    Full,
    Never,
}

impl Open {
    /// A sum over those that `belongs` takes: 1 each, or the bytes.
    pub(crate) fn sum(&self, bytes: bool, belongs: impl Fn(&Held) -> bool) -> u64 {
        self.0.iter().filter(|held| belongs(held)).map(|held| if bytes { held.bytes } else { 1 }).sum()
    }

    /// A cap, of which `reserve` is kept for those that hold nothing; they may always take `first`. Each tier has 1/`a`
    /// of what is free before the message, less the reserve. Who holds nothing in the first tier may take `first` as a
    /// neighbour, too. Each of the other tiers may hold 1/`a` of what is left of a quarter of the reserve.
    pub(crate) fn room(
        &self, [cap, reserve, first]: [u64; 3], amount: u64, bytes: bool, mine: impl Fn(&Held) -> bool,
        tiers: &[Share<'_>],
    ) -> Room {
        let mine_as_neighbour = |held: &Held| held.is_neighbour[usize::from(bytes)] && mine(held);
        let of_neighbours = self.sum(bytes, mine_as_neighbour);
        let fits = |held: u64, own: &dyn Fn(Share<'_>) -> u64| {
            let within = |tier: &Share<'_>| {
                let of_neighbours = if held == 0 { 0 } else { of_neighbours };
                let shared = (cap - held).saturating_sub(reserve.saturating_sub(of_neighbours));
                let own = own(*tier);
                own == 0 && amount <= first || u128::from(own + amount) * u128::from(tier.0) <= u128::from(shared)
            };
            amount <= cap - held && tiers.iter().all(within)
        };
        let own = |(_, sharers): Share<'_>| self.sum(bytes, |held| mine(held) && sharers(held));
        let left = (reserve / 4).saturating_sub(of_neighbours);
        let has_room = |(part, sharers): &Share<'_>| {
            let own = self.sum(bytes, |held| mine_as_neighbour(held) && sharers(held));
            (own + amount) * part <= left
        };
        let holds_nothing = tiers.first().is_some_and(|tier| own(*tier) == 0);
        let fits_neighbour = amount <= cap - self.sum(bytes, &mine) && amount <= first && holds_nothing;
        if !fits(0, &|_| 0) {
            Room::Never
        } else if fits(self.sum(bytes, &mine), &own) {
            Room::Fits
        } else if fits_neighbour && tiers[1..].iter().all(has_room) {
            Room::FitsNeighbour
        } else {
            Room::Full
        }
    }
}
