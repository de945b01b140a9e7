//! Policies that follow each other at random, against a twin for each limit: an engine of its own that lives as long as
//! the limit does not change.
//!
//! A message passes when every twin would let it pass, and then each of them is charged; so the oracle holds for any
//! kind of limit, and knows nothing of
//! changing a policy. A sketch refuses some of its keys early, which of them depends on where it lies:
//! of these limits it is counted what a key got.

mod guard;

use std::collections::BTreeMap;

use guard::{MIB, engine, list, message};
use proptest::prelude::*;
use throttle_core::engine::{Engine, Live, NotReloaded};
use throttle_core::envelope::Envelope;
use throttle_core::policy::Policy;
use throttle_core::region::Now;
use throttle_core::store::access_list::AccessAction;

const START_US: i64 = 1_795_541_400_000_000;

const KINDS: usize = 12;

/// Fresh senders of one flood: more than a table of one page has room for.
const FLOOD: u32 = 500;

/// A limit by its kind, with one of three numbers.
fn limit(kind: usize, v: usize) -> String {
    let body = match kind {
        0 => format!("per = 'client.net'\nrate = '{}/hour'\nburst = {}", v + 3, 2 * v + 4),
        1 => format!("per = 'sender.org'\nrate = '{}/minute'\nalgorithm = 'sliding-window'", v + 3),
        2 => format!("per = 'sender.address'\nrate = '{}/day'\nwhen_full = 'refuse'\nmemory = '4 KiB'", v + 2),
        3 => format!("per = 'sender.address'\nrate = '{}/day'\nwhen_full = 'sketch'\nmemory = '8 KiB'", v + 2),
        4 => format!("per = 'client.net'\ndistinct = 'sender.host'\nrefuse = 'all'\nrate = '{}/hour'", 10 * v + 20),
        5 => format!(
            "per = 'client.net'\ndistinct = 'sender.host'\nrate = '{}/hour'\nremember = '{} days'",
            v + 6,
            v + 1
        ),
        6 => format!(
            "per = 'sender.registered'\ndistinct = 'sender.host'\nrate = '{}/hour'\nsettle = '10 minutes'\n\
            remember = '{} hours'",
            v + 4,
            v + 5
        ),
        7 => format!("per = 'client.ip'\nrate = '{} kB/minute'", v + 4),
        8 => format!("per = 'sender.org'\nrate = '{}/hour'\nverified = 'proven'", v + 2),
        9 => format!("per = ['client.net', 'sender.org']\nrate = '{}/hour'\n", v + 2),
        10 => format!(
            "per = 'sender.address'\nrate = '{}/day'\nalgorithm = 'sliding-window'\nwhen_full = 'sketch'\n\
            memory = '8 KiB'",
            v + 2
        ),
        _ => format!(
            "per = 'client.org'\ndistinct = 'sender.org'\nrefuse = 'all'\nwhen_full = 'refuse'\nrate = '{}/hour'",
            v + 9
        ),
    };
    format!("[[limit]]\nname = 'l{kind}'\n{body}\n")
}

fn quota(v: usize) -> String {
    format!("[limit.quota.'org0.com']\nrate = '{}/hour'\n", v + 5)
}

/// What a policy is made of: the number of each kind; that of the quota of the composite, where there is one.
#[derive(Clone, Debug)]
struct Made {
    limits: BTreeMap<usize, usize>,
    quota: Option<usize>,
    upside_down: bool,
    moved: usize,
}

impl Made {
    fn text(&self) -> String {
        let mut all: Vec<String> =
            self.limits.iter().map(|(&kind, &v)| limit(kind, v) + &self.quota_of(kind)).collect();
        if self.upside_down {
            all.reverse();
        }
        "# moved\n".repeat(self.moved) + &all.concat()
    }

    fn quota_of(&self, kind: usize) -> String {
        self.quota.filter(|_| kind == 9).map(quota).unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send { net: u8, org: u8, host: u16, proven: bool },
    Flood(u32),
    Wait(u32),
    Reload(Made),
}

/// Whose counts these are: a kind of limit, and whether they are those of its quota.
type Whose = (usize, bool);

struct Twins {
    made: Made,
    all: BTreeMap<Whose, (usize, Engine)>,
    /// What each sender got under a limit with a sketch, since it began.
    got: BTreeMap<(usize, String), usize>,
}

fn has_sketch(kind: usize) -> bool {
    kind == 3 || kind == 10
}

impl Twins {
    fn new(made: &Made) -> Self {
        let mut twins = Self { made: made.clone(), all: BTreeMap::new(), got: BTreeMap::new() };
        twins.follow(made);
        twins
    }

    fn follow(&mut self, made: &Made) {
        let mut next = BTreeMap::new();
        let own = made.limits.iter().map(|(&kind, &v)| ((kind, false), v)).filter(|((kind, _), _)| !has_sketch(*kind));
        // A quota begins anew with its limit.
        let quoted = made.quota.zip(made.limits.get(&9)).map(|(of, v)| ((9, true), 10 * v + of));
        for (whose, v) in own.chain(quoted) {
            let text = || if whose.1 { limit(9, v / 10) + &quota(v % 10) } else { limit(whose.0, v) };
            let had = self.all.remove(&whose).filter(|(was, _)| *was == v);
            next.insert(whose, had.unwrap_or_else(|| (v, engine(&text(), 2 * MIB))));
        }
        self.got.retain(|(kind, _), _| made.limits.get(kind).is_some_and(|v| self.made.limits.get(kind) == Some(v)));
        (self.made, self.all) = (made.clone(), next);
    }

    /// Whether the answer is right; when it was admitted, all are charged.
    fn is_right(&mut self, told: Option<&str>, org: Option<u8>, envelope: &Envelope<'_>, now: Now) -> bool {
        let refusing = self.refusing(org, envelope, now);
        let limits = &self.made.limits;
        if let Some(told) = told {
            let is_early = limits.keys().any(|kind| has_sketch(*kind) && told == format!("l{kind}"));
            return is_early || refusing.iter().any(|refusing| refusing == told);
        }
        for (_, (_, twin)) in self.asked(org).filter(|_| refusing.is_empty()) {
            assert!(twin.check(envelope, None, now).allowed());
        }
        // A proven sender has counts of its own.
        let sender = format!("{:?} by {:?}", envelope.mail_from, envelope.client_name);
        let keeps = limits.iter().filter(|(kind, _)| has_sketch(**kind)).all(|(&kind, v)| {
            let got = self.got.entry((kind, sender.clone())).or_default();
            *got += 1;
            *got <= v + 2
        });
        refusing.is_empty() && keeps
    }

    fn asked(&self, org: Option<u8>) -> impl Iterator<Item = (&Whose, &(usize, Engine))> {
        let is_quoted = org == Some(0) && self.made.quota.is_some();
        self.all.iter().filter(move |((kind, of_quota), _)| *kind != 9 || *of_quota == is_quoted)
    }

    fn refusing(&self, org: Option<u8>, envelope: &Envelope<'_>, now: Now) -> Vec<String> {
        self.asked(org)
            .filter(|(_, (_, twin))| !twin.peek(envelope, None, now).allowed())
            .map(|((kind, _), _)| format!("l{kind}"))
            .collect()
    }
}

fn made() -> impl Strategy<Value = Made> {
    let limits = prop::collection::btree_map(0..KINDS, 0usize..3, 1..KINDS);
    let quota = prop::option::of(0usize..2);
    (limits, quota, any::<bool>(), 0usize..3).prop_map(|(limits, quota, upside_down, moved)| Made {
        limits,
        quota,
        upside_down,
        moved,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let send = (0u8..3, 0u8..3, 0u16..40, any::<bool>()).prop_map(|(net, org, host, proven)| Step::Send {
        net,
        org,
        host,
        proven,
    });
    prop_oneof![
        30 => send,
        1 => (0u32..3).prop_map(Step::Flood),
        3 => (0u32..500_000_000).prop_map(Step::Wait),
        4 => made().prop_map(Step::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_did_not_change_decides_as_if_nothing_had(
        first in made(), steps in prop::collection::vec(step(), 20..200),
    ) {
        let live = Live::new(engine(&first.text(), 32 * MIB));
        let mut twins = Twins::new(&first);
        let mut now_us = START_US;
        live.engine()
            .say("client.net", "203.0.113.0/24", AccessAction::Block, None, Now::Stated(now_us))
            .expect("an entry");
        for (number, step) in steps.iter().enumerate() {
            let now = Now::Stated(now_us);
            let mut ask = |org: Option<u8>, envelope: &Envelope<'_>| {
                let decision = live.engine().check(envelope, None, now);
                let told = decision.refusal.map(|refusal| refusal.limit.to_string());
                let refusing = twins.refusing(org, envelope, now);
                let is_right = twins.is_right(told.as_deref(), org, envelope, now);
                prop_assert!(
                    is_right, "step {}: told {:?}, the twins {:?} of {:?}", number, told, refusing, twins.made,
                );
                Ok(())
            };
            match step {
                Step::Send { net, org, host, proven } => {
                    let (ip, name) = (format!("198.51.{net}.7"), format!("mx.org{org}.com"));
                    let sender = format!("joe@h{host}.t{}.org{org}.com", host % 5);
                    let client_name = proven.then_some(name.as_bytes());
                    ask(Some(*org), &Envelope { client_name, size: Some(1000), ..message(&ip, &sender) })?;
                }
                Step::Flood(which) => {
                    for n in 0..FLOOD {
                        let (ip, sender) = (
                            format!("10.{which}.{}.{}", n / 250, n % 250), format!("u{n}@h{n}.f{which}x{n}.com"),
                        );
                        ask(None, &Envelope { size: Some(1000), ..message(&ip, &sender) })?;
                    }
                }
                Step::Wait(us) => now_us += i64::from(*us),
                Step::Reload(made) => {
                    let policy = Policy::parse("next.toml", &made.text()).expect("a right policy");
                    match live.reload(&policy, list(&[]), &|| ()) {
                        Ok(()) => twins.follow(made),
                        Err(NotReloaded::Wrong(error)) => {
                            prop_assert_eq!(error.field.as_deref(), Some("memory"), "{}", error);
                        }
                        Err(NotReloaded::Overtaken) => prop_assert!(false, "nobody else changes it"),
                    }
                }
            }
            let blocked = live.engine().check(&message("203.0.113.9", "a@b.com"), None, Now::Stated(now_us));
            prop_assert!(blocked.refusal.is_some_and(|refusal| &*refusal.limit == "blocked"));
        }
    }
}
