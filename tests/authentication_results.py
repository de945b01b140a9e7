"""Real `Authentication-Results` headers, restated: the forms are those of the sources, names and addresses are ours.

Each row: who writes it and where it can be seen, the name of its server, how many headers it adds, those headers, and
what they say: the verdict on SPF for MAIL FROM, and the domains of verified signatures.
"""

from __future__ import annotations

from typing import NamedTuple

KEYS = "github.com/marcbradshaw/Mail-AuthenticationResults, t/"
MIMEKIT = "github.com/jstedfast/MimeKit, UnitTests/Cryptography/AuthenticationResultsTests.cs"
STALWART = "github.com/stalwartlabs/mail-auth, tests of AuthenticationResults"
LISTS = "headers of list mail in public archives: lore.kernel.org, lists.ozlabs.org, sourceware.org"
MAIL = "headers of messages in public repositories"
MOX = "github.com/mjl-/mox, message/authresults_test.go"
RSPAMD = "github.com/rspamd/rspamd, lualib/lua_auth_results.lua"
EXIM = "github.com/Exim/exim, src/src: $authresults"


class Row(NamedTuple):
    source: str
    authserv_id: str
    headers: tuple[str, ...]
    spf: str | None
    dkim: tuple[str, ...]


def row(source: str, authserv_id: str, *headers: str, spf: str | None = None, dkim: str = "") -> Row:
    return Row(source, authserv_id, headers, spf, tuple(dkim.split()))


GOOGLE = "mx.google.com;\r\n       "

ROWS = [
    # Google
    row(
        f"Google, {LISTS}",
        "mx.google.com",
        f"{GOOGLE}dkim=pass header.i=@shop.example header.s=20230601 header.b=Xk4SKhLa;\r\n"
        "       spf=pass (google.com: domain of joe@shop.example designates 192.0.2.69 as permitted sender)"
        " smtp.mailfrom=joe@shop.example;\r\n"
        "       dmarc=pass (p=NONE sp=QUARANTINE dis=NONE) header.from=shop.example",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"Google with two signatures, {KEYS}04-gmail.t",
        "mx.google.com",
        f"{GOOGLE}dkim=pass header.i=@shop.example header.s=fm1 header.b=2j32dcmg;\r\n"
        "       dkim=pass header.i=@relay.example header.s=fm1 header.b=dgrCnA5f;\r\n"
        "       spf=pass (google.com: domain of desk@shop.example designates 192.0.2.26 as permitted sender)"
        " smtp.mailfrom=desk@shop.example;\r\n"
        "       dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=shop.example",
        spf="pass",
        dkim="shop.example relay.example",
    ),
    row(
        f"Google, a quoted hash, {LISTS}",
        "mx.google.com",
        f'{GOOGLE}dkim=pass header.i=@relay.example header.s=fm2 header.b="rV/ImNkG";\r\n'
        "       spf=softfail (google.com: domain of transitioning joe@shop.example does not"
        " designate 192.0.2.230 as"
        " permitted sender) smtp.mailfrom=joe@shop.example;\r\n"
        "       dmarc=fail (p=NONE sp=NONE dis=NONE) header.from=shop.example",
        spf="softfail",
        dkim="relay.example",
    ),
    row(
        f"Google, the null sender, {LISTS}",
        "mx.google.com",
        f"{GOOGLE}dkim=pass header.i=@shop.example header.s=20230601 header.b=XkL4SKhL;\r\n"
        "       spf=none (google.com: postmaster@mx7.shop.example does not designate permitted sender hosts)"
        " smtp.helo=mx7.shop.example;\r\n"
        "       dmarc=pass (p=QUARANTINE sp=QUARANTINE dis=NONE) header.from=shop.example;\r\n"
        "       dara=pass header.i=@box.example",
        dkim="shop.example",
    ),
    row(
        f"Google, a lone SPF verdict, {LISTS}",
        "mx.google.com",
        "mx.google.com;       spf=pass (google.com:\r\n domain of joe@shop.example designates"
        " 192.0.2.232 as permitted\r\n"
        " sender) smtp.mailfrom=joe@shop.example",
        spf="pass",
    ),
    row(
        f"Google, a plus sign in a hash, {LISTS}",
        "mx.google.com",
        f"{GOOGLE}dkim=pass header.i=@shop.example header.s=google header.b=i+h5jdKO;\r\n"
        "       spf=pass (google.com: domain of joe@shop.example designates 192.0.2.65 as permitted sender)"
        " smtp.mailfrom=joe@shop.example",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        "Google, a local part in header.i, RFC 6376 §3.5",
        "mx.google.com",
        f"{GOOGLE}dkim=pass header.i=joe@news.shop.example header.s=s1 header.b=AbCd;\r\n"
        "       spf=neutral (google.com: 2001:db8::1 is neither permitted nor denied by best guess"
        " record for domain of"
        " joe@shop.example) smtp.mailfrom=joe@shop.example",
        spf="neutral",
        dkim="news.shop.example",
    ),
    row(
        "Google, a bounce address of a mailer, github.com/dinosaure/blaze, test/dmarc.t",
        "mx.google.com",
        f"{GOOGLE}dkim=pass header.i=@shop.example header.s=s20150108 header.b=SuEKjwfk;\r\n"
        "       dkim=pass header.i=@esp.example header.s=smtpapi header.b=iIicLeoJ;\r\n"
        "       spf=pass (google.com: domain of bounces+848413-e276-jim=box.example@em.shop.example designates"
        " 192.0.2.98 as permitted sender) smtp.mailfrom=bounces+848413-e276-jim=box.example@em.shop.example;\r\n"
        "       dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=shop.example",
        spf="pass",
        dkim="shop.example esp.example",
    ),
    row(
        f"Google, signatures that fail, {LISTS}",
        "mx.google.com",
        f"{GOOGLE}dkim=neutral (body hash did not verify) header.i=@shop.example header.s=s1 header.b=q1zFEXJp;\r\n"
        "       dkim=temperror (no key for signature) header.i=@relay.example header.s=s2 header.b=U1Su/9da;\r\n"
        "       spf=fail (google.com: domain of joe@shop.example does not designate 192.0.2.9 as permitted sender)"
        " smtp.mailfrom=joe@shop.example",
        spf="fail",
    ),
    # Microsoft
    row(
        "Exchange Online, learn.microsoft.com, Anti-spam message headers: no server name, so none can be trusted",
        "mx.box.example",
        "spf=pass (sender IP is 192.0.2.10)\r\n smtp.mailfrom=shop.example; dkim=pass (signature was verified)\r\n"
        " header.d=shop.example;dmarc=pass action=none\r\n header.from=shop.example;compauth=pass reason=100",
    ),
    row(
        f"outlook.com before 2019, {KEYS}04-outlook.t: no server name either",
        "outlook.com",
        "spf=pass (sender IP is 192.0.2.222)\r\n smtp.mailfrom=shop.example; outlook.com; dkim=pass (signature was"
        " verified)\r\n header.d=shop.example;outlook.com; dmarc=pass action=none\r\n header.from=shop.example;",
    ),
    row(
        f"outlook.com with a name in front, {KEYS}04-outlook.t",
        "outlook.com",
        "outlook.com; spf=pass (sender IP is 192.0.2.222)\r\n smtp.mailfrom=shop.example; outlook.com; dkim=pass"
        " (signature was verified)\r\n header.d=shop.example; dmarc=pass action=none\r\n header.from=shop.example;",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"Exchange Online in ARC's form with version 1, {LISTS}",
        "mx.microsoft.com",
        "mx.microsoft.com 1; spf=pass (sender ip is\r\n 192.0.2.17) smtp.rcpttodomain=lists.example"
        " smtp.mailfrom=shop.example; \r\n dmarc=pass (p=quarantine sp=quarantine pct=100) action=none\r\n"
        " header.from=shop.example; dkim=none (message not signed); arc=none (0)",
        spf="pass",
    ),
    row(
        f"Exchange Online, its own mail with version 1, {LISTS}",
        "mx.microsoft.com",
        "mx.microsoft.com 1; spf=pass\r\n smtp.mailfrom=shop.example; dmarc=pass action=none"
        " header.from=shop.example;\r\n"
        " dkim=pass header.d=shop.example; arc=none",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"Exchange Online, a message that its user sends, {LISTS}: the recipient's domain as the name",
        "box.example",
        "box.example; dkim=none (message not signed)\r\n header.d=none;box.example; dmarc=none action=none"
        " header.from=shop.example;",
    ),
    row(
        f"Exchange Online, the null sender, {LISTS}: no server name",
        "mx.box.example",
        "spf=none (sender IP is ) smtp.mailfrom=<>; ",
    ),
    # GMX, web.de, 1&1
    row(f"GMX, {LISTS}", "gmx.net", "gmx.net; dkim=pass header.i=@shop.example", dkim="shop.example"),
    row(f"GMX, {MAIL}", "gmx.net", "gmx.net; dkim=none"),
    row(
        f"GMX since 2025, {MAIL}",
        "gmx.net",
        "gmx.net; dkim=pass header.i=@shop.example header.s=20251104; spf=pass"
        " smtp.mailfrom=joe@shop.example; dmarc=pass"
        " header.from=shop.example policy.dmarc=none; iprev=pass policy.iprev=192.0.2.47",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"IONOS, {MAIL}: the verdict on SPF is one on HELO",
        "kundenserver.de",
        "kundenserver.de; dkim=pass\r\n header.i=no.reply@shop.example header.s=s1-ionos; spf=pass\r\n"
        " smtp.helo=mout-bounce.shop.example; dmarc=pass header.from=shop.example",
        dkim="shop.example",
    ),
    # Fastmail, Pobox: authentication_milter
    row(
        f"Fastmail, {KEYS}04-fastmail.t",
        "mx6.box.example",
        "mx6.box.example;\r\n    arc=none (no signatures found);\r\n    dkim=pass (1024-bit rsa key sha256)"
        " header.d=shop.example header.i=@shop.example header.b=oF80QtY/ x-bits=1024 x-keytype=rsa"
        " x-algorithm=sha256"
        " x-selector=mail2;\r\n    dmarc=pass (p=reject,d=none) header.from=shop.example;\r\n    iprev=pass"
        " policy.iprev=192.0.2.106 (mx46.shop.example);\r\n    spf=pass smtp.mailfrom=news@shop.example"
        " smtp.helo=mx46.shop.example;\r\n    x-aligned-from=pass;\r\n    x-ptr=pass x-ptr-helo=mx46.shop.example"
        " x-ptr-lookup=mx46.shop.example;\r\n    x-return-mx=pass smtp.domain=shop.example smtp.result=pass"
        " smtp_is_org_domain=yes header.domain=shop.example header.result=pass header_is_org_domain=yes;\r\n"
        "    x-tls=pass version=TLSv1.2 cipher=ECDHE-RSA-AES128-GCM-SHA256 bits=128/128",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"authentication_milter, a name that is not found, {KEYS}02-parser.t",
        "test.box.example",
        "test.box.example;\r\n    iprev=fail policy.iprev=192.0.2.123 (NOT FOUND);\r\n    x-ptr=fail"
        " x-ptr-helo=bad.name.example x-ptr-lookup=;\r\n    spf=fail smtp.mailfrom=test@shop.example"
        " smtp.helo=bad.name.example;\r\n    dkim=none (no signatures found);\r\n   "
        " x-google-dkim=none (no signatures"
        " found);\r\n    dmarc=fail (p=none,d=none) header.from=shop.example",
        spf="fail",
    ),
    row(
        "authentication_milter, IPv6 in plain, github.com/fastmail/authentication_milter",
        "mx1.box.example",
        "mx1.box.example; iprev=pass policy.iprev=2001:db8::2 (mx.shop.example); spf=pass"
        " smtp.mailfrom=joe@shop.example smtp.helo=mx.shop.example; dkim=pass (2048-bit rsa key sha256)"
        " header.d=shop.example header.i=@shop.example header.b=Xk3p header.a=rsa-sha256 header.s=s1",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"authentication_milter, BIMI and DMARC in full, {MAIL}",
        "mx2.box.example",
        "mx2.box.example; bimi=skipped (DMARC Policy is not at enforcement); arc=none (no signatures"
        " found); dkim=pass"
        " (ed25519 key) header.d=shop.example header.i=@shop.example header.b=Q2/9 x-bits=256; dmarc=pass"
        " policy.published-domain-policy=none policy.applied-disposition=none policy.evaluated-disposition=none"
        " (p=none,d=none,d.eval=none) policy.policy-from=p header.from=shop.example; spf=none"
        " smtp.mailfrom=joe@shop.example; x-me-sender=none",
        spf="none",
        dkim="shop.example",
    ),
    row(
        "authentication_milter with TLS of its client, github.com/domainaware/parsedmarc, samples",
        "mail5.box.example",
        'mail5.box.example; iprev=pass policy.iprev="192.0.2.10"; spf=neutral smtp.mailfrom=""'
        ' smtp.helo="mx2.shop.example";'
        ' dkim=none (message not signed) header.d=none; tls=pass (verified) key.ciphersuite="TLS_ECDHE_RSA_AES_256"'
        ' key.length="256" tls.v="tlsv1.2" cert.client="OU=Domain Control Validated,CN=*.shop.example"'
        ' cert.clientissuer="C=GB,ST=Greater Town,L=Town;O=CA"; dmarc=none header.from="shop.example"',
        spf="neutral",
    ),
    # Yahoo, AOL
    row(
        f"Yahoo, {MOX}",
        "atlas-8.box.example",
        "atlas-8.box.example;\r\n dkim=pass header.i=@shop.example header.s=s1;\r\n spf=pass"
        " smtp.mailfrom=em.shop.example;\r\n"
        " dmarc=pass(p=REJECT) header.from=shop.example;",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"Yahoo, a key that is unknown, {MOX}",
        "atlas-8.box.example",
        "atlas-8.box.example;\r\n dkim=perm_fail header.i=@shop.example header.s=s1;\r\n dkim=unknown;\r\n"
        " spf=none smtp.mailfrom=em.shop.example;\r\n dmarc=fail(p=NONE,sp=REJECT,dis=NONE)"
        " header.from=shop.example;",
        spf="none",
    ),
    row(
        f"Yahoo since 2025, {MAIL}",
        "atlas-9.box.example",
        "atlas-9.box.example;\r\n dkim=pass header.i=@pm.esp.example header.s=pm20250324"
        " arc_overridden_status=NOT_OVERRIDDEN;\r\n dkim=pass header.i=@mail.shop.example header.s=20240920"
        " arc_overridden_status=NOT_OVERRIDDEN;\r\n spf=pass smtp.mailfrom=pm-bounces.shop.example"
        " arc_overridden_status=NOT_OVERRIDDEN;\r\n dmarc=pass(p=REJECT) header.from=mail.shop.example"
        " arc_overridden_status=NOT_OVERRIDDEN;",
        spf="pass",
        dkim="pm.esp.example mail.shop.example",
    ),
    row(
        f"Yahoo before 2018, {KEYS}04-yahoo.t: text behind the name that is no version",
        "mta4.box.example",
        "mta4.box.example  from=shop.example; domainkeys=neutral (no sig);  from=relay.example; dkim=pass (ok)",
    ),
    row(
        f"AOL, {KEYS}04-aol.t",
        "mx.box.example",
        "mx.box.example;\r\n\tspf=pass (box.example: the domain shop.example reports 192.0.2.222 as"
        " a permitted sender.)"
        " smtp.mailfrom=shop.example;\r\n\tdkim=pass (box.example: email passed verification from the domain"
        " shop.example.) header.i=@shop.example;\r\n\tdmarc=pass (box.example: the domain"
        " shop.example reports that Both"
        " SPF and DKIM strictly align.) header.from=shop.example;",
        spf="pass",
        dkim="shop.example",
    ),
    # Apple
    row(
        f"iCloud, {KEYS}04-icloud.t",
        "spfmilter10.box.example",
        "spfmilter10.box.example; spf=pass\r\n (spfmilter10.box.example: domain of desk@shop.example\r\n designates"
        " 192.0.2.221 as permitted sender)\r\n smtp.mailfrom=desk@shop.example",
        spf="pass",
    ),
    row(
        f"iCloud, {KEYS}04-icloud.t",
        "dkimmilter5.box.example",
        "dkimmilter5.box.example;\tdkim=pass (2048-bit\r\n key) header.d=shop.example header.i=@shop.example\r\n"
        " header.b=V9y21l+w;\tdkim-adsp=pass",
        dkim="shop.example",
    ),
    row(
        f"iCloud, BIMI, {MAIL}",
        "bimi.box.example",
        "bimi.box.example; bimi=pass header.d=shop.example header.selector=default policy.authority=pass"
        " policy.authority-uri=https://cdn.shop.example/a.pem",
    ),
    # mail.ru, Yandex
    row(
        f"mail.ru, {KEYS}04-mail.ru.t",
        "mxs.box.example",
        "mxs.box.example; spf=pass (mx159.box.example: domain of shop.example designates 192.0.2.221"
        " as permitted sender)"
        " smtp.mailfrom=desk@shop.example smtp.helo=new1.relay.example;\r\n\t dkim=pass"
        " header.d=shop.example;\r\n\t"
        " dkim=pass header.d=relay.example; dmarc=pass header.from=desk@shop.example",
        spf="pass",
        dkim="shop.example relay.example",
    ),
    row(
        f"Yandex, {KEYS}040-yandex.t",
        "mxfront1.box.example",
        "mxfront1.box.example; spf=pass (mxfront1.box.example: domain of shop.example designates"
        " 192.0.2.222 as permitted"
        " sender, rule=[ip4:192.0.2.192/26]) smtp.mail=desk@shop.example; dkim=pass header.i=@shop.example",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"Yandex, nothing signed, {MAIL}",
        "mxfront83.box.example",
        "mxfront83.box.example; spf=pass (mxfront83.box.example: domain of shop.example designates"
        " 192.0.2.76 as permitted"
        " sender, rule=[ip4:192.0.2.64/28]) smtp.mail=crm-bounce-mailing@shop.example",
        spf="pass",
    ),
    # Amazon SES, Zoho, Cloudflare, Proton, Hostinger
    row(
        f"Amazon SES, {MAIL}: properties of Received-SPF as parts of their own",
        "amazonses.com",
        "amazonses.com;\r\n spf=pass (spfCheck: domain of _spf.shop.example designates 192.0.2.178"
        " as permitted sender)"
        " client-ip=192.0.2.178; envelope-from=joe@shop.example; helo=mx178.shop.example;\r\n dkim=pass"
        " header.i=@shop.example;\r\n dmarc=pass header.from=shop.example;",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"Amazon SES, a neutral verdict, {MAIL}",
        "amazonses.com",
        "amazonses.com; spf=neutral (spfCheck: 192.0.2.226 is neither permitted nor denied by domain"
        " of shop.example)"
        " client-ip=192.0.2.226; envelope-from=joe@shop.example; helo=mx226.relay.example; dkim=pass"
        " header.i=@relay.example; dmarc=fail header.from=shop.example;",
        spf="neutral",
        dkim="relay.example",
    ),
    row(
        f"Zoho, {MAIL}: a signature without a domain",
        "mx.zohomail.com",
        "mx.zohomail.com;\r\n\tdkim=pass;\r\n\tspf=pass (zohomail.com: domain of shop.example"
        " designates 192.0.2.176 as"
        " permitted sender)  smtp.mailfrom=bounce@shop.example;\r\n\tdmarc=pass(p=reject dis=none)"
        "  header.from=shop.example",
        spf="pass",
    ),
    row(
        "Zoho, github.com/patchew-project/patchew, tests",
        "mx.zohomail.com",
        "mx.zohomail.com;\r\n\tdkim=fail;\r\n\tspf=temperror (zoho.com: Error in retrieving data from DNS)"
        "  smtp.mailfrom=list-bounces+jim=box.example@shop.example",
        spf="temperror",
    ),
    row(
        f"Cloudflare Email Routing, {MAIL}",
        "mx.cloudflare.net",
        "mx.cloudflare.net; dkim=pass header.d=shop.example header.s=s1 header.b=Vn2/d8; dmarc=pass"
        " header.from=shop.example"
        " policy.dmarc=reject; spf=none (mx.cloudflare.net: no SPF records found for postmaster@mx.shop.example)"
        " smtp.helo=mx.shop.example; spf=pass (mx.cloudflare.net: domain of joe@shop.example"
        " designates 192.0.2.7 as"
        " permitted sender) smtp.mailfrom=joe@shop.example; arc=none smtp.remote-ip=192.0.2.7",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"Proton, {MAIL}: one header for each method",
        "mail.box.example",
        "mail.box.example; dmarc=pass (p=quarantine dis=none)\r\n header.from=shop.example",
        "mail.box.example; spf=pass smtp.mailfrom=shop.example",
        "mail.box.example; arc=none smtp.remote-ip=192.0.2.161",
        "mail.box.example; dkim=pass (1024-bit key)\r\n header.d=shop.example header.i=@shop.example",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"Proton, a signature that is broken, {MAIL}",
        "mail.box.example",
        "mail.box.example; dkim=fail (Bad 0 bit\r\n    rsa-sha256 signature.) header.d=shop.example"
        " header.a=rsa-sha256",
        "mail.box.example; dmarc=fail (p=none dis=none)\r\n header.from=shop.example",
        "mail.box.example; spf=none smtp.mailfrom=shop.example",
        'mail.box.example; dkim=fail reason="key not found in DNS"\r\n (0-bit key) header.d=shop.example'
        ' header.i=@shop.example\r\n header.b="XFVjBFda"',
        spf="none",
    ),
    row(
        f"rspamd at Hostinger, {MAIL}",
        "in30.box.example",
        "in30.box.example; dkim=pass header.d=news.shop.example header.s=200608 header.b=HQBcCpDR;\r\n dkim=pass"
        " header.d=s5.esp.example header.s=fbldkim5; dmarc=pass (policy=reject) header.from=shop.example",
        dkim="news.shop.example s5.esp.example",
    ),
    # rspamd
    row(
        f"rspamd at Migadu, {LISTS}",
        "aspmx1.box.example",
        "aspmx1.box.example; dkim=pass header.d=shop.example header.s=20230601 header.b=lB5Bod6I; spf=pass"
        " (aspmx1.box.example: domain of joe@shop.example designates 2001:db8:4864:20::635 as permitted sender)"
        " smtp.mailfrom=joe@shop.example; dmarc=pass (policy=none) header.from=shop.example",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"rspamd, nothing signed, {RSPAMD}",
        "mx1.box.example",
        "mx1.box.example;\r\n\tdkim=none;\r\n\tdmarc=none;\r\n\tspf=softfail (mx1.box.example: 192.0.2.4 is neither"
        " permitted nor denied by domain of joe@shop.example) smtp.mailfrom=joe@shop.example",
        spf="softfail",
    ),
    row(
        f"rspamd, outgoing mail, {LISTS}",
        "ORIGINATING",
        "ORIGINATING;\r\n\tauth=pass smtp.auth=joe@shop.example smtp.mailfrom=joe@shop.example",
    ),
    row(
        f"rspamd, a signature with a wrong hash, {RSPAMD}",
        "mx1.box.example",
        'mx1.box.example;\r\n\tdkim=fail ("body hash did not verify") header.d=shop.example header.s=s1'
        " header.b=NHOGowH2;\r\n\tspf=pass (mx1.box.example: domain of joe@shop.example designates"
        " 192.0.2.4 as permitted"
        ' sender) smtp.mailfrom=joe@shop.example;\r\n\tarc=pass ("relay.example:s=arc:i=1")',
        spf="pass",
    ),
    row(
        f"rspamd, version 1.6, {RSPAMD}",
        "mx1.box.example",
        "mx1.box.example;\r\n\tdkim=pass header.d=shop.example;\r\n\tspf=pass smtp.mailfrom=joe@shop.example",
        spf="pass",
        dkim="shop.example",
    ),
    # OpenDKIM, OpenDMARC, OpenARC
    row(
        f"OpenDKIM, {LISTS}",
        "smtp.box.example",
        "smtp.box.example;\r\n\tdkim=pass (2048-bit key) header.d=shop.example"
        ' header.i=@shop.example header.b="gBeiPQkb";'
        '\r\n\tdkim=permerror (0-bit key) header.d=shop.example header.i=@shop.example header.b="byrPGRCN"',
        dkim="shop.example",
    ),
    row(
        f"OpenDKIM 2.10 with ADSP and ATPS, {MAIL}",
        "mail1.box.example",
        'mail1.box.example; dkim=pass\r\n    reason="2048-bit key; unprotected key"\r\n    header.d=shop.example'
        " header.i=@shop.example header.b=kUkTIIlt;\r\n    dkim-adsp=pass; dkim-atps=neutral",
        dkim="shop.example",
    ),
    row(
        f"OpenDKIM, an unprotected key, {LISTS}",
        "mail1.box.example",
        "mail1.box.example;\r\n\tdkim=pass (1024-bit key; unprotected) header.d=shop.example header.i=@shop.example"
        " header.a=rsa-sha256 header.s=s1 header.b=Sk1gl+iT;\r\n\tdkim-atps=neutral",
        dkim="shop.example",
    ),
    row(f"OpenDKIM, nothing signed, {LISTS}", "mail1.box.example", "mail1.box.example;\r\n\tdkim=none; dkim-adsp=none"),
    row(
        f"OpenDKIM, a tenant of Google, {LISTS}",
        "smtp.box.example",
        "smtp.box.example;\r\n\tdkim=pass (2048-bit key) header.d=shop-com.20230601.esp.example"
        ' header.i=@shop-com.20230601.esp.example header.b="U1SuT9da"',
        dkim="shop-com.20230601.esp.example",
    ),
    row(
        f"OpenDKIM and OpenDMARC, {LISTS}",
        "mail1.box.example",
        "mail1.box.example; dmarc=pass (p=none dis=none) header.from=shop.example",
        "mail1.box.example;\r\n\tdkim=pass (2048-bit key; secure) header.d=shop.example header.i=@shop.example"
        ' header.b="Hqk/l+nZ"',
        dkim="shop.example",
    ),
    row(
        f"OpenDKIM, and OpenDMARC with SPFSelfValidate, {LISTS}",
        "mail1.box.example",
        "mail1.box.example; dmarc=pass (p=reject dis=none) header.from=shop.example",
        "mail1.box.example; spf=pass smtp.mailfrom=joe@shop.example",
        "mail1.box.example;\r\n\tdkim=pass (2048-bit key) header.d=shop.example header.i=@shop.example",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        f"a value that is empty, {KEYS}03-parser-bogus.t",
        "mail1.box.example",
        "mail1.box.example; spf=none smtp.mailfrom=",
        spf="none",
    ),
    row(f"OpenARC, {LISTS}", "lists.box.example", "lists.box.example; arc=none smtp.remote-ip=192.0.2.31"),
    row(
        f"OpenARC, a chain and IPv6 in quotes, {LISTS}",
        "lists.box.example",
        'lists.box.example; arc=pass smtp.remote-ip="2001:db8:f403:2612::60f" arc.chain=relay.example',
    ),
    row(f"OpenARC 1.2, {LISTS}", "smtp.box.example", "smtp.box.example; arc=none smtp.client-ip=192.0.2.83"),
    row(
        f"OpenDMARC, SPF, OpenDKIM on Postfix, {LISTS}",
        "server2.box.example",
        "server2.box.example; dmarc=pass (p=none dis=none) header.from=shop.example",
        "server2.box.example; spf=pass smtp.mailfrom=shop.example",
        "server2.box.example;\r\n\tdkim=pass (1024-bit key) header.d=shop.example"
        " header.i=@shop.example header.b=kg1V77eU",
        spf="pass",
        dkim="shop.example",
    ),
    # pypolicyd-spf, spf-engine
    row(
        f"pypolicyd-spf, {LISTS}",
        "mx1.box.example",
        "mx1.box.example; spf=pass (mailfrom) smtp.mailfrom=shop.example (client-ip=192.0.2.41;"
        " helo=mx41.shop.example;"
        " envelope-from=joe@shop.example; receiver=jim@box.example)",
        spf="pass",
    ),
    row(
        f"pypolicyd-spf, the verdict on HELO, {LISTS}",
        "mx1.box.example",
        "mx1.box.example; spf=pass (helo) smtp.helo=mx41.shop.example (client-ip=192.0.2.41;"
        " helo=mx41.shop.example;"
        " envelope-from=<>; receiver=<UNKNOWN>)",
    ),
    row(
        f"pypolicyd-spf with IPv6, {LISTS}",
        "mx1.box.example",
        "mx1.box.example; spf=softfail (mailfrom) smtp.mailfrom=joe@shop.example (client-ip=2001:db8::41;"
        ' helo=mx41.shop.example; envelope-from="joe@shop.example"; receiver=jim@box.example)',
        spf="softfail",
    ),
    # Exim
    row(
        EXIM,
        "mx.box.example",
        "mx.box.example;\r\n\tiprev=pass (mx7.shop.example) smtp.remote-ip=192.0.2.7;\r\n\tspf=pass"
        " smtp.mailfrom=shop.example;\r\n\tdkim=pass header.d=shop.example header.s=20161025"
        " header.a=rsa-sha256;\r\n\t"
        "dmarc=pass header.from=shop.example;\r\n\tarc=none",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        "Exim, IPv6 in plain and the null sender, github.com/Webklex/php-imap, tests",
        "mx.box.example",
        "mx.box.example; iprev=pass (mx06.shop.example) smtp.remote-ip=1b21:2f8:e0a:50e4::2;"
        " spf=none smtp.mailfrom=<>;"
        " dmarc=skipped",
        spf="none",
    ),
    row(
        "Exim, nothing checked, github.com/Webklex/php-imap, tests",
        "mx.box.example",
        "mx.box.example;",
    ),
    row(
        f"Exim, a client that logged in, {LISTS}",
        "out.box.example",
        "out.box.example;\r\n\tiprev=pass (7.2.0.192.dyn.example) smtp.remote-ip=192.0.2.7;\r\n\tauth=pass (LOGIN)"
        " smtp.auth=joe;\r\n\tdkim=pass header.d=shop.example header.s=default header.a=rsa-sha256;\r\n\tarc=none",
        dkim="shop.example",
    ),
    row(
        f"a signature that fails, {EXIM}",
        "mx.box.example",
        "mx.box.example;\r\n\tdkim=fail (body hash mismatch; body probably modified in"
        " transit)\r\n\t\theader.d=shop.example"
        ' header.s=s1 header.a=rsa-sha256 reason="bodyhash_mismatch";\r\n\tspf=fail smtp.mailfrom=shop.example',
        spf="fail",
    ),
    # Stalwart, MimeKit, go-msgauth, mailauth, Halon, Mail::DKIM, Python, sendmail
    row(
        STALWART,
        "box.example",
        "box.example;\r\n\tdkim=pass header.d=shop.example header.s=sel"
        " header.b=MTIzNDU2;\r\n\tdkim-atps=temperror (dns error)"
        " header.d=atps.shop.example header.s=other header.b=YWJjZGVm header.from=joe@shop.example;\r\n\tspf=fail"
        " (mx.box.example: domain of joe@shop.example does not designate a:b:c::f as permitted sender)"
        ' smtp.mailfrom=joe@shop.example;\r\n\tarc=neutral (body hash did not verify) smtp.remote-ip="1:2:3::a"',
        spf="fail",
        dkim="shop.example",
    ),
    row(
        f"{STALWART}: a local part that needs quotes",
        "box.example",
        'box.example;\r\n\tdkim=pass header.i="a;b=c (note)\\"x@shop.example"'
        " header.s=sel;\r\n\tspf=neutral (box.example:"
        " domain of postmaster@shop.example reports neutral for a:b:c::f) smtp.mailfrom=<>",
        spf="neutral",
        dkim="shop.example",
    ),
    row(
        MIMEKIT,
        "box.example",
        "box.example; auth=pass (cram-md5) smtp.auth=joe@shop.example; spf=pass smtp.mailfrom=shop.example;"
        " sender-id=pass header.from=shop.example",
        spf="pass",
    ),
    row(
        f"{MIMEKIT}: a value with a slash",
        "box.example",
        "box.example; dkim=pass header.d=shop.example header.s=selector1 header.b=Iww3/TIUS;"
        " dmarc=pass (policy=reject)"
        " header.from=shop.example; spf=pass (box.example: domain of no-reply@shop.example designates 192.0.2.1 as"
        " permitted sender) smtp.mailfrom=no-reply@shop.example",
        spf="pass",
        dkim="shop.example",
    ),
    row(f"{MIMEKIT}: a reason without quotes", "box.example", "box.example; spf=pass reason=good", spf="pass"),
    row(f"{MIMEKIT}: a lone name", "box.example", "box.example"),
    row(
        "go-msgauth, github.com/emersion/go-msgauth, authres/parse_test.go",
        "box.example",
        "box.example; \r\n \t spf=pass smtp.mailfrom=shop.example",
        spf="pass",
    ),
    row(
        "mailauth, github.com/postalsys/mailauth, README",
        "mx.box.example",
        "mx.box.example;\r\n dkim=pass header.i=@shop.example header.s=tartu header.a=rsa-sha256"
        " header.b=TXuCNlsq;\r\n"
        " spf=pass (mx.box.example: domain of joe@shop.example designates 192.0.2.82 as\r\n permitted sender)"
        " smtp.mailfrom=joe@shop.example\r\n smtp.helo=mx.shop.example;\r\n arc=pass (i=2 spf=neutral dkim=pass"
        " dkdomain=shop.example);\r\n dmarc=none header.from=shop.example",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        "dkimpy, launchpad.net/dkimpy, tests",
        "box.example",
        "box.example; iprev=pass\r\n\tpolicy.iprev=192.0.2.1 (mx.shop.example);\r\n\tspf=pass"
        " (domain of joe@shop.example\r\n\t"
        " designates 192.0.2.1 as permitted sender); dkim=pass header.i=@shop.example header.s=foo",
        spf="pass",
        dkim="shop.example",
    ),
    row(
        "pymilter, list mail of oss-security",
        "mail.box.example",
        'mail.box.example; iprev=pass policy.iprev="2001:db8:8:809::2" (wiki.shop.example);'
        " auth=pass (CRAM-MD5 sslbits=256)"
        " smtp.auth=joe",
    ),
    row(
        f"SpamExperts, {LISTS}",
        "host.box.example",
        "host.box.example; auth=pass (login) smtp.auth=@shop.example",
    ),
    # RFCs
    row("RFC 8601 B.2", "box.example", "box.example 1; none"),
    row("RFC 8601 B.3", "box.example", "box.example;\r\n      spf=pass smtp.mailfrom=shop.example", spf="pass"),
    row(
        "RFC 8601 B.4, both headers",
        "box.example",
        "box.example;\r\n      auth=pass (cram-md5) smtp.auth=joe@shop.example;\r\n      spf=pass"
        " smtp.mailfrom=shop.example",
        "box.example; iprev=pass\r\n      policy.iprev=192.0.2.200",
        spf="pass",
    ),
    row(
        "RFC 8601 B.5",
        "box.example",
        "box.example;\r\n      dkim=pass (good signature) header.d=shop.example",
        dkim="shop.example",
    ),
    row(
        "RFC 8601 B.6",
        "box.example",
        'box.example;\r\n      dkim=pass reason="good signature"\r\n       '
        " header.i=@relay.shop.example;\r\n      dkim=fail"
        ' reason="bad signature"\r\n        header.i=@town.shop.example',
        dkim="relay.shop.example",
    ),
    row(
        "RFC 8601 B.7, with the name in front of all comments",
        "foo.box.example",
        "foo.box.example 1;\r\n    dkim (Because I like it) / 1 (One yay) = (wait for it) pass\r\n  "
        "    header (A dot can go"
        " here) . (like that) d\r\n      (this surprised me) = shop.example",
        dkim="shop.example",
    ),
    row(
        "RFC 5451 B.5, the words of 2009",
        "box.example",
        "box.example;\r\n          sender-id=hardfail header.from=shop.example;\r\n         "
        " dkim=pass (good signature)"
        " header.i=joe@shop.example;\r\n          spf=hardfail smtp.mailfrom=shop.example",
        spf="hardfail",
        dkim="shop.example",
    ),
    row(
        "RFC 8616, a domain in UTF-8",
        "box.example",
        "box.example; spf=pass smtp.mailfrom=jörg@bücher.example; dkim=pass header.d=bücher.example",
        spf="pass",
        dkim="xn--bcher-kva.example",
    ),
    row(
        "RFC 8616, the same domain in A-labels",
        "box.example",
        "box.example; dkim=pass header.d=xn--bcher-kva.example header.i=@xn--bcher-kva.example",
        dkim="xn--bcher-kva.example",
    ),
]
