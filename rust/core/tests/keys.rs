//! Keys: one for the same thing however it is put together, and pairs that keep their order.

mod guard;

use std::collections::HashSet;

use guard::{MIB, check, engine, message};
use siphasher::sip::SipHasher13;
use throttle_core::envelope::Envelope;
use throttle_core::identity::{Identity, Part, Tag, Trust, Value};
use throttle_core::key::{Key, Secret, mask};

const OCTETS: [u8; 16] = *b"sixteen octets!!";

/// The hash is fed in pieces, of which the last may be long: no border shows.
#[test]
fn the_key_of_text_is_siphash_at_any_length() {
    let secret = Secret::new(OCTETS);
    for length in (0..300).chain([4096, 1 << 20]) {
        let text = vec![b'x'; length];
        assert_eq!(secret.text(&text).0, SipHasher13::new_with_key(&OCTETS).hash(&text), "of {length} bytes");
    }
}

/// Its first part fills whole words: where the second begins does not depend on what the first ends with.
#[test]
fn the_key_of_a_mailbox_is_siphash_of_its_padded_encoding() {
    let secret = Secret::new(OCTETS);
    let texts: Vec<String> = (0..20).map(|length| "abcdefghijklmnopqrst"[..length].to_owned()).collect();
    for (local, host) in texts.iter().flat_map(|local| texts.iter().map(move |host| (local, host))) {
        let zeros = vec![0; local.len().next_multiple_of(8) - local.len()];
        let length = (local.len() as u32).to_le_bytes();
        let encoded = [&[0xFF, 4, 0, 0], &length[..], local.as_bytes(), &zeros, host.as_bytes()].concat();
        let key = secret.key(Identity::RcptAddress, &Value::Address(Part::Text(local), Part::Text(host)));
        let hash = SipHasher13::new_with_key(&OCTETS).hash(&encoded);
        assert_eq!(key.0, hash ^ mask(Identity::RcptAddress), "{local}@{host}");
    }
}

#[test]
fn another_secret_gives_other_keys() {
    let value = Value::Name(Part::Text("ex.com"));
    let keys =
        [OCTETS, [0; 16], *b"sixteen octets!?"].map(|bytes| Secret::new(bytes).key(Identity::SenderOrg(0), &value));
    assert_eq!(HashSet::from(keys).len(), 3);
    assert_eq!(format!("{:?}", Secret::new(OCTETS)), "Secret");
}

/// Every identity, class and tag, and the texts that print like one.
#[test]
fn no_two_tags_texts_classes_or_identities_share_a_key() {
    use Tag::{Literal, Malformed, Null, Overlong, Unknown, Unlisted, Unqualified};
    let secret = Secret::new(OCTETS);
    let tags = [Null, Unqualified, Literal, Unlisted, Malformed, Overlong, Unknown];
    let texts = tags.map(|tag| tag.to_string());
    let parts = tags.iter().map(|tag| Part::Tag(*tag));
    let parts = parts.chain(texts.iter().flat_map(|text| [Part::Text(text), Part::Raw(text.as_bytes())]));
    let parts: Vec<Part<'_>> = parts.collect();
    let pairs = parts.iter().flat_map(|a| parts.iter().map(|b| Value::Address(*a, *b)));
    let values: Vec<Value<'_>> = pairs.chain(parts.iter().copied().map(Value::Name)).collect();
    let identities = Identity::PLAIN.iter().copied().chain((1..=5).map(Identity::SenderOrg));
    let mut keys = HashSet::new();
    for identity in identities {
        for value in &values {
            let key = secret.key(identity, value);
            assert!(keys.insert(key), "{identity} {value}");
            for class in [Trust::Proven, Trust::Claimed] {
                assert!(keys.insert(secret.with_trust(key, class)), "{identity} {class:?} {value}");
            }
        }
        for text in &texts {
            assert!(keys.insert(secret.part(identity, text)), "{identity} {text}");
        }
    }
}

/// A million pairs of few keys: no two meet, in neither order, and every bit is set about half the time.
#[test]
fn pairs_do_not_meet_and_are_uniform() {
    const SIDE: u64 = 1000;
    let secret = Secret::new(OCTETS);
    let keys: Vec<Key> = (0..SIDE).map(|n| secret.text(&n.to_le_bytes())).collect();
    let pairs = || keys.iter().flat_map(|a| keys.iter().map(|b| secret.join(*a, *b)));
    assert_eq!(pairs().collect::<HashSet<_>>().len() as u64, SIDE * SIDE);
    let mut set = [0u64; 64];
    for pair in pairs() {
        set.iter_mut().enumerate().for_each(|(bit, count)| *count += pair.0 >> bit & 1);
    }
    // Six standard deviations of a fair coin thrown a million times: 6 · 500.
    assert!(set.iter().all(|count| count.abs_diff(SIDE * SIDE / 2) < 3000), "{set:?}");
}

/// Tables take fingerprints and line numbers from either half of a key.
#[test]
fn half_of_a_pairs_key_collides_no_more_than_chance() {
    let secret = Secret::new(OCTETS);
    let one = secret.text(b"one");
    // 2¹⁷ pairs into 2³² values: two collisions are expected, sixteen are not.
    for shift in [0, 32] {
        for swap in [false, true] {
            let keys = (0..1u64 << 17).map(|n| secret.text(&n.to_le_bytes()));
            let joined = keys.map(|key| if swap { secret.join(one, key) } else { secret.join(key, one) });
            let halves: HashSet<u32> = joined.map(|key| (key.0 >> shift) as u32).collect();
            assert!((1 << 17) - halves.len() < 16, "{} distinct", halves.len());
        }
    }
}

/// The limit that refuses each message of one hour, in which `wide` admits three of a key and `narrow` one.
fn refusals(wide: &str, narrow: &str, messages: &[(&str, &str, usize)]) -> Vec<Option<String>> {
    let limit = |name: &str, per: &str, amount: u32| {
        format!("[[limit]]\nname = \"{name}\"\nper = \"{per}\"\nrate = \"{amount}/hour\"\n")
    };
    let limits = limit("wide", wide, 3) + &limit("narrow", narrow, 1);
    let engine = engine(&format!("max_recipients = 100\n{limits}"), MIB);
    let recipients: [&[u8]; 2] = [b"a@box.com", b"b@box.com"];
    let asked = messages.iter().map(|(ip, from, count)| {
        let envelope = Envelope { rcpt_to: &recipients[..*count], ..message(ip, from) };
        check(&engine, &envelope, 1).refusal.map(|refusal| refusal.limit.to_string())
    });
    asked.collect()
}

/// Two identities that nearly always have the same value are hashed once. A message to several recipients hashes each.
#[test]
fn networks_that_differ_for_ipv6_only_have_keys_of_their_own() {
    let narrow = || Some("narrow".to_owned());
    let of_v6 = ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:1::2"].map(|ip| (ip, "joe@a.com", 1));
    assert_eq!(refusals("client.net/24/48", "client.net/24/64", &of_v6), [None, None, narrow()]);
    let of_v4 = [("192.0.2.1", 1), ("192.0.3.1", 2), ("192.0.2.2", 2), ("192.0.3.2", 1)];
    let of_v4 = of_v4.map(|(ip, count)| (ip, "joe@a.com", count));
    assert_eq!(refusals("client.net/24/48", "client.net/24/64", &of_v4), [None, None, narrow(), narrow()]);
    let of_address = [("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.1", 2)].map(|(ip, count)| (ip, "joe@a.com", count));
    assert_eq!(refusals("client.net/32/64", "client.ip", &of_address), [None, None, narrow()]);
}

#[test]
fn organisations_under_one_registered_name_have_keys_of_their_own() {
    let narrow = || Some("narrow".to_owned());
    let tenants = ["joe@a.github.io", "joe@b.github.io", "joe@a.github.io"].map(|from| ("192.0.2.1", from, 1));
    assert_eq!(refusals("sender.registered", "sender.org", &tenants), [None, None, narrow()]);
    let owners = [("joe@a.com", 1), ("joe@b.com", 2), ("x@mx.a.com", 2), ("x@mx.b.com", 1)];
    let owners = owners.map(|(from, count)| ("192.0.2.1", from, count));
    assert_eq!(refusals("sender.registered", "sender.org", &owners), [None, None, narrow(), narrow()]);
}
