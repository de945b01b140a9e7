//! Postfix's policy delegation (SMTPD_POLICY_README): what each request asks, and the connections that are asked about.
//!
//! ```text
//!  bytes ──PolicyConnection──▶ Request ──SmtpConnections──▶ SmtpConnection ──step──▶ Session of the engine
//! ```
//!
//! Postfix tells neither when a connection ends nor that a client has sent RSET, so a connection holds nothing in
//! flight. Its key is the client's address and port, not the policy connection that sent the request.
//!
//! **Repeats.** Postfix asks the same question several times. The sessions hold the answers, because a session must
//! know anyway which steps it has charged. A refusal is not stored: each repeat is decided again, so it is refused
//! exactly until the time in the first reply.
//!
//! **Tried and dropped.** A ring of answers by instance, state and recipient: an attacker with many requests pushes out
//! the answers of others, while what a session knows is dropped with its connection only.
//!
//! **Bound.** At most `most` connections are kept. When there is no room, the connection that has been idle longest is
//! dropped, and counted. When Postfix asks again about a connection that was dropped, the connection and its message
//! are charged again. Recipients are kept in at most [`MOST_KEPT_BYTES`]. The limits that are asked at the end of the
//! message count only those. So a client with many recipients cannot evict other connections.

mod policy_connection;
mod request;
mod smtp_connection;

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::engine::Engine;
use crate::region::Now;
pub use policy_connection::{
    CROWDED_SECONDS, IDLE_SECONDS, MOST_REQUEST_BYTES, PolicyConnection, UNFINISHED_SECONDS, Wait, Wrong,
};
pub use request::{MOST_VALUE_BYTES, Request, Requests, without_returns};
pub use smtp_connection::Taken;
use smtp_connection::{Context, SmtpConnection};

/// The most memory of recipients of open transactions.
pub const MOST_KEPT_BYTES: usize = 32 << 20;

/// The connections that one engine is asked about.
#[derive(Debug)]
pub struct SmtpConnections {
    /// By the hash of address and port, the longest idle last.
    connections: LruCache<u64, SmtpConnection>,
    /// Its key is secret, so a client cannot choose names that collide.
    hasher: RandomState,
    kept_bytes: usize,
    requests: u64,
    dropped: u64,
}

impl SmtpConnections {
    /// A table of at most `most` connections.
    pub fn new(most: NonZeroUsize) -> Self {
        let (connections, hasher) = (LruCache::new(most), RandomState::new());
        Self { connections, hasher, kept_bytes: 0, requests: 0, dropped: 0 }
    }

    /// How many connections are kept.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether no connection is kept.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How many connections were dropped because there was no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The memory of the recipients of open transactions.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Takes the step that a request asks for. A request at an unknown state asks nothing.
    ///
    /// Limits count by `now`; `at_s`, seconds of any clock, is the time for [`SmtpConnections::end_idle`].
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn take_step(&mut self, engine: &Engine, request: &Request<'_>, now: Now, at_s: u64) -> Taken {
        let step = match request.protocol_state {
            b"RCPT" => SmtpConnection::rcpt,
            b"END-OF-MESSAGE" => SmtpConnection::end_of_message,
            b"MAIL" | b"DATA" | b"BDAT" => SmtpConnection::mail, // they carry the declared size, too
            b"EHLO" | b"HELO" => SmtpConnection::helo,
            b"CONNECT" | b"XCLIENT" => SmtpConnection::connect, // after XCLIENT it is known whose connection it is
            _ => return Ok(()),
        };
        // Without a port, connections of one client cannot be told apart, and each transaction is a connection.
        let is_port = !request.client_port.is_empty() && request.client_port.iter().all(u8::is_ascii_digit);
        let port = if is_port { request.client_port } else { request.instance };
        let key = self.hasher.hash_one((request.client_address, port));
        if self.connections.len() == self.connections.cap().get() && !self.connections.contains(&key) {
            self.drop_oldest();
        }
        self.requests += 1;
        let has_room = self.kept_bytes < MOST_KEPT_BYTES;
        let (request, hasher, serial) = (*request, &self.hasher, self.requests);
        let context = Context { engine, request, hasher, serial, has_room, now, at_s };
        let connection = self.connections.get_or_insert_mut(key, SmtpConnection::new);
        let kept_bytes = connection.kept_bytes();
        connection.begin_if_port_is_reused(&context);
        connection.asked_at_s = at_s;
        let taken = step(connection, &context);
        self.kept_bytes = self.kept_bytes - kept_bytes + connection.kept_bytes();
        taken
    }

    /// Ends the connections about which no request came since `before_s`.
    pub fn end_idle(&mut self, before_s: u64) {
        while self.connections.peek_lru().is_some_and(|(_, oldest)| oldest.asked_at_s < before_s) {
            self.pop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        self.pop_oldest();
        self.dropped += 1;
    }

    fn pop_oldest(&mut self) {
        if let Some((_, oldest)) = self.connections.pop_lru() {
            self.kept_bytes -= oldest.kept_bytes();
        }
    }
}
