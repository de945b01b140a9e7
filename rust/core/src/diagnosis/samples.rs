//! A uniform sample of the messages of each minute, for the last 66 minutes.
//!
//! **Idea.** A pane for each minute of engine time, in a ring. A pane counts all its messages, and keeps 64 of those
//! that were admitted, and 32 of those that were refused at once, by reservoir sampling:
//!
//! ```text
//!  the n-th admitted message of a minute:   n ≤ 64   it is kept
//!                                           n > 64   r = random number below n;  r < 64: it replaces the r-th
//! ```
//!
//! Every admitted message of a minute is kept with the same probability, 64/n (Vitter, "Random sampling with a
//! reservoir", 1985, algorithm R), and so is every refused one. A busy minute is sampled little: of 10,000 admitted
//! messages 4 % are copied. The random numbers come from the guard's secret, so nobody outside knows which message is
//! kept. The two are apart because a refused message costs an attacker nothing: a hundred thousand of them in a minute
//! would leave no admitted one in the sample.
//!
//! **Cost.** A message that is not kept costs one lock, one count and one random number: 120 instructions. One that is
//! kept is copied as it came: the text of its fields, 150 more. Identities are read from the copies only when somebody
//! asks ([`super::identities`]): to read them for each message that is kept would cost ten times as much.
//!
//! **Bound.** Each field has room of its own, so that a long field pushes out no other; [`Samples::bytes`] are
//! allocated once. A text that is too long keeps its end, which has the organisation, and a hash of the whole.
//!
//! # Synchronisation
//! One mutex guards the panes. It is taken without the region's lock, and held for a count and the copy of one record,
//! with a hash of each text that is too long. [`Samples::panes`] takes it once for each pane. Header addresses are read
//! without the lock, so a message with a header takes it twice: it gets its place under the first, its text under the
//! second. Between the two its record is not filled, so nobody reads it; and if another message gets the place, the
//! position differs, so the text is dropped.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::envelope::{Envelope, Spf};
use crate::identity::header_address::{Mailbox, Mailboxes};
use crate::key::Secret;
use crate::stage::Stage;

/// How many minutes have a pane: the last five, the hour before them, and one that is being overwritten.
pub const PANES: usize = 66;

/// The most messages that a pane keeps: of those that were admitted at first, and of those that were refused at once.
pub const KEPT: [usize; 2] = [64, 32];

/// Microseconds of a pane.
pub const MINUTE_US: u64 = 60_000_000;

/// The fields of an envelope that a record keeps. Of several recipients it keeps the first, of signatures the first
/// two: of the author, and of the provider that sends for him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `client_ip`
    ClientIp,
    /// `client_name`
    ClientName,
    /// `helo`
    Helo,
    /// `auth_user`
    AuthUser,
    /// `mail_from`
    Sender,
    /// `rcpt_to`
    Rcpt,
    /// `header_from`
    From,
    /// `reply_to`
    ReplyTo,
    /// `list_id`
    ListId,
    /// `dkim`
    Dkim,
    /// The second of `dkim`.
    OtherDkim,
}

const FIELDS: usize = 11;

/// The most bytes of each field.
const ROOM: [usize; FIELDS] = [48, 80, 80, 64, 96, 96, 96, 96, 64, 80, 80];

/// Where each field begins in the text of a record.
const BEGIN: [usize; FIELDS] = {
    let mut begin = [0; FIELDS];
    let mut field = 1;
    while field < FIELDS {
        begin[field] = begin[field - 1] + ROOM[field - 1];
        field += 1;
    }
    begin
};

const TEXT_BYTES: usize = BEGIN[FIELDS - 1] + ROOM[FIELDS - 1];

/// The length of a field that the message does not have.
const ABSENT: u8 = u8::MAX;

/// What stands before the hash in a text that was too long.
const HASHED: char = 'z';

/// Hexadecimal digits of such a hash.
const DIGITS: usize = 16;

/// One message, as far as it was known when it was decided.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place among the messages of its part of the minute, from 1 on.
    position: u64,
    /// Whether its text was copied. A thread that was given the place may not have done so yet.
    is_filled: bool,
    /// Whether a header was seen: then a message without Reply-To has none.
    pub has_header: bool,
    /// Whether a text was too long, so that values with [`is_shortened`] are no values of the message.
    pub has_shortened: bool,
    /// The server's SPF verdict.
    pub spf: Option<Spf>,
    /// Which limit refused it, or would have in shadow mode.
    pub refused: Option<Arc<str>>,
    lengths: [u8; FIELDS],
    text: [u8; TEXT_BYTES],
}

/// One minute.
#[derive(Clone, Debug)]
pub struct Pane {
    /// Its number: minutes of engine time.
    pub minute: u64,
    /// How many messages a limit refused, at once or at a later step, or would have refused in shadow mode: exact.
    pub refused: u64,
    /// The messages that were admitted at first, and those that were refused at once.
    pub parts: [Part; 2],
}

/// A part of the messages of a minute. Each of them is kept with the same probability.
#[derive(Clone, Debug)]
pub struct Part {
    /// How many came: exact.
    pub seen: u64,
    /// Those that were kept.
    pub records: Vec<Record>,
}

/// The handle of a message that was counted: later steps add to it.
#[derive(Clone, Copy, Debug)]
pub struct SampledMessage {
    minute: u64,
    /// The places of its minute's pane, and of its part of it.
    pane: usize,
    part: usize,
    /// The place of its record, if it was kept, and its position.
    kept: Option<(usize, u64)>,
    is_refused: bool,
}

/// The panes.
#[derive(Debug)]
pub struct Samples {
    state: Mutex<State>,
    secret: Secret,
}

#[derive(Debug)]
struct State {
    panes: Box<[Pane]>,
    /// The latest minute that had a message.
    latest: u64,
    /// Engine time of the first message, µs; `u64::MAX` before it.
    began_us: u64,
    /// The state of the generator.
    random: u64,
}

/// What [`Samples::panes`] returns.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Engine time of the first message ever, µs; `None` before it.
    pub began_us: Option<u64>,
    /// The panes of the minutes that had messages, in no order.
    pub panes: Vec<Pane>,
}

/// The text that a record keeps of the header's addresses. It is made before the lock is taken, since to read a long
/// field takes time.
#[derive(Default)]
struct Addresses<'a> {
    from: Option<Cow<'a, [u8]>>,
    reply_to: Option<Cow<'a, [u8]>>,
}

impl<'a> Addresses<'a> {
    fn of(envelope: &Envelope<'a>) -> Self {
        envelope.headers.map_or_else(Self::default, |headers| Self {
            from: written(headers.from, ROOM[Field::From as usize]),
            reply_to: written(headers.reply_to, ROOM[Field::ReplyTo as usize]),
        })
    }
}

/// The addresses of header fields: as they came, or if they are longer than `room` as many as fit, without the words
/// around them.
fn written<'a>(fields: &[&'a [u8]], room: usize) -> Option<Cow<'a, [u8]>> {
    match fields {
        [] => return None,
        [only] if only.len() <= room => return Some(Cow::Borrowed(only)),
        _ => (),
    }
    let mut read = Mailboxes::default();
    fields.iter().for_each(|text| read.read(text));
    let mut addresses = Vec::new();
    for address in read.all().iter().flatten().map(Mailbox::written) {
        if !addresses.is_empty() && addresses.len() + 2 + address.len() > room {
            break;
        }
        addresses.extend_from_slice(if addresses.is_empty() { b"" } else { b", " });
        addresses.extend(address);
    }
    if addresses.is_empty() {
        addresses.push(b'?'); // fields without an address, or with too many, are MANY
    }
    Some(Cow::Owned(addresses))
}

impl Record {
    fn empty() -> Self {
        Self {
            position: 0,
            is_filled: false,
            has_header: false,
            has_shortened: false,
            spf: None,
            refused: None,
            lengths: [ABSENT; FIELDS],
            text: [0; TEXT_BYTES],
        }
    }

    /// The text of a field.
    pub fn get(&self, field: Field) -> Option<&[u8]> {
        let (place, length) = (field as usize, self.lengths[field as usize]);
        (length != ABSENT).then(|| &self.text[BEGIN[place]..BEGIN[place] + usize::from(length)])
    }

    /// The last stage of which something is known.
    pub fn reached(&self) -> Stage {
        let has = |field| self.get(field).is_some();
        match () {
            () if self.has_header => Stage::Data,
            () if has(Field::Rcpt) => Stage::Rcpt,
            () if has(Field::Sender) => Stage::Mail,
            () if has(Field::Helo) => Stage::Helo,
            () => Stage::Connect,
        }
    }

    /// Takes the message in place of the one that it held.
    fn fill(
        &mut self, envelope: &Envelope<'_>, addresses: &Addresses<'_>, refused: Option<&Arc<str>>, secret: &Secret,
    ) {
        (self.has_header, self.has_shortened, self.spf, self.refused) = (false, false, None, refused.cloned());
        self.lengths = [ABSENT; FIELDS];
        self.add(envelope, addresses, secret);
    }

    /// Adds what `envelope` knows and the record does not.
    fn add(&mut self, envelope: &Envelope<'_>, addresses: &Addresses<'_>, secret: &Secret) {
        let mut put = |field, text: Option<&[u8]>| {
            if let (Some(text), ABSENT) = (text, self.lengths[field as usize]) {
                self.put(field, text, secret);
            }
        };
        put(Field::ClientIp, envelope.client_ip);
        put(Field::ClientName, envelope.client_name);
        put(Field::Helo, envelope.helo);
        put(Field::AuthUser, envelope.auth_user);
        put(Field::Sender, envelope.mail_from);
        put(Field::Rcpt, envelope.rcpt_to.first().copied());
        if let Some(headers) = envelope.headers.filter(|headers| !headers.is_empty()) {
            put(Field::From, addresses.from.as_deref());
            put(Field::ReplyTo, addresses.reply_to.as_deref());
            put(Field::ListId, headers.list_id);
            put(Field::Dkim, headers.dkim.first().copied());
            put(Field::OtherDkim, headers.dkim.get(1).copied());
            self.has_header = true;
        }
        self.spf = envelope.spf.or(self.spf);
        self.is_filled = true;
    }

    fn put(&mut self, field: Field, text: &[u8], secret: &Secret) {
        let room = ROOM[field as usize];
        if text.len() > room {
            self.put_long(field, text, secret);
            return;
        }
        let begin = BEGIN[field as usize];
        self.text[begin..begin + text.len()].copy_from_slice(text);
        self.lengths[field as usize] = text.len() as u8;
    }

    /// Puts the end of a text that is longer than its room, and a hash of the whole.
    #[cold]
    fn put_long(&mut self, field: Field, text: &[u8], secret: &Secret) {
        let text = text.trim_ascii();
        let room = ROOM[field as usize];
        if text.len() <= room {
            self.put(field, text, secret);
            return;
        }
        let text = text.strip_prefix(b"<").and_then(|text| text.strip_suffix(b">")).unwrap_or(text);
        let hash = format!("{HASHED}{:016x}", secret.text(text).0);
        let host = text.iter().rposition(|&byte| byte == b'@').map(|at| &text[at..]);
        let short = match host {
            Some(host) if host.len() <= room - hash.len() => [hash.as_bytes(), host].concat(),
            _ => {
                // The labels at the end; the hash stands for those before them.
                let local = if host.is_some() { &b"x@"[..] } else { b"" };
                let end = &text[text.len() - (room - local.len() - hash.len())..];
                let end = end.iter().position(|&byte| byte == b'.').map_or(&b""[..], |dot| &end[dot..]);
                [local, hash.as_bytes(), end].concat()
            }
        };
        self.has_shortened = true;
        self.put(field, &short, secret);
    }
}

/// Whether a value may hold the hash of a text that was too long.
pub fn is_shortened(value: &str) -> bool {
    value.match_indices(HASHED).any(|(at, _)| {
        let digits = value.as_bytes().get(at + 1..at + 1 + DIGITS);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

impl Pane {
    fn empty() -> Self {
        let parts = KEPT.map(|kept| Part { seen: 0, records: vec![Record::empty(); kept] });
        Self { minute: 0, refused: 0, parts }
    }

    /// How many messages came: exact.
    pub fn seen(&self) -> u64 {
        self.parts.iter().map(|part| part.seen).sum()
    }
}

/// A random number below `bound`, by SplitMix64 (Steele, Lea and Flood 2014). Its bias is below 2⁻³² here.
fn below(bound: u64, random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *random;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    ((u128::from(mixed) * u128::from(bound)) >> 64) as u64
}

impl State {
    /// Counts a message. If it is kept, `keep` gets its record, which still has the message that was there before.
    fn count(&mut self, at_us: u64, is_refused: bool, keep: impl FnOnce(&mut Record)) -> SampledMessage {
        let Self { panes, latest, began_us, random } = self;
        let minute = (at_us / MINUTE_US).max(*latest);
        *began_us = at_us.min(*began_us);
        *latest = minute;
        let place = (minute % PANES as u64) as usize;
        let pane = &mut panes[place];
        if pane.minute != minute {
            (pane.minute, pane.refused) = (minute, 0);
            for part in &mut pane.parts {
                part.seen = 0;
                part.records.iter_mut().for_each(|record| (record.position, record.is_filled) = (0, false));
            }
        }
        pane.refused += u64::from(is_refused);
        let part = usize::from(is_refused);
        let Part { seen, records } = &mut pane.parts[part];
        *seen += 1;
        let (position, room) = (*seen, KEPT[part] as u64);
        let chosen = if position <= room { position - 1 } else { below(position, random) };
        let kept = (chosen < room).then_some((chosen as usize, position));
        if let Some((chosen, position)) = kept {
            let record = &mut records[chosen];
            (record.position, record.is_filled) = (position, false);
            keep(record);
        }
        SampledMessage { minute, pane: place, part, kept, is_refused }
    }

    /// The pane of a message, if it is not another minute's by now.
    fn pane_of(&mut self, message: &SampledMessage) -> Option<&mut Pane> {
        Some(&mut self.panes[message.pane]).filter(|pane| pane.minute == message.minute)
    }

    /// Calls `change` with the record of a message, if it still has one.
    fn with(&mut self, message: &SampledMessage, change: impl FnOnce(&mut Record)) {
        let (Some((place, position)), Some(pane)) = (message.kept, self.pane_of(message)) else { return };
        let record = &mut pane.parts[message.part].records[place];
        if record.position == position {
            change(record);
        }
    }
}

impl Samples {
    /// Allocates all panes. `secret` decides which messages are kept.
    pub fn new(secret: &Secret) -> Self {
        let random = secret.text(b"which messages are sampled").0;
        let panes = (0..PANES).map(|_| Pane::empty()).collect();
        let state = State { panes, latest: 0, began_us: u64::MAX, random };
        Self { state: Mutex::new(state), secret: secret.clone() }
    }

    /// The bytes of the panes: constant.
    pub const fn bytes() -> u64 {
        (PANES * ((KEPT[0] + KEPT[1]) * size_of::<Record>() + size_of::<Pane>())) as u64
    }

    /// Counts a message at engine time `at_us`, and keeps it if it is sampled.
    #[inline(never)]
    pub fn message(&self, envelope: &Envelope<'_>, refused: Option<&Arc<str>>, at_us: u64) -> SampledMessage {
        // Header addresses are read without the lock.
        let has_header = envelope.headers.is_some();
        let message = self.lock().count(at_us, refused.is_some(), |record| {
            if !has_header {
                record.fill(envelope, &Addresses::default(), refused, &self.secret);
            }
        });
        if message.kept.is_some() && has_header {
            let addresses = Addresses::of(envelope);
            self.lock().with(&message, |record| record.fill(envelope, &addresses, refused, &self.secret));
        }
        message
    }

    /// Adds what a later step of the message has found out.
    pub fn more(&self, message: &mut SampledMessage, envelope: &Envelope<'_>, refused: Option<&Arc<str>>) {
        if refused.is_some() && !message.is_refused {
            message.is_refused = true;
            if let Some(pane) = self.lock().pane_of(message) {
                pane.refused += 1;
            }
        }
        if message.kept.is_none() {
            return;
        }
        let addresses = Addresses::of(envelope);
        self.lock().with(message, |record| {
            record.add(envelope, &addresses, &self.secret);
            if let Some(limit) = refused {
                record.refused = Some(Arc::clone(limit));
            }
        });
    }

    /// Copies the panes, each with the records that are filled. The lock is taken for each pane.
    pub fn panes(&self) -> Snapshot {
        let began_us = Some(self.lock().began_us).filter(|&began_us| began_us < u64::MAX);
        let copied = (0..PANES).map(|place| {
            let state = self.lock();
            let Pane { minute, refused, parts } = &state.panes[place];
            let parts = parts.each_ref().map(|Part { seen, records }| Part {
                seen: *seen,
                records: records.iter().filter(|record| record.is_filled).cloned().collect(),
            });
            Pane { minute: *minute, refused: *refused, parts }
        });
        Snapshot { began_us, panes: copied.filter(|pane| pane.seen() > 0).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Records are plain values. One whose copy did not end is not filled, so nobody reads it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
