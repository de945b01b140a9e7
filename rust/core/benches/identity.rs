//! Cost of reading one envelope, step by step.
//!
//! `cargo bench -p throttle-core --bench identity`; with `SUFFIX_LIST=<public_suffix_list.dat>` on that list,
//! else on a made-up one
//! of the same size.

#![allow(missing_docs, reason = "criterion's macro writes a function without any")]

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use throttle_core::envelope::Envelope;
use throttle_core::identity::{Identities, Identity, Prefixes, Source, Sources, SuffixList};
use throttle_core::key::Secret;

/// Different names, so that neither branches nor the list's nodes are always warm.
const NAMES: usize = 4096;

fn suffixes() -> SuffixList {
    let text = std::env::var("SUFFIX_LIST").map_or_else(
        |_| {
            let rules = (0..9_000).map(|n| format!("r{n}.com\n")).collect::<String>();
            let private = (0..4_000).map(|n| format!("p{n}.net\n")).collect::<String>();
            let fixture = include_str!("../tests/data/suffixes.dat");
            fixture
                .replace("\ncom\n", &format!("\ncom\n{rules}"))
                .replace("\nuk.com\n", &format!("\nuk.com\n{private}"))
        },
        |path| std::fs::read_to_string(path).expect("SUFFIX_LIST names a file"),
    );
    SuffixList::parse(&text, &[]).expect("a sound list")
}

fn distinct_letters() -> String {
    (0x4E00..0x4E00 + 85).filter_map(char::from_u32).chain(['.']).collect()
}

/// Texts in turn.
struct Turn(Vec<String>, usize);

impl Turn {
    fn new(text: impl Fn(usize) -> String) -> Self {
        Self((0..NAMES).map(text).collect(), 0)
    }

    fn next(&mut self) -> &str {
        self.1 = (self.1 + 1) % NAMES;
        &self.0[self.1]
    }
}

fn splitting(criterion: &mut Criterion) {
    let list = suffixes();
    let mut group = criterion.benchmark_group("suffix");
    for (name, suffix) in
        [("icann", "com"), ("second-level", "co.uk"), ("private", "github.io"), ("unlisted", "invalid")]
    {
        let mut hosts = Turn::new(|n| format!("a{n}.b.c.org{}.{suffix}", n % 999));
        group.bench_function(name, |bencher| bencher.iter(|| list.split(black_box(hosts.next()))));
    }
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let list = suffixes();
    let wanted = [Source::ClientIp, Source::Sender, Source::Rcpt].into_iter().fold(Sources::default(), Sources::with);
    let net = Identity::ClientNet(Prefixes { v4: 24, v6: 48 });
    let kinds = [net, Identity::SenderHost, Identity::SenderOrg(0), Identity::SenderRegistered, Identity::RcptAddress];
    let secret = Secret::new(*b"sixteen octets!!");
    let mut group = criterion.benchmark_group("envelope");
    type Row = (&'static str, fn(usize) -> String);
    let rows: [Row; 5] = [
        ("lower", |n| format!("bounce-{n}@a{n}.b2.c3.d4.e5.f6.sandbox.salesforce.com")),
        ("mixed", |n| format!("Bounce-{n}@A{n}.b2.c3.d4.e5.f6.sandbox.salesforce.com")),
        ("unicode", |n| format!("bounce-{n}@bücher{n}.example.com")),
        ("junk", |n| format!("bounce-{n}@xn--{n}\u{FF}.b.example.com")),
        // As much work as a host can make: labels of different letters, as long as are looked at,
        // up to the longest host.
        ("worst", |n| format!("u@{n}.{}com", distinct_letters().repeat(15))),
    ];
    let mut ips = Turn::new(|n| Ipv4Addr::from_bits(0xC633_0000 + n as u32).to_string());
    let rcpt_to: [&[u8]; 1] = [b"in@box.example.org"];
    for (name, row) in rows {
        let mut senders = Turn::new(row);
        let mut next = |steps: u8| {
            let envelope = Envelope {
                client_ip: Some(ips.next().as_bytes()),
                mail_from: Some(senders.next().as_bytes()),
                rcpt_to: &rcpt_to,
                ..Envelope::default()
            };
            let identities = Identities::read(black_box(&envelope), &list, wanted);
            let mut sum = 0;
            for kind in kinds.iter().filter(|_| steps > 0) {
                let values = identities.values(*kind);
                sum ^= if steps > 1 { secret.key(*kind, &values[0]).0 } else { values.len() as u64 };
                black_box(&values);
            }
            if steps > 2 {
                for part in identities.ladder(Identity::SenderHost, Identity::SenderRegistered) {
                    sum ^= secret.part(Identity::SenderHost, part).0;
                }
            }
            sum ^ identities.trust(Identity::SenderHost) as u64
        };
        for (steps, what) in ["read", "read+values", "read+keys", "read+keys+ladder"].iter().enumerate() {
            group.bench_function(format!("{name}/{what}"), |bencher| bencher.iter(|| next(steps as u8)));
        }
    }
    group.finish();
}

fn joining(criterion: &mut Criterion) {
    use std::hash::Hasher;
    let secret = Secret::new(*b"sixteen octets!!");
    let sip = siphasher::sip::SipHasher13::new_with_key(b"sixteen octets!!");
    let mut group = criterion.benchmark_group("join");
    // Each join waits for the one before: latency, not throughput.
    let (mut a, b) = (secret.text(b"a"), secret.text(b"b"));
    group.bench_function("folded multiplication", |bencher| bencher.iter(|| a = secret.join(black_box(a), b)));
    let mut a = a.0;
    group.bench_function("siphash-1-3 of 16 octets", |bencher| {
        bencher.iter(|| {
            let mut octets = [0; 16];
            octets[..8].copy_from_slice(&black_box(a).to_le_bytes());
            octets[8..].copy_from_slice(&b.0.to_le_bytes());
            a = sip.hash(&octets);
        });
    });
    group.bench_function("siphash-1-3, streamed", |bencher| {
        bencher.iter_batched(
            || sip,
            |mut sip| {
                sip.write_u64(black_box(a));
                sip.write_u64(b.0);
                sip.finish()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, splitting, reading, joining);
criterion_main!(benches);
