//! The outcome of a check: allowed, or why not and until when.

use std::sync::Arc;

use crate::reply::Reply;

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why not; `None` when allowed.
    pub refusal: Option<Box<Refusal>>,
    /// Names of limits in shadow mode that would have refused, in file order.
    pub shadow: Box<[Arc<str>]>,
}

/// A refusal explains itself (P10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the limit.
    pub limit: Arc<str>,
    /// Its identity: `client.net/24/48 + sender.org`.
    pub identity: Arc<str>,
    /// The value of that identity.
    pub key: String,
    /// Microseconds after which it would pass, when nothing else is charged to that key; `None`: never.
    pub wait_us: Option<u64>,
    /// What kind of answer the server should give.
    pub kind: Reply,
}

impl Refusal {
    /// What the server should answer: one legal SMTP line without its CRLF. Written when asked for: most refusals in a flood are only counted.
    pub fn reply(&self) -> String {
        self.kind.text(&self.key, self.wait_us)
    }
}

impl Decision {
    /// Whether the transaction may go on.
    pub fn allowed(&self) -> bool {
        self.refusal.is_none()
    }
}
