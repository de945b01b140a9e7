//! What a check is for.

/// What is done under the lock when everything fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Nothing, and time stands still.
    Look,
    /// Every limit is charged.
    Charge,
    /// The same, and a permit holds what is in flight.
    Hold,
}
