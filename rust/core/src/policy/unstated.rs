//! What refuses beside the limits of a policy has a name, too; so no limit is called like it, and a name in a log or a counter means one thing.

/// More permits at once than there are.
pub(crate) const MAX_OPEN: &str = "max-open";

/// An operator's word.
pub(crate) const BLOCKED: &str = "blocked";

/// A command of SMTP that can have no answer yet, or none any more.
pub(crate) const OUT_OF_ORDER: &str = "out-of-order";

/// All of them.
pub(super) const ALL: [&str; 3] = [MAX_OPEN, BLOCKED, OUT_OF_ORDER];
