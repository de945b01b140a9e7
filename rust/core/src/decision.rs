//! The outcome of a check: allowed, or why not and until when.

use std::sync::Arc;

use crate::policy::Stage;
use crate::reply::{Answer, Reply};

/// The outcome. The default is that of a check that asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Why the check was refused; `None` when it was allowed.
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
    /// Microseconds after which it would pass, when nothing else is charged to that key; `None` when it never would.
    pub wait_us: Option<u64>,
    /// The SMTP stage of the refusal: that of the limit, or of the first check that knows a blocked key.
    pub stage: Stage,
    /// What kind of answer the server should give.
    pub kind: Reply,
    /// What the operator says of it.
    pub answer: Answer,
}

impl Refusal {
    /// A refusal that no policy states and that concerns all senders: too many permits, commands out of order.
    pub(crate) fn unstated(limit: &str, wait_us: Option<u64>, stage: Stage, kind: Reply) -> Self {
        let (global, key) = ("global".into(), "global".into());
        Self { limit: limit.into(), identity: global, key, wait_us, stage, kind, answer: Answer::default() }
    }

    /// What the server should answer: one legal SMTP line without its CRLF. It is written only when a caller asks for
    /// it, because most refusals in a flood are only counted.
    pub fn reply(&self) -> String {
        let Answer { rejects_at, template } = &self.answer;
        let own = template.as_ref();
        let own = own.and_then(|template| template.fill(&self.key, &self.limit, &self.identity, self.wait_us));
        own.unwrap_or_else(|| self.kind.text(&self.key, self.wait_us, *rejects_at))
    }
}

impl Decision {
    /// Whether the transaction may go on.
    pub fn allowed(&self) -> bool {
        self.refusal.is_none()
    }
}
