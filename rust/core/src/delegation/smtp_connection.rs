//! One SMTP connection of a client of Postfix: its session of the engine, and which steps it has taken.
//!
//! Each step is taken once; `Session` explains what a repeated request gets.

use std::hash::{BuildHasher, RandomState};

use super::request::Request;
use crate::decision::{Decision, Refusal};
use crate::engine::{Engine, Session};
use crate::envelope::Envelope;
use crate::policy::Stage;
use crate::region::Now;

/// Estimated memory of one recipient in addition to its text.
const RECIPIENT_BYTES: usize = 96;

/// How long after a request at CONNECT Postfix may repeat it: longer than two time-outs of a second.
const REPEAT_SECONDS: u64 = 5;

/// The answer to a step: `Ok` admits it, and `Err` is the refusal.
pub type Taken = Result<(), Box<Refusal>>;

/// A connection. Its texts are in each request, so it keeps hashes of them.
#[derive(Debug)]
pub(super) struct SmtpConnection {
    session: Session,
    helo_name: Option<u64>,
    transaction: Option<Transaction>,
    /// The latest instance, by which a connection that reuses the port is told apart.
    instance: Option<Instance>,
    /// When a request about it came last.
    pub(super) asked_at_s: u64,
}

/// A transaction whose MAIL was admitted.
#[derive(Debug, Default)]
struct Transaction {
    /// What the session calls it.
    name: [u8; 8],
    /// The hash of sender and user.
    sender_hash: u64,
    /// The hash of Postfix's name for it. A request at MAIL has none yet.
    instance: Option<u64>,
    declared_bytes: Option<u64>,
    has_ended: bool,
    /// The accepted recipients that there was room for. The limits of the end of the message need them, so they are
    /// kept until it is admitted.
    recipients: Vec<Box<[u8]>>,
    kept_bytes: usize,
}

/// Postfix's name of a transaction: `process.second.microsecond.number`, in hexadecimal. The number of a connection's
/// first transaction is 0, and each further one is higher.
#[derive(Clone, Copy, Debug)]
struct Instance {
    hash: u64,
    process: u64,
    number: u64,
}

impl Instance {
    fn parse(text: &[u8], hash: u64) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split('.').map(|part| u64::from_str_radix(part, 16));
        let (process, _, _, number) = (parts.next()?.ok()?, parts.next()?, parts.next()?, parts.next()?.ok()?);
        parts.next().is_none().then_some(Self { hash, process, number })
    }

    /// Whether the two instances cannot be of one connection.
    fn is_of_another_connection(self, before: Self) -> bool {
        self.hash != before.hash && (self.process != before.process || self.number <= before.number)
    }
}

/// The request, the engine and the time of one step.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) engine: &'a Engine,
    pub(super) request: Request<'a>,
    pub(super) hasher: &'a RandomState,
    /// A number that no other request has.
    pub(super) serial: u64,
    /// Whether there is room to keep another recipient.
    pub(super) has_room: bool,
    pub(super) at_s: u64,
    pub(super) now: Now,
}

impl Context<'_> {
    fn hash(&self, text: &[u8]) -> Option<u64> {
        (!text.is_empty()).then(|| self.hasher.hash_one(text))
    }

    fn sender_hash(&self) -> u64 {
        self.hasher.hash_one((self.request.sender, self.request.sasl_username))
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

impl SmtpConnection {
    pub(super) fn new() -> Self {
        Self { session: Session::without_permits(), helo_name: None, transaction: None, instance: None, asked_at_s: 0 }
    }

    /// The memory of its recipients.
    pub(super) fn kept_bytes(&self) -> usize {
        self.transaction.as_ref().map_or(0, |transaction| transaction.kept_bytes)
    }

    /// Begins again when a new connection reuses the port of one that has ended, which Postfix does not report.
    pub(super) fn begin_if_port_is_reused(&mut self, context: &Context<'_>) {
        let Request { protocol_state, instance, .. } = context.request;
        let instance = Instance::parse(instance, context.hasher.hash_one(instance));
        let is_other = instance.zip(self.instance).is_some_and(|(now, before)| now.is_of_another_connection(before));
        let is_connect = matches!(protocol_state, b"CONNECT" | b"XCLIENT");
        let is_late = context.at_s.saturating_sub(self.asked_at_s) > REPEAT_SECONDS;
        let is_greeted = self.helo_name.is_some() || self.transaction.is_some();
        if is_other || is_connect && (is_greeted || is_late) {
            *self = Self::new();
        }
        self.instance = instance.or(self.instance);
    }

    /// Takes the step of the connection.
    pub(super) fn connect(&mut self, context: &Context<'_>) -> Taken {
        let known = Envelope { helo: None, ..context.client() };
        taken(self.session.connect(context.engine, &known, context.now).decision)
    }

    /// Takes the step of a HELO name, if it is new.
    pub(super) fn helo(&mut self, context: &Context<'_>) -> Taken {
        let name = context.hash(context.request.helo_name);
        if name.is_none() || name == self.helo_name {
            return Ok(());
        }
        taken(self.session.helo(context.engine, &context.client(), context.now).decision)?;
        (self.helo_name, self.transaction) = (name, None);
        Ok(())
    }

    /// Takes the steps up to MAIL, once for each transaction.
    ///
    /// Postfix names a transaction, by `instance`, from its first RCPT on. A request at MAIL comes before that, so the
    /// next instance of the same sender, user and size names the transaction that the request at MAIL began.
    pub(super) fn mail(&mut self, context: &Context<'_>) -> Taken {
        let instance = context.hash(context.request.instance);
        if instance.is_some() && self.transaction.as_ref().is_some_and(|open| open.instance == instance) {
            return Ok(());
        }
        self.helo(context)?;
        let (sender_hash, bytes) = (context.sender_hash(), context.request.size_bytes());
        // Postfix repeats what MAIL said. At the end of the message the size is the actual one.
        let is_end = context.request.protocol_state == b"END-OF-MESSAGE";
        let is_same = |open: &&mut Transaction| {
            let has_its_size = is_end || !open.has_ended && open.declared_bytes == bytes;
            open.instance.is_none() && open.sender_hash == sender_hash && has_its_size
        };
        if let Some(unnamed) = self.transaction.as_mut().filter(is_same) {
            unnamed.instance = instance;
            return Ok(());
        }
        self.transaction = None;
        let known = context.message(bytes);
        taken(self.session.mail(context.engine, &known, context.now).decision)?;
        let name = context.serial.to_ne_bytes();
        self.session.name_transaction(context.engine, &name);
        self.transaction =
            Some(Transaction { name, sender_hash, instance, declared_bytes: bytes, ..Transaction::default() });
        Ok(())
    }

    /// Takes the steps up to RCPT.
    pub(super) fn rcpt(&mut self, context: &Context<'_>) -> Taken {
        self.mail(context)?;
        let Some(open) = self.transaction.as_mut().filter(|open| !open.has_ended) else { return Ok(()) };
        let recipient = context.request.recipient;
        let accepted: Vec<&[u8]> =
            if self.session.is_behind() { open.recipients.iter().map(|text| &**text).collect() } else { Vec::new() };
        let known = Envelope { rcpt_to: &accepted, ..context.message(open.declared_bytes) };
        let step = self.session.rcpt(context.engine, &known, &[recipient], context.now);
        taken(step.decision)?;
        if !step.new_recipients.is_empty() && context.has_room {
            open.recipients.push(recipient.into());
            open.kept_bytes += recipient.len() + RECIPIENT_BYTES;
        }
        Ok(())
    }

    /// Takes the steps up to the end of the message, with its actual size.
    pub(super) fn end_of_message(&mut self, context: &Context<'_>) -> Taken {
        self.mail(context)?;
        let Some(open) = &mut self.transaction else { return Ok(()) };
        if let Some(again) = self.session.repeated(context.engine, Stage::Data, &open.name) {
            return taken(again.decision);
        }
        open.has_ended = true;
        let accepted: Vec<&[u8]> = open.recipients.iter().map(|text| &**text).collect();
        let bytes = context.request.size_bytes().or(open.declared_bytes);
        let known = Envelope { rcpt_to: &accepted, ..context.message(bytes) };
        taken(self.session.data_unless_refused(context.engine, &known, context.now).decision)?;
        (open.recipients, open.kept_bytes) = (Vec::new(), 0);
        Ok(())
    }
}

fn taken(decision: Decision) -> Taken {
    decision.refusal.map_or(Ok(()), Err)
}
