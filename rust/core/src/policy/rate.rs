//! `600/minute`, `20/10 minutes`, `1 GiB/hour`.

/// An amount per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, in the unit that the limit counts.
    pub amount: u64,
    /// In how many microseconds.
    pub period_us: u64,
    /// A size unit was written (`GiB`): the rate implies `count = "bytes"`.
    pub sized: bool,
}
