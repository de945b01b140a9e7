//! Chooses the guard that decides a request, takes the step, and logs what is new about requests.
//!
//! It knows no policy connection.

use std::sync::atomic::Ordering;

use socket2::Socket;
use throttle_core::delegation::{Request, SmtpConnections, Taken, Wrong};

use super::PolicyServer;
use crate::guard::Throttle;

/// How long an SMTP connection without a question is kept: twice Postfix's `smtpd_timeout`, after which it hangs up.
const SMTP_IDLE_SECONDS: u64 = 600;

/// Chooses the guard of a request, and keeps the SMTP connections of each guard.
#[derive(Debug)]
pub(super) struct Dispatcher<'a> {
    server: &'a PolicyServer,
    smtp_connections: Vec<SmtpConnections>,
    was_asked: bool,
    is_under_stress: bool,
}

impl<'a> Dispatcher<'a> {
    pub(super) fn new(server: &'a PolicyServer) -> Self {
        let smtp_connections =
            server.guards.iter().map(|_| SmtpConnections::new(server.most_smtp_connections)).collect();
        Self { server, smtp_connections, was_asked: false, is_under_stress: false }
    }

    /// Takes the step that a request asks for.
    pub(super) fn take(&mut self, request: &Request<'_>, at_s: u64, main_wake: &Socket) -> Result<Taken, Wrong> {
        self.log_changes(request, main_wake);
        let (guard, connections) = self.guard(request.policy_context)?;
        let now = guard.clock.read_detached().map_err(|error| Wrong::Fault(error.to_string()))?;
        Ok(guard.measured(|| connections.take_step(&guard.engine(), request, now, at_s)))
    }

    /// The guard of this name, or else the one without a name.
    fn guard(&mut self, name: &[u8]) -> Result<(&'a Throttle, &mut SmtpConnections), Wrong> {
        let server = self.server;
        let named = |name: &[u8]| server.guards.iter().position(|(known, _)| known == name);
        let place = match named(name) {
            Some(found) => found,
            None => {
                let unnamed = named(b"").ok_or_else(|| {
                    Wrong::Request(match &*String::from_utf8_lossy(name) {
                        "" => "no policy answers requests without a policy_context".into(),
                        name => format!("no policy is named {name}, which is the request's policy_context"),
                    })
                })?;
                server.counts.unknown_contexts.fetch_add(1, Ordering::Relaxed);
                unnamed
            }
        };
        Ok((server.guards[place].1.get(), &mut self.smtp_connections[place]))
    }

    /// Logs the first request, and that Postfix begins or ceases to be under stress. Stress changes no limit: idle
    /// clients cause it.
    fn log_changes(&mut self, request: &Request<'_>, main_wake: &Socket) {
        if !self.was_asked {
            self.was_asked = true;
            self.server.log_event(main_wake, "first request", "a policy client is connected and asks".into());
        }
        let is_under_stress = request.stress == b"yes";
        if is_under_stress != self.is_under_stress {
            self.is_under_stress = is_under_stress;
            let told = if is_under_stress { "Postfix has all its smtpd busy" } else { "Postfix has idle smtpd again" };
            self.server.log_event(main_wake, "stress", told.into());
        }
    }

    /// Forgets SMTP connections that are idle.
    pub(super) fn end_idle(&mut self, at_s: u64) {
        for connections in &mut self.smtp_connections {
            connections.end_idle(at_s.saturating_sub(SMTP_IDLE_SECONDS));
        }
        self.publish();
    }

    /// Shows Python's threads how many SMTP connections there are.
    pub(super) fn publish(&self) {
        let (kept, dropped) = self
            .smtp_connections
            .iter()
            .fold((0, 0), |(kept, dropped), one| (kept + one.len() as u64, dropped + one.dropped()));
        self.server.counts.smtp_connections.store(kept, Ordering::Relaxed);
        self.server.counts.dropped.store(dropped, Ordering::Relaxed);
    }
}
