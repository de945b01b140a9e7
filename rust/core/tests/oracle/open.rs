//! What is open, as a list: every count is a sum over it.

/// One permit: who holds what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) net: u8,
    pub(crate) host: u8,
    pub(crate) bytes: u64,
}

/// One in how many of what is free, and who shares.
pub(crate) type Share<'s> = (u64, &'s dyn Fn(&Held) -> bool);

/// Permits that are not released.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open(pub(crate) Vec<Held>);

/// What the oracle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Fits,
    Full,
    Never,
}

impl Open {
    /// A sum over those that `belongs` takes: 1 each, or the bytes.
    pub(crate) fn sum(&self, bytes: bool, belongs: impl Fn(&Held) -> bool) -> u64 {
        self.0.iter().filter(|held| belongs(held)).map(|held| if bytes { held.bytes } else { 1 }).sum()
    }

    /// A cap, and a share of 1/`a` of what is free before the message; always one.
    pub(crate) fn room(
        &self, cap: u64, amount: u64, bytes: bool, mine: impl Fn(&Held) -> bool, share: Option<Share<'_>>,
    ) -> Room {
        if amount > cap {
            return Room::Never;
        }
        let free = cap - self.sum(bytes, &mine);
        let within = |(a, sharers): Share<'_>| {
            let own = self.sum(bytes, |held| mine(held) && sharers(held));
            own == 0 || u128::from(own + amount) * u128::from(a) <= u128::from(free)
        };
        if amount <= free && share.is_none_or(within) { Room::Fits } else { Room::Full }
    }
}
