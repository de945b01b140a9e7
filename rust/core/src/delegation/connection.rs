//! One SMTP connection of a client of Postfix: its session of the engine, and which steps it has taken.
//!
//! A step is taken once. A question that repeats a step gets the answer of the step.

use std::hash::{BuildHasher, RandomState};

use super::request::Request;
use crate::decision::{Decision, Refusal};
use crate::engine::{Engine, Session};
use crate::envelope::Envelope;
use crate::policy::Stage;
use crate::region::Now;

/// What a recipient costs beside its text: its keys in the session, and room of vectors and the allocator.
const RECIPIENT_OCTETS: usize = 96;

/// What a step comes to: nothing, or a refusal.
type Answer = Result<(), Box<Refusal>>;

/// A connection. Its texts are in each request, so it keeps hashes of them.
#[derive(Debug)]
pub(super) struct Connection {
    session: Session,
    helo_name: Option<u64>,
    /// The `instance` of the transaction.
    instance: Option<u64>,
    /// The name of the transaction in the session.
    transaction: Option<[u8; 8]>,
    /// The sender of a transaction that was begun by a question without an `instance`.
    nameless_sender: Option<u64>,
    declared: Option<u64>,
    /// The accepted recipients of the transaction, for the limits that are asked at its end.
    recipients: Vec<Box<[u8]>>,
    /// What the recipients cost to keep.
    pub(super) kept_octets: usize,
    /// When it was asked about last, in seconds of the caller.
    pub(super) asked_at: f64,
}

/// What a step needs beside the connection.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) engine: &'a Engine,
    pub(super) request: Request<'a>,
    pub(super) hasher: &'a RandomState,
    /// A number that no other question has.
    pub(super) serial: u64,
    pub(super) now: Now,
}

impl Asking<'_> {
    fn hash(&self, text: &[u8]) -> Option<u64> {
        (!text.is_empty()).then(|| self.hasher.hash_one(text))
    }

    /// What is known of the connection.
    fn client(&self) -> Envelope<'_> {
        let Request { client_address, client_name, helo_name, .. } = self.request;
        let helo = Some(helo_name).filter(|name| !name.is_empty());
        Envelope { client_ip: Some(client_address), client_name: Some(client_name), helo, ..Envelope::default() }
    }

    /// What is known of the message.
    fn message(&self, size: Option<u64>) -> Envelope<'_> {
        let Request { sender, sasl_username, .. } = self.request;
        let auth_user = Some(sasl_username).filter(|user| !user.is_empty());
        Envelope { mail_from: Some(sender), auth_user, size, ..self.client() }
    }
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            session: Session::without_slots(),
            helo_name: None,
            instance: None,
            transaction: None,
            nameless_sender: None,
            declared: None,
            recipients: Vec::new(),
            kept_octets: 0,
            asked_at: 0.0,
        }
    }

    /// Takes the step of the connection.
    pub(super) fn connect(&mut self, asking: &Asking<'_>) -> Answer {
        if self.helo_name.is_some() || self.transaction.is_some() {
            *self = Self { asked_at: self.asked_at, ..Self::new() }; // the client's port has come round
        }
        let known = Envelope { helo: None, ..asking.client() };
        answer(self.session.connect(asking.engine, &known, asking.now).decision)
    }

    /// Takes the step of a HELO name, if it is new.
    pub(super) fn helo(&mut self, asking: &Asking<'_>) -> Answer {
        let name = asking.hash(asking.request.helo_name);
        if name.is_none() || name == self.helo_name {
            return Ok(());
        }
        answer(self.session.helo(asking.engine, &asking.client(), asking.now).decision)?;
        self.helo_name = name;
        (self.instance, self.transaction, self.nameless_sender) = (None, None, None);
        Ok(())
    }

    /// Takes the steps up to MAIL, once for each transaction.
    ///
    /// Postfix names a transaction, by `instance`, from its first RCPT on. A question at MAIL comes before that, so the
    /// next instance of the same sender stands for the transaction that the question began.
    pub(super) fn mail(&mut self, asking: &Asking<'_>) -> Answer {
        let instance = asking.hash(asking.request.instance);
        if instance.is_some() && instance == self.instance {
            return Ok(());
        }
        self.helo(asking)?;
        let sender = Some(asking.hasher.hash_one(asking.request.sender));
        if self.nameless_sender == sender {
            if instance.is_some() {
                (self.instance, self.nameless_sender) = (instance, None);
            }
            return Ok(());
        }
        (self.instance, self.transaction) = (None, None);
        self.take_recipients();
        let size = asking.request.octets();
        answer(self.session.mail(asking.engine, &asking.message(size), asking.now).decision)?;
        let name = instance.unwrap_or(asking.serial).to_ne_bytes();
        self.session.name(asking.engine, &name);
        (self.instance, self.transaction, self.declared) = (instance, Some(name), size);
        self.nameless_sender = if instance.is_some() { None } else { sender };
        Ok(())
    }

    /// Takes the steps up to RCPT.
    pub(super) fn rcpt(&mut self, asking: &Asking<'_>) -> Answer {
        self.mail(asking)?;
        let recipient = asking.request.recipient;
        let accepted: Vec<&[u8]> =
            if self.session.is_behind() { self.recipients.iter().map(|text| &**text).collect() } else { Vec::new() };
        let known = Envelope { rcpt_to: &accepted, ..asking.message(self.declared) };
        let step = self.session.rcpt(asking.engine, &known, &[recipient], asking.now);
        answer(step.decision)?;
        if !step.fresh.is_empty() {
            self.recipients.push(recipient.into());
            self.kept_octets += recipient.len() + RECIPIENT_OCTETS;
        }
        Ok(())
    }

    /// Takes the steps up to the end of the message, with its actual size.
    pub(super) fn data(&mut self, asking: &Asking<'_>) -> Answer {
        self.mail(asking)?;
        let again = self.transaction.and_then(|name| self.session.repeated(asking.engine, Stage::Data, &name));
        if let Some(again) = again {
            return answer(again.decision);
        }
        let recipients = self.take_recipients();
        let accepted: Vec<&[u8]> = recipients.iter().map(|text| &**text).collect();
        let size = asking.request.octets().or(self.declared);
        let known = Envelope { rcpt_to: &accepted, ..asking.message(size) };
        answer(self.session.data(asking.engine, &known, asking.now).decision)
    }

    fn take_recipients(&mut self) -> Vec<Box<[u8]>> {
        self.kept_octets = 0;
        std::mem::take(&mut self.recipients)
    }
}

fn answer(decision: Decision) -> Answer {
    decision.refusal.map_or(Ok(()), Err)
}
