//! The names of identities, as a policy spells them.

use throttle_core::identity::Identity;

#[test]
fn a_name_prints_as_it_was_read() {
    let plain = Identity::PLAIN.iter().map(ToString::to_string);
    let others = ["client.net/24/48", "client.net/0/128", "client.net/32/0", "sender.org+1", "sender.org+5"];
    for name in plain.chain(others.map(str::to_owned)) {
        assert_eq!(name.parse::<Identity>().map(|identity| identity.to_string()), Ok(name));
    }
    assert_eq!("client.net/24/64".parse(), "client.net".parse::<Identity>());
}

#[test]
fn every_plain_name_is_offered() {
    assert!(Identity::PLAIN.iter().all(|identity| Identity::NAMES.contains(&&*identity.to_string())));
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest() {
    let nearest = |name: &str| name.parse::<Identity>().map_err(|error| error.nearest);
    for (name, near) in [
        ("sender.orgs", Some("sender.org")),
        ("Sender.Org", Some("sender.org")),
        ("sender_host", Some("sender.host")),
        ("sendre.registered", Some("sender.registered")),
        ("client.net/24", Some("client.net/<v4>/<v6>")),
        ("client.net/33/64", Some("client.net/<v4>/<v6>")),
        ("client.net/24/129", Some("client.net/<v4>/<v6>")),
        ("client.net/024/64", Some("client.net/<v4>/<v6>")),
        ("client.net/+24/64", Some("client.net/<v4>/<v6>")),
        ("client.net/24/64/", Some("client.net/<v4>/<v6>")),
        ("sender.org+0", Some("sender.org+N")),
        ("sender.org+6", Some("sender.org+N")),
        ("sender.org++1", Some("sender.org+N")),
        ("dkim.orgs", Some("dkim.org")),
        ("reply-to.address", Some("reply_to.address")),
        ("Reply_To.Org", Some("reply_to.org")),
        ("list.ids", Some("list.id")),
        ("dkim.signature", None),
        ("", None),
    ] {
        assert_eq!(nearest(name), Err(near), "of {name:?}");
    }
}

#[test]
fn who_writes_several_may_not_be_paired_with_another_such() {
    let many = Identity::PLAIN.iter().filter(|identity| identity.has_many()).map(ToString::to_string);
    let expected = [
        "rcpt.address",
        "rcpt.host",
        "from.address",
        "from.host",
        "from.org",
        "reply_to.address",
        "reply_to.org",
        "reply_to.mailbox",
        "reply_to.unaligned",
        "dkim.org",
    ];
    assert_eq!(many.collect::<Vec<_>>(), expected);
}

#[test]
fn a_ladder_stands_between_an_organisation_and_its_own_host_only() {
    let named = |name: &str| name.parse::<Identity>().expect("a name");
    let hosts = Identity::PLAIN.iter().filter(|identity| identity.is_host()).map(ToString::to_string);
    assert_eq!(hosts.collect::<Vec<_>>(), ["client.host", "helo.host", "sender.host", "rcpt.host", "from.host"]);
    for (per, host, expected) in [
        ("sender.org", "sender.host", true),
        ("sender.org+2", "sender.host", true),
        ("sender.registered", "sender.host", true),
        ("client.org", "client.host", true),
        ("helo.org", "helo.host", true),
        ("sender.org", "client.host", false),
        ("client.org", "sender.host", false),
        ("client.net", "sender.host", false),
        ("sender.host", "sender.host", false),
    ] {
        assert_eq!(named(per).is_part_of_host(named(host)), expected, "{per} of {host}");
    }
}
