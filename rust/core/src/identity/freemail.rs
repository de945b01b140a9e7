//! Mail providers that give single mailboxes to everybody, and the spellings of one mailbox at them.
//!
//! At any other host the owner of the domain reads whatever is sent to it, so there the organisation stands for all
//! local parts. A host that is missing here costs its users a shared counter; a host that is here by mistake gives its
//! owner as many counters as local parts.
//!
//! Knows normalised text only. Invariant: a spelling is changed only where the provider says that both reach the same
//! mailbox.
//!
//! **Sources.** The list was written for this file, from the sign-up pages and the help of the providers, as of 2026.
//! Spellings: Google, "Dots don't matter in Gmail addresses"; Yahoo Help, "Disposable email addresses" (a base name, a
//! hyphen and a keyword; a user's own name has no hyphen); Fastmail Help, "Plus addressing and subdomain addressing",
//! and its list of domains; Proton Support, "Addresses and aliases" (dots, hyphens and underscores are ignored); Yandex
//! Help (dot and hyphen are the same, and so are the domains). Outlook and iCloud know `+`, as every local part does.

use std::borrow::Cow;

/// Other spellings of one mailbox at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// These characters are ignored.
    Ignores(&'static str),
    /// What follows a hyphen is ignored.
    EndsAtHyphen,
    /// A hyphen is a dot.
    HyphenIsDot,
}

/// Hosts of one provider, all of them one: their main name and how a local part is spelled there.
const ALIASES: &[(&[&str], &str, Spelling)] = &[
    (&["gmail.com", "googlemail.com"], "gmail.com", Spelling::Ignores(".")),
    (&["proton.me", "protonmail.com", "pm.me", "protonmail.ch"], "proton.me", Spelling::Ignores(".-_")),
    (&["yandex.ru", "ya.ru", "yandex.com", "yandex.by", "yandex.kz", "yandex.ua"], "yandex.ru", Spelling::HyphenIsDot),
];

/// The names of Yahoo that are not `yahoo.` under some top-level domain.
const YAHOO: &[&str] = &["myyahoo.com", "rocketmail.com", "ymail.com"];

/// The mailbox that a spelling means: its local part and host; `None` when it is as it should be.
pub(super) fn mailbox<'t>(local: &'t str, host: &'t str) -> Option<(Cow<'t, str>, Cow<'static, str>)> {
    if let Some((user, host)) = below_fastmail(host) {
        return Some((Cow::Borrowed(user), Cow::Borrowed(host)));
    }
    let is_yahoo = |host: &str| (host.starts_with("yahoo.") && is_provider(host)) || YAHOO.contains(&host);
    let (main, spelling) = match ALIASES.iter().find(|(hosts, ..)| hosts.contains(&host)) {
        Some((_, main, spelling)) => (Some(*main), *spelling),
        None if is_yahoo(host) => (None, Spelling::EndsAtHyphen),
        None => return None,
    };
    let mailbox: Cow<'_, str> = match spelling {
        Spelling::Ignores(ignored) if local.contains(|letter| ignored.contains(letter)) => {
            local.replace(|letter| ignored.contains(letter), "").into()
        }
        Spelling::HyphenIsDot if local.contains('-') => local.replace('-', ".").into(),
        Spelling::EndsAtHyphen => match local.find('-') {
            Some(hyphen) if hyphen > 0 => local[..hyphen].into(),
            _ => local.into(),
        },
        _ => local.into(),
    };
    let is_same = mailbox.len() == local.len() && mailbox == local && main.is_none_or(|main| main == host);
    (!is_same).then(|| (mailbox, main.map_or_else(|| Cow::Owned(host.to_owned()), Cow::Borrowed)))
}

/// The user and the domain of `joe.fastmail.com`, at which joe gets mail for every local part.
fn below_fastmail(host: &str) -> Option<(&str, &'static str)> {
    // Most hosts have one dot, and then no domain below which there are users.
    let last = host.rfind('.')?;
    let dots = host[..last].match_indices('.').map(|(at, _)| at);
    let mut domains = dots.filter_map(|dot| Some((dot, FASTMAIL.binary_search(&&host[dot + 1..]).ok()?)));
    let (dot, place) = domains.next()?;
    let user = &host[..dot];
    Some((user.rsplit('.').next().unwrap_or(user), FASTMAIL[place]))
}

/// Whether this host gives single mailboxes to everybody.
pub(super) fn is_provider(host: &str) -> bool {
    PROVIDERS.binary_search(&host).is_ok() || FASTMAIL.binary_search(&host).is_ok()
}

/// Hosts of all other providers, sorted.
#[rustfmt::skip]
const PROVIDERS: &[&str] = &[
    "126.com", "139.com", "163.com", "188.com", "189.cn", "21cn.com", "a1.net", "abv.bg", "accountant.com", "aim.com",
    "alice.it", "aliceadsl.fr", "aliyun.com", "ameritech.net", "aol.co.uk", "aol.com", "aol.de", "aol.fr", "aon.at",
    "arcor.de", "asia.com", "atlas.cz", "att.net", "au.com", "autorambler.ru", "azet.sk", "bbox.fr", "bell.net",
    "bellsouth.net", "bezeqint.net", "biglobe.ne.jp", "bigmir.net", "bigpond.com", "bigpond.net.au", "bk.ru",
    "blu.it", "bluewin.ch", "blueyonder.co.uk", "bol.com.br", "bredband.net", "broadpark.no", "btinternet.com",
    "btopenworld.com", "casema.nl", "cegetel.net", "centrum.cz", "centrum.sk", "centurylink.net", "charter.net",
    "cheerful.com", "chello.at", "chello.nl", "citromail.hu", "club-internet.fr", "cock.li", "cogeco.ca",
    "comcast.net", "comhem.se", "consultant.com", "contractor.net", "countermail.com", "cox.net", "ctemplar.com",
    "daum.net", "delfi.lt", "dir.bg", "disroot.org", "docomo.ne.jp", "doctor.com", "dodo.com.au", "dr.com",
    "earthlink.net", "elisanet.fi", "email.com", "email.cz", "email.de", "email.it", "email.ru", "embarqmail.com",
    "engineer.com", "europe.com", "excite.co.jp", "excite.com", "ezweb.ne.jp", "fastwebnet.it", "foxmail.com",
    "free.fr", "freemail.hu", "freenet.de", "frontier.com", "frontiernet.net", "gazeta.pl", "globomail.com",
    "gmail.com", "gmx.at", "gmx.biz", "gmx.ch", "gmx.co.uk", "gmx.com", "gmx.de", "gmx.es", "gmx.eu", "gmx.fr",
    "gmx.info", "gmx.it", "gmx.name", "gmx.net", "gmx.org", "gmx.us", "go2.pl", "goo.jp", "googlemail.com",
    "graduate.org", "hanmail.net", "hetnet.nl", "hey.com", "hispeed.ch", "home.nl", "hot.ee", "hotmail.be",
    "hotmail.ca", "hotmail.cl", "hotmail.co.id", "hotmail.co.il", "hotmail.co.in", "hotmail.co.jp", "hotmail.co.kr",
    "hotmail.co.nz", "hotmail.co.th", "hotmail.co.uk", "hotmail.co.za", "hotmail.com", "hotmail.com.ar",
    "hotmail.com.au", "hotmail.com.br", "hotmail.com.hk", "hotmail.com.mx", "hotmail.com.tr", "hotmail.com.tw",
    "hotmail.com.vn", "hotmail.cz", "hotmail.de", "hotmail.dk", "hotmail.es", "hotmail.fi", "hotmail.fr",
    "hotmail.gr", "hotmail.hu", "hotmail.it", "hotmail.lt", "hotmail.lv", "hotmail.my", "hotmail.nl", "hotmail.no",
    "hotmail.ph", "hotmail.rs", "hotmail.se", "hotmail.sg", "hotmail.sk", "hush.com", "hushmail.com", "hushmail.me",
    "i.softbank.jp", "i.ua", "iafrica.com", "icloud.com", "ig.com.br", "iinet.net.au", "iname.com", "inbox.com",
    "inbox.lt", "inbox.lv", "inbox.ru", "infoseek.jp", "inode.at", "interia.eu", "interia.pl", "internet.ru",
    "inwind.it", "iol.it", "juno.com", "kabelmail.de", "kakao.com", "keemail.me", "kolumbus.fi", "kpnmail.nl",
    "kpnplanet.nl", "laposte.net", "lawyer.com", "lenta.ru", "libero.it", "linuxmail.org", "list.ru", "live.at",
    "live.be", "live.ca", "live.cl", "live.cn", "live.co.kr", "live.co.uk", "live.co.za", "live.com", "live.com.ar",
    "live.com.au", "live.com.mx", "live.com.my", "live.com.ph", "live.com.pt", "live.com.sg", "live.de", "live.dk",
    "live.fi", "live.fr", "live.hk", "live.ie", "live.in", "live.it", "live.jp", "live.nl", "live.no", "live.ru",
    "live.se", "love.com", "luukku.com", "lycos.com", "mac.com", "magenta.de", "mail.bg", "mail.com", "mail.dk",
    "mail.ee", "mail.ru", "mail.telepac.pt", "mail2world.com", "mailbox.org", "mailfence.com", "me.com", "meta.ua",
    "mindspring.com", "msn.com", "musician.org", "mweb.co.za", "mynet.com", "myrambler.ru", "myself.com",
    "myyahoo.com", "nate.com", "naver.com", "netcabo.pt", "netscape.net", "netvision.net.il", "netzero.net",
    "neuf.fr", "nifty.com", "ntlworld.com", "numericable.fr", "o2.pl", "oi.com.br", "one.lt", "onet.eu", "onet.pl",
    "online.de", "online.ee", "online.nl", "online.no", "op.pl", "optimum.net", "optonline.net", "optusnet.com.au",
    "orange.fr", "otenet.gr", "outlook.at", "outlook.be", "outlook.cl", "outlook.co.id", "outlook.co.il",
    "outlook.co.nz", "outlook.co.th", "outlook.com", "outlook.com.ar", "outlook.com.au", "outlook.com.br",
    "outlook.com.gr", "outlook.com.tr", "outlook.com.vn", "outlook.cz", "outlook.de", "outlook.dk", "outlook.es",
    "outlook.fr", "outlook.hu", "outlook.ie", "outlook.in", "outlook.it", "outlook.jp", "outlook.kr", "outlook.lv",
    "outlook.my", "outlook.ph", "outlook.pt", "outlook.sa", "outlook.sg", "outlook.sk", "pacbell.net", "passport.com",
    "planet.nl", "plusnet.com", "pm.me", "poczta.fm", "poczta.onet.pl", "post.com", "post.cz", "post.sk", "posteo.de",
    "posteo.net", "pp.inet.fi", "prodigy.net.mx", "proton.me", "protonmail.ch", "protonmail.com", "proximus.be",
    "qq.com", "rambler.ru", "rediffmail.com", "riseup.net", "ro.ru", "roadrunner.com", "rocketmail.com", "rogers.com",
    "rr.com", "runbox.com", "safe-mail.net", "sapo.pt", "saunalahti.fi", "sbcglobal.net", "scarlet.be", "seznam.cz",
    "sfr.fr", "shaw.ca", "sify.com", "sina.cn", "sina.com", "sky.com", "skynet.be", "softbank.ne.jp", "sohu.com",
    "spectrum.net", "spray.se", "startmail.com", "stofanet.dk", "sunrise.ch", "suomi24.fi", "superonline.com",
    "swbell.net", "sympatico.ca", "t-online.de", "t-online.hu", "talktalk.net", "tdcadsl.dk", "techie.com",
    "telefonica.net", "telenet.be", "telia.com", "telkomsa.net", "telus.net", "terra.com.br", "terra.es", "tim.it",
    "tin.it", "tiscali.co.uk", "tiscali.it", "tlen.pl", "tom.com", "tpg.com.au", "tuta.com", "tuta.io",
    "tutamail.com", "tutanota.com", "tutanota.de", "ukr.net", "unitybox.de", "uol.com.br", "upcmail.nl", "usa.com",
    "verizon.net", "videotron.ca", "vip.163.com", "vip.qq.com", "vip.sina.com", "virgilio.it", "virginmedia.com",
    "vodafonemail.de", "vodamail.co.za", "volny.cz", "vp.pl", "walla.co.il", "walla.com", "wanadoo.fr", "web.de",
    "webmail.co.za", "windowslive.com", "windstream.net", "wo.cn", "wp.pl", "writeme.com", "xmail.ru", "xs4all.nl",
    "xtra.co.nz", "ya.ru", "yahoo.ae", "yahoo.at", "yahoo.be", "yahoo.bg", "yahoo.ca", "yahoo.cl", "yahoo.co.id",
    "yahoo.co.il", "yahoo.co.in", "yahoo.co.jp", "yahoo.co.kr", "yahoo.co.nz", "yahoo.co.th", "yahoo.co.uk",
    "yahoo.co.za", "yahoo.com", "yahoo.com.ar", "yahoo.com.au", "yahoo.com.br", "yahoo.com.cn", "yahoo.com.co",
    "yahoo.com.hk", "yahoo.com.hr", "yahoo.com.mx", "yahoo.com.my", "yahoo.com.pe", "yahoo.com.ph", "yahoo.com.sg",
    "yahoo.com.tr", "yahoo.com.tw", "yahoo.com.ua", "yahoo.com.ve", "yahoo.com.vn", "yahoo.cz", "yahoo.de",
    "yahoo.dk", "yahoo.ee", "yahoo.es", "yahoo.fi", "yahoo.fr", "yahoo.gr", "yahoo.hr", "yahoo.hu", "yahoo.ie",
    "yahoo.in", "yahoo.it", "yahoo.lt", "yahoo.lv", "yahoo.nl", "yahoo.no", "yahoo.pl", "yahoo.pt", "yahoo.ro",
    "yahoo.rs", "yahoo.se", "yahoo.si", "yahoo.sk", "yandex.by", "yandex.com", "yandex.kz", "yandex.ru", "yandex.ua",
    "ybb.ne.jp", "yeah.net", "ymail.com", "ymobile.ne.jp", "ziggo.nl", "zipmail.com.br", "zoho.com", "zohomail.com",
    "zohomail.eu", "zohomail.in", "zoznam.sk",
];

/// Hosts of Fastmail, sorted. A name below one of them is a user.
#[rustfmt::skip]
const FASTMAIL: &[&str] = &[
    "123mail.org", "150mail.com", "150ml.com", "16mail.com", "2-mail.com", "4email.net", "50mail.com", "airpost.net",
    "allmail.net", "cluemail.com", "elitemail.org", "emailcorner.net", "emailengine.net", "emailengine.org",
    "emailgroups.net", "emailplus.org", "emailuser.net", "eml.cc", "f-m.fm", "fast-email.com", "fast-mail.org",
    "fastem.com", "fastemail.us", "fastemailer.com", "fastest.cc", "fastimap.com", "fastmail.cn", "fastmail.co.uk",
    "fastmail.com", "fastmail.com.au", "fastmail.de", "fastmail.es", "fastmail.fm", "fastmail.fr", "fastmail.im",
    "fastmail.in", "fastmail.jp", "fastmail.mx", "fastmail.net", "fastmail.nl", "fastmail.org", "fastmail.se",
    "fastmail.to", "fastmail.tw", "fastmail.uk", "fastmail.us", "fastmailbox.net", "fastmessaging.com", "fea.st",
    "fmail.co.uk", "fmailbox.com", "fmgirl.com", "fmguy.com", "ftml.net", "h-mail.us", "hailmail.net",
    "imap-mail.com", "imap.cc", "imapmail.org", "inoutbox.com", "internet-e-mail.com", "internet-mail.org",
    "internetemails.net", "internetmailing.net", "jetemail.net", "justemail.net", "letterboxes.org",
    "mail-central.com", "mail-page.com", "mailandftp.com", "mailas.com", "mailbolt.com", "mailc.net", "mailcan.com",
    "mailforce.net", "mailftp.com", "mailhaven.com", "mailingaddress.org", "mailite.com", "mailmight.com",
    "mailnew.com", "mailsent.net", "mailservice.ms", "mailup.net", "mailworks.org", "ml1.net", "mm.st",
    "myfastmail.com", "mymacmail.com", "nospammail.net", "ownmail.net", "petml.com", "postinbox.com", "postpro.net",
    "proinbox.com", "promessage.com", "realemail.net", "reallyfast.biz", "reallyfast.info", "rushpost.com", "sent.as",
    "sent.at", "sent.com", "speedpost.net", "speedymail.org", "ssl-mail.com", "swift-mail.com", "the-fastest.net",
    "the-quickest.com", "theinternetemail.com", "veryfast.biz", "veryspeedy.net", "warpmail.net", "xsmail.com",
    "yepmail.net", "your-mail.com",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_lists_of_one_provider_are_lists_of_providers() {
        assert!([PROVIDERS, FASTMAIL].iter().all(|list| list.is_sorted_by(|a, b| a < b)));
        let aliases = ALIASES.iter().flat_map(|(hosts, main, _)| hosts.iter().chain([main]));
        assert_eq!(aliases.chain(YAHOO).find(|host| !is_provider(host)), None);
    }
}
