//! Every setting, described once: its JSON Schema, its line in `docs/configuration.md`, its environment variable and what
//! `countersign config show` says come from here.

use super::kind::{self, Kind};

/// What `COUNTERSIGN_…` variables begin with.
pub(super) const PREFIX: &str = "COUNTERSIGN_";

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Where it stands in the file: `database.url`.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is when it is not set.
    pub default: Unset,
    /// Whether nobody else should know it.
    pub secret: bool,
    /// A value, as TOML.
    pub example: &'static str,
    /// What it does: Markdown, whose links lead from `docs/`.
    pub what: &'static str,
}

/// What holds when a setting is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// Nothing: it has to be set.
    Needed,
    /// This, as TOML.
    Is(&'static str),
    /// No value; in words, what that means.
    None(&'static str),
}

impl Setting {
    /// Its environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.replace('.', "_").to_uppercase())
    }

    /// Its section in the file, and its name there.
    #[must_use]
    pub fn place(&self) -> (Option<&'static str>, &'static str) {
        self.key.split_once('.').map_or((None, self.key), |(section, name)| (Some(section), name))
    }

    /// Its example as a line of the file that can stand anywhere before the first section.
    #[must_use]
    pub fn in_file(&self) -> String {
        format!("{} = {}", self.key, self.example)
    }

    /// Its example in the environment.
    #[must_use]
    pub fn in_environment(&self) -> String {
        format!("{}={}", self.variable(), kind::in_environment(self.example))
    }

    /// What it does without Markdown, in one line.
    #[must_use]
    pub fn plain_words(&self) -> String {
        without_markdown(self.what)
    }
}

/// The setting of this key.
#[must_use]
pub fn of_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The sections of the file.
pub fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = None;
    SETTINGS.iter().filter_map(move |setting| {
        let section = setting.place().0?;
        (last.replace(section) != Some(section)).then_some(section)
    })
}

/// Links become their words, and signs of code go.
fn without_markdown(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        match after.split_once("](").and_then(|(words, after)| Some((words, after.split_once(')')?.1))) {
            Some((words, after)) if !words.contains(']') => {
                plain.push_str(words);
                rest = after;
            }
            _ => {
                plain.push('[');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain.replace('`', "")
}

const fn setting(key: &'static str, kind: Kind, default: Unset, example: &'static str, what: &'static str) -> Setting {
    Setting { key, kind, default, secret: false, example, what }
}

const fn secret(key: &'static str, kind: Kind, default: Unset, example: &'static str, what: &'static str) -> Setting {
    Setting { secret: true, ..setting(key, kind, default, example, what) }
}

use Unset::{Is, Needed, None as No};

/// In the order of the file; those of a section stand together.
pub const SETTINGS: &[Setting] = &[
    setting(
        "public_url",
        Kind::PublicUrl,
        Needed,
        r#""https://login.acme.example""#,
        "The issuer: where clients and browsers reach this installation. Never taken from a request. `https://`, or `http://` for `localhost` and loopback addresses. A path is fine (`https://acme.example/login`); a query, fragment or credentials are not. Kept byte for byte but for trailing slashes",
    ),
    setting(
        "listen",
        Kind::Address,
        Is(r#""127.0.0.1:8080""#),
        r#""127.0.0.1:8080""#,
        "Plain HTTP/1.1, with TLS at the proxy, unless `tls` is set. Another address than loopback under an http:// `public_url` is warned of",
    ),
    setting(
        "drain",
        Kind::Span { least: "0s", most: Some("1h") },
        Is(r#""15s""#),
        r#""15s""#,
        "How long requests that are under way may take once the server was [asked to end](operations.md#how-a-server-ends)",
    ),
    setting(
        "data_dir",
        Kind::Path,
        Is(r#""/var/lib/countersign""#),
        r#""/var/lib/countersign""#,
        "The files of [the data directory](#the-data-directory)",
    ),
    secret(
        "secrets",
        Kind::Secrets,
        No("one is made in `data_dir`"),
        r#"["base64 of at least 32 bytes"]"#,
        "The installation's secrets, each at least 32 bytes in base64 (`openssl rand -base64 32`). The first makes what is new, all of them open ([rotating](operations.md#rotating-the-secret)). Several servers on one database need the same list",
    ),
    setting(
        "trusted_proxies",
        Kind::Networks,
        Is("[]"),
        r#"["10.0.0.7/32", "fd00::7/128"]"#,
        "Networks in CIDR form (`127.0.0.1/32`) whose `X-Forwarded-For` counts. From any other address the header is not believed; a request that has it seems to come through a proxy that is missing here, and its network counts as unknown",
    ),
    secret(
        "database.url",
        Kind::DatabaseUrl,
        No("the managed PostgreSQL"),
        r#""postgres://countersign_server:password@db.acme.example/countersign?sslmode=verify-full""#,
        "PostgreSQL 14 or newer. `?host=%2Frun%2Fpostgresql` goes through a Unix socket; `sslmode` is as in libpq, and `sslrootcert` names a CA that is not a public one",
    ),
    secret(
        "database.owner_url",
        Kind::DatabaseUrl,
        No("none"),
        r#""postgres://countersign:password@db.acme.example/countersign?sslmode=verify-full""#,
        "The same database as another role, which owns the tables and brings them up to date; the one of `database.url` then can't change what the audit says ([two roles](operations.md#two-database-roles)). Used for a moment at each start. Without it, the role of `database.url` does both, and the server warns if it owns the audit",
    ),
    secret(
        "database.listen_url",
        Kind::DatabaseUrl,
        No("as `database.url`"),
        r#""postgres://countersign_server:password@db.acme.example/countersign?sslmode=verify-full""#,
        "The same database past a pooler, when `database.url` leads through one that lends connections for a transaction ([PgBouncer](operations.md#pgbouncer)): servers hear of each other's decisions over it. It brings the database up to date too where there is no `database.owner_url`",
    ),
    setting(
        "database.max_connections",
        Kind::Number { least: 1 },
        Is("10"),
        "10",
        "The most connections that requests have in this process. Two more hear of decisions, and ask every second whether the database answers. A managed PostgreSQL takes 50 altogether",
    ),
    setting(
        "keys.rotation",
        Kind::Span { least: "1d", most: None },
        Is(r#""90d""#),
        r#""90d""#,
        "How long a [signing key](operations.md#signing-keys) signs before the next one does",
    ),
    setting(
        "geo.database",
        Kind::Path,
        No("none"),
        r#""/var/lib/GeoIP/GeoLite2-City.mmdb""#,
        "A database of cities or countries in MaxMind's format (`.mmdb`), from MaxMind or anybody else whose records have `country.iso_code`. The decision page then says [where device and approver are](security.md#how-near-is-the-device). It is read whole into memory at the start, and again within 20 seconds when it changes on disk. At the start a file that can't be used is an error; later, the one before stays in use and the log says why",
    ),
    setting(
        "phishing.people",
        Kind::Number { least: 0 },
        Is("5"),
        "5",
        "So many other people must have approved devices of one address from elsewhere for the next one to be [warned](security.md#many-approvals-for-one-machine); `0`: nobody is",
    ),
    setting(
        "phishing.within",
        Kind::Span { least: "1m", most: Some("1d") },
        Is(r#""1h""#),
        r#""1h""#,
        "Within which time",
    ),
    setting(
        "limits.requests_per_address",
        Kind::Number { least: 0 },
        Is("300"),
        "300",
        "How many requests for codes each server takes within a minute from one address, or one /64 of IPv6; `0`: any number. A whole office may be behind one address, and a build farm that starts anew",
    ),
    setting(
        "limits.requests_per_client",
        Kind::Number { least: 0 },
        Is("10000"),
        "10000",
        "The same for one client, from wherever",
    ),
    setting(
        "limits.live_codes_per_address",
        Kind::Number { least: 0 },
        Is("500"),
        "500",
        "How many codes may be open at once, asked for and neither decided nor expired, that one address or /64 asked for; `0`: any number",
    ),
    setting(
        "limits.live_codes_per_client",
        Kind::Number { least: 0 },
        Is("100000"),
        "100000",
        "The same for one client. What so many mean for [guessing](security.md#guessing)",
    ),
    setting(
        "retention.grants",
        Kind::Span { least: "1d", most: Some("100years") },
        Is(r#""7d""#),
        r#""7d""#,
        "How long a device login that nobody approved [is kept](operations.md#what-grows) after its code's time was over. One that was approved is kept as long as [\"This wasn't me\"](security.md#afterwards) is good, 30 days, if that is longer",
    ),
    setting(
        "retention.sessions",
        Kind::Span { least: "1d", most: Some("100years") },
        Is(r#""90d""#),
        r#""90d""#,
        "How long a signed-in device is kept after it was signed out, or after its session's longest life (`refresh_absolute`)",
    ),
    setting(
        "retention.audit",
        Kind::Span { least: "90d", most: Some("100years") },
        No("for ever"),
        r#""400d""#,
        "After which time [events of the audit are deleted](audit.md#retention), in whole days. Only the owner of the tables can set it: it is written at a server's start by `database.owner_url`, or by `database.url` where one role does everything. Where neither may, the log says so, and what to do",
    ),
    secret(
        "mail.smtp",
        Kind::Url,
        No("none"),
        r#""smtps://countersign:password@mail.acme.example""#,
        "The mail server that takes the [mails](security.md#afterwards) to people whose account approved a device, and to those who are [invited](administration.md#invitations-by-mail). `smtps://` is TLS from the first byte (port 465); `smtp://` is STARTTLS (port 587), which the server must offer; for `localhost` and loopback addresses it is neither (port 25). The certificate is checked against the public CAs. User and password, if the server wants them, are percent-encoded (`@` is `%40`). Without this and `mail.from` nobody gets a mail, and `countersign serve` says so at its start",
    ),
    setting(
        "mail.from",
        Kind::Mailbox,
        No("none"),
        r#""Acme sign-in <login@acme.example>""#,
        "Whom mails are from; bounces go there. Set SPF, DKIM and DMARC for its domain at the mail server: people are told to mistrust mails like these",
    ),
    setting(
        "outbound.allow",
        Kind::Networks,
        Is("[]"),
        r#"["10.1.0.0/16", "fd00:1::/64"]"#,
        "Networks in CIDR form in which [providers and webhooks whose address was written over the API](administration.md#which-addresses-may-be-written) may be, besides public addresses: whoever is an owner of an organization can then find out what answers there. Those that files name may be anywhere",
    ),
    setting(
        "log.format",
        Kind::Choice(&["text", "json"]),
        Is(r#""text""#),
        r#""text""#,
        "To standard error; `json` writes one object a line",
    ),
    setting(
        "log.filter",
        Kind::Text,
        Is(r#""info""#),
        r#""info""#,
        "As in `RUST_LOG`: `\"info,countersign=debug\"`. One that can't be read counts as `info`. `RUST_LOG` itself is not read",
    ),
    setting(
        "telemetry.listen",
        Kind::Address,
        No("none"),
        r#""127.0.0.1:9090""#,
        "Where [health and metrics](operations.md#health-and-metrics) are told, to whoever reaches it and in plain HTTP: keep it to your own network. None: nowhere. It can't be where `listen` is",
    ),
    setting(
        "tls.certificate",
        Kind::Path,
        No("none"),
        r#""/etc/countersign/tls.crt""#,
        "A PEM file with the certificate that `listen` shows, and behind it those that lead to its authority ([TLS in the process](operations.md#tls-in-the-process)). It needs `tls.key` and a `public_url` of `https://`. Read again within five seconds when it changes. None: `listen` speaks plain HTTP, and a proxy TLS",
    ),
    setting(
        "tls.key",
        Kind::Path,
        No("none"),
        r#""/etc/countersign/tls.key""#,
        "A PEM file with its key (PKCS#8, SEC1 or PKCS#1), for the server alone to read: another mode is warned of",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_their_markdown_and_nothing_else() {
        assert_eq!(without_markdown("see [two `roles`](a.md#b), `[]` and [x]"), "see two roles, [] and [x]");
        assert_eq!(without_markdown("[a](b)"), "a");
    }
}
