//! One connection of a policy client: bytes in, answers out.
//!
//! ```text
//!            receive                             all is sent
//!  reading ──────────▶ sending, nothing is read ────────────▶ reading
//!     │ the client ends, or a request is bad        │ the client ends, or a request is bad
//!     ▼                                             ▼
//!   closed ◀────── all is sent, or 10 s are over ────── ending
//! ```
//!
//! A connection is also closed after 10 s of an unfinished request or of unread answers, and after 1200 s of silence.
//! While others wait for its place, it is closed after 1 s of any of these.
//!
//! It has no socket and no clock: times are arguments, in seconds of any clock.
//! Invariants: an answer is one legal line, since a reply is one (`Refusal::reply`). After a bad request, or a fault of
//! ours, nothing more is answered. A connection keeps at most one unfinished request of [`MOST_REQUEST_BYTES`], and the
//! answers to what was received at once.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::request::{Request, Requests, is_line_end, without_returns};
use super::smtp_connection::Taken;

/// The longest request, finished or not, with all line ends since the one before. Those of Postfix have about a
/// thousand bytes.
pub const MOST_REQUEST_BYTES: usize = 1 << 14;

/// How long a request may take to come in, and a client to read its answers. Postfix sends a request with one write.
pub const UNFINISHED_SECONDS: u64 = 10;

/// How long a connection may wait for its next request: longer than Postfix keeps one (`max_ttl`, 1000 s).
pub const IDLE_SECONDS: u64 = 1200;

/// How long each of these may take while clients wait for a place. Postfix connects again when it has something to ask.
/// Seconds are whole, and looked at once a second, so it takes two to three.
pub const CROWDED_SECONDS: u64 = 1;

/// The room for answers that a connection keeps while it is idle.
const KEPT_ANSWER_BYTES: usize = 1 << 10;

/// Why a connection is closed without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The client did not follow the protocol, or asked for a policy that does not exist.
    Request(String),
    /// A fault of ours.
    Fault(String),
}

impl Wrong {
    fn too_long() -> Self {
        let (thousands, rest) = (MOST_REQUEST_BYTES / 1000, MOST_REQUEST_BYTES % 1000);
        Self::Request(format!("the request is longer than {thousands},{rest:03} bytes"))
    }

    fn no_request() -> Self {
        Self::Request("the request is no smtpd_access_policy".into())
    }

    fn unfinished(seconds: u64) -> Self {
        Self::Request(format!("the request did not end within {seconds} s"))
    }

    fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        Self::Fault(format!("a panic: {}", text.unwrap_or("of unknown reason")))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Request(what) | Self::Fault(what)) = self;
        write!(out, "{what}; the connection is closed without an answer")
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// That the client sends something.
    Read,
    /// That the client reads its answers. Nothing is read meanwhile.
    Write,
    /// Nothing: it is to be closed.
    Close,
}

/// The bytes of one policy client that are not answered yet, and the answers that it has not read yet.
#[derive(Debug)]
pub struct PolicyConnection {
    unfinished: Vec<u8>,
    unfinished_since_s: Option<u64>,
    unsent: Vec<u8>,
    heard_at_s: u64,
    is_ending: bool,
}

impl PolicyConnection {
    /// A connection that was accepted at this time.
    pub fn new(at_s: u64) -> Self {
        Self {
            unfinished: Vec::new(),
            unfinished_since_s: None,
            unsent: Vec::new(),
            heard_at_s: at_s,
            is_ending: false,
        }
    }

    /// Answers the requests that `bytes` complete, and returns how many. `take_step` decides them.
    ///
    /// # Errors
    ///
    /// A request is bad or too long, or `take_step` has failed or panicked. The requests before it have their answers.
    pub fn receive(
        &mut self, bytes: &[u8], at_s: u64, mut take_step: impl FnMut(&Request<'_>) -> Result<Taken, Wrong>,
    ) -> (u64, Result<(), Wrong>) {
        let mut stream = std::mem::take(&mut self.unfinished);
        let is_whole = stream.is_empty();
        if !is_whole {
            stream.extend_from_slice(bytes);
        }
        let mut requests = Requests { rest: if is_whole { bytes } else { &stream } };
        let mut answered = 0;
        for request in &mut requests {
            if request.len() > MOST_REQUEST_BYTES {
                return (answered, self.give_up(Wrong::too_long()));
            }
            let lines = without_returns(request);
            let step = Request::parse(&lines).ok_or_else(Wrong::no_request).and_then(|request| {
                let step = catch_unwind(AssertUnwindSafe(|| take_step(&request)));
                step.unwrap_or_else(|payload| Err(Wrong::panicked(&*payload)))
            });
            match step {
                Ok(Ok(())) => self.unsent.extend_from_slice(b"action=DUNNO\n\n"),
                Ok(Err(refusal)) => {
                    self.unsent.extend_from_slice(b"action=");
                    self.unsent.extend_from_slice(refusal.reply().as_bytes());
                    self.unsent.extend_from_slice(b"\n\n");
                }
                Err(wrong) => return (answered, self.give_up(wrong)),
            }
            answered += 1;
            self.heard_at_s = at_s;
        }
        let rest = requests.rest;
        if rest.len() > MOST_REQUEST_BYTES {
            return (answered, self.give_up(Wrong::too_long()));
        }
        let has_begun = !rest.iter().all(is_line_end);
        let begins = has_begun && (answered > 0 || self.unfinished_since_s.is_none());
        if begins || !has_begun {
            self.unfinished_since_s = has_begun.then_some(at_s);
        }
        if begins {
            self.heard_at_s = at_s; // line ends alone say nothing
        }
        self.unfinished = rest.to_vec();
        (answered, Ok(()))
    }

    /// The answers that are still to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    /// Notes that so many bytes of [`PolicyConnection::unsent`] were sent.
    pub fn sent(&mut self, count: usize) {
        self.unsent.drain(..count);
        self.unsent.shrink_to(KEPT_ANSWER_BYTES);
    }

    /// Ends the connection: the client sends nothing more, or the service ends. What is answered is still sent.
    pub fn end(&mut self) {
        self.is_ending = true;
        self.unfinished = Vec::new();
    }

    /// What the connection waits for.
    pub fn wait(&self) -> Wait {
        match (self.unsent.is_empty(), self.is_ending) {
            (false, _) => Wait::Write,
            (true, true) => Wait::Close,
            (true, false) => Wait::Read,
        }
    }

    /// When the client last began a request, or completed one.
    pub fn heard_at_s(&self) -> u64 {
        self.heard_at_s
    }

    /// Whether [`PolicyConnection::end_if_late`] would end or close the connection now. Read what the client has sent
    /// before you call that: it may have sent a request which nobody has read yet.
    pub fn is_late(&self, at_s: u64, is_crowded: bool) -> bool {
        self.is_silent(at_s, is_crowded) || self.is_unfinished(at_s, is_crowded)
    }

    /// Ends the connection when a request has not come in within [`UNFINISHED_SECONDS`]. Returns whether it is to be
    /// closed now, whatever is still to be sent, because its client has read no answers or sent nothing for too long.
    /// Too long is [`CROWDED_SECONDS`] while others wait for its place.
    ///
    /// # Errors
    ///
    /// A request has not come in in time.
    pub fn end_if_late(&mut self, at_s: u64, is_crowded: bool) -> Result<bool, Wrong> {
        if self.is_unfinished(at_s, is_crowded) {
            self.give_up(Wrong::unfinished(most_seconds(UNFINISHED_SECONDS, is_crowded)))?;
        }
        Ok(self.is_silent(at_s, is_crowded))
    }

    /// Whether the client has read no answers, or sent nothing, for too long.
    fn is_silent(&self, at_s: u64, is_crowded: bool) -> bool {
        let most = if self.wait() == Wait::Read { IDLE_SECONDS } else { UNFINISHED_SECONDS };
        at_s.saturating_sub(self.heard_at_s) > most_seconds(most, is_crowded)
    }

    /// Whether a request has not come in in time.
    fn is_unfinished(&self, at_s: u64, is_crowded: bool) -> bool {
        let most = most_seconds(UNFINISHED_SECONDS, is_crowded);
        self.wait() == Wait::Read && self.unfinished_since_s.is_some_and(|since_s| at_s.saturating_sub(since_s) > most)
    }

    fn give_up(&mut self, wrong: Wrong) -> Result<(), Wrong> {
        self.end();
        Err(wrong)
    }
}

fn most_seconds(most: u64, is_crowded: bool) -> u64 {
    if is_crowded { CROWDED_SECONDS } else { most }
}
