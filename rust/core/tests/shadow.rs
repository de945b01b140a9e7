//! `mode = "shadow"`: a limit that decides and counts, and lets pass what it would refuse.

mod guard;
mod oracle;

use guard::{MIB, check, engine, message};
use oracle::{Bucket, Buckets};
use proptest::prelude::*;

const POLICY: &str = r#"
[[limit]]
name = "net"
per = "client.net"
rate = "4/10 seconds"

[[limit]]
name = "org"
per = "sender.org"
rate = "3/10 seconds"
mode = "shadow"

[[limit]]
name = "pair"
per = ["client.net", "sender.org"]
rate = "2/10 seconds"
mode = "shadow"
"#;

fn buckets<K: Eq + std::hash::Hash>(burst: u128) -> Buckets<K> {
    Buckets::new(Bucket { amount: burst, period_us: 10_000_000, burst })
}

proptest! {
    /// The rule in four lines: who is enforced decides; of the others those are charged that agree,
    /// and only when it passes.
    #[test]
    fn shadow_limits_count_what_passes_and_they_admit_and_never_decide(
        steps in prop::collection::vec((0u64..2_000_000, 0u8..2, 0u8..3), 1..200),
    ) {
        let engine = engine(POLICY, MIB);
        let (mut nets, mut orgs, mut pairs) = (buckets(4), buckets(3), buckets(2));
        let mut now = 0;
        for (pause, net, org) in steps {
            now += pause;
            let (client, sender) = (format!("192.0.{net}.1"), format!("a@o{org}.com"));
            let decision = check(&engine, &message(&client, &sender), now);
            let passes = nets.fits(&net, now, 1);
            let (org_agrees, pair_agrees) = (orgs.fits(&org, now, 1), pairs.fits(&(net, org), now, 1));
            prop_assert_eq!(decision.allowed(), passes);
            let answers = [(org_agrees, "org"), (pair_agrees, "pair")];
            let would: Vec<&str> = answers.iter().filter(|(agrees, _)| !agrees).map(|(_, name)| *name).collect();
            prop_assert_eq!(decision.shadow.iter().map(|name| &**name).collect::<Vec<_>>(), would);
            if passes {
                nets.charge(net, now, 1);
                if org_agrees { orgs.charge(org, now, 1) }
                if pair_agrees { pairs.charge((net, org), now, 1) }
            }
        }
    }
}

/// Three hosts: the shadow would admit two. The third passes, and stays unknown to it.
#[test]
fn what_a_shadow_fan_out_would_refuse_does_not_become_known() {
    let policy = r#"[[limit]]
        name = "hosts"
        per = "sender.registered"
        distinct = "sender.host"
        rate = "2/hour"
        mode = "shadow""#;
    let engine = engine(policy, MIB);
    let would = |host: &str, now| {
        let decision = check(&engine, &message("192.0.2.1", &format!("a@{host}.ex.com")), now);
        assert!(decision.allowed());
        decision.shadow.iter().any(|name| &**name == "hosts")
    };
    assert_eq!(["h1", "h2", "h3", "h3", "h1"].map(|host| would(host, 1)), [false, false, true, true, false]);
}

/// The memory is shared: what the enforced limit admits is known, whatever the shadow would have said.
#[test]
fn what_an_enforced_limit_admits_is_known_to_both() {
    let limit = |name, rate, mode| {
        format!(
            "[[limit]]\nname = \"{name}\"\nper = \"sender.registered\"\ndistinct = \"sender.host\"\n\
            rate = \"{rate}/hour\"\nmode = \"{mode}\"\n"
        )
    };
    let engine = engine(&[limit("wide", 3, "enforce"), limit("narrow", 1, "shadow")].concat(), MIB);
    let decide = |host: &str| {
        let decision = check(&engine, &message("192.0.2.1", &format!("a@{host}.ex.com")), 1);
        (decision.allowed(), decision.shadow.len())
    };
    let seen = ["h1", "h2", "h2", "h3", "h4"].map(decide);
    assert_eq!(seen, [(true, 0), (true, 1), (true, 0), (true, 1), (false, 1)]);
}

/// One of several recipients is enough for the limit to stand aside as a whole.
#[test]
fn a_shadow_limit_is_charged_for_all_recipients_or_for_none() {
    let engine = engine(
        "[[limit]]\nname = \"box\"\nper = \"rcpt.address\"\ncount = \"recipients\"\nrate = \"1/hour\"\n\
        mode = \"shadow\"",
        MIB,
    );
    let shadows = |recipients: &[&[u8]]| {
        let envelope = throttle_core::envelope::Envelope { rcpt_to: recipients, ..message("192.0.2.1", "a@ex.com") };
        check(&engine, &envelope, 1).shadow.len()
    };
    let (a, b): (&[u8], &[u8]) = (b"a@box.com", b"b@box.com");
    assert_eq!([shadows(&[a]), shadows(&[a, b]), shadows(&[b])], [0, 1, 0]);
}
