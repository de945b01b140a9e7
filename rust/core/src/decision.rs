//! The outcome of a check: allowed, or why not and until when.

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why not; `None` when allowed.
    pub refusal: Option<Box<Refusal>>,
}

/// A refusal explains itself (P10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the limit.
    pub limit: String,
    /// Its identity: `client.net/24/48 + sender.org`.
    pub identity: String,
    /// The value of that identity.
    pub key: String,
    /// Microseconds after which it would pass, when nothing else is charged to that key; `None`: never.
    pub wait_us: Option<u64>,
    /// What the server should answer: one legal SMTP line without its CRLF.
    pub reply: String,
}

impl Decision {
    /// Whether the transaction may go on.
    pub fn allowed(&self) -> bool {
        self.refusal.is_none()
    }
}
