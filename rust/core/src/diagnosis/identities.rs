//! The identities that are compared, and their values in one kept message.

use smallvec::SmallVec;

use super::samples::{Field, Record};
use crate::envelope::{Envelope, Headers};
use crate::identity::{Identities, Identity, Prefixes, SenderKind, Sources, SuffixList};

/// The identities that are compared. Where two tie a surge together equally well, the first of them is named.
pub const COMPARED: [Identity; 18] = [
    // Nobody forges these, and they are narrow.
    Identity::AuthUser,
    Identity::ClientIp,
    Identity::ClientNet(Prefixes { v4: 24, v6: 48 }),
    // Where the answers go, which is what a flood is sent for.
    Identity::ReplyToAddress,
    Identity::ReplyToOrg,
    // What its author says of himself, the narrower one first.
    Identity::SenderAddress,
    Identity::SenderHost,
    Identity::SenderOrg(0),
    Identity::SenderRegistered,
    Identity::DkimOrg,
    Identity::FromAddress,
    Identity::FromOrg,
    Identity::HeloHost,
    // What many customers of a provider share.
    Identity::ClientNet(Prefixes { v4: 16, v6: 32 }),
    Identity::ClientOrg,
    // One for each mailing list.
    Identity::ListId,
    // The victims.
    Identity::RcptAddress,
    Identity::RcptHost,
];

/// What one message has: each value with the place of its identity in [`COMPARED`].
pub(super) type Values = SmallVec<[(usize, String); COMPARED.len()]>;

/// Reads the values of a message, and whether its sender is proven.
pub(super) fn read(record: &Record, suffixes: &SuffixList) -> (Values, bool) {
    let rcpt_to: SmallVec<[&[u8]; 1]> = record.get(Field::Rcpt).into_iter().collect();
    let from: SmallVec<[&[u8]; 1]> = record.get(Field::From).into_iter().collect();
    let reply_to: SmallVec<[&[u8]; 1]> = record.get(Field::ReplyTo).into_iter().collect();
    let dkim: SmallVec<[&[u8]; 2]> =
        [Field::Dkim, Field::OtherDkim].into_iter().filter_map(|field| record.get(field)).collect();
    let headers = Headers { from: &from, reply_to: &reply_to, list_id: record.get(Field::ListId), dkim: &dkim };
    let envelope = Envelope {
        client_ip: record.get(Field::ClientIp),
        client_name: record.get(Field::ClientName),
        helo: record.get(Field::Helo),
        mail_from: record.get(Field::Sender),
        rcpt_to: &rcpt_to,
        auth_user: record.get(Field::AuthUser),
        spf: record.spf,
        size: None,
        headers: record.has_header.then_some(&headers),
    };
    let identities = Identities::read(&envelope, suffixes, Sources::ALL);
    let mut values = Values::new();
    for (place, identity) in COMPARED.into_iter().enumerate() {
        values.extend(identities.values(identity).iter().map(|value| (place, value.to_string())));
    }
    (values, identities.sender_kind() == SenderKind::Proven)
}
