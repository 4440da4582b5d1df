//! Rules that a single value must keep. Each takes what was read and gives what is meant, or says what is wrong.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use url::{Host, Url};

use crate::config::is_whole;
use crate::directory::user::{LONGEST_TYPED, SHORTEST_PASSWORD};
use crate::directory::webhook;
use crate::secrets::SecretText;

use super::settings::duration;

/// The longest name that is shown to people, in characters.
const LONGEST_NAME: usize = 100;

/// The longest URI of an API, in bytes: it stands in every token for it.
const LONGEST_RESOURCE: usize = 512;

/// The longest URL, in bytes: what is known by one has an index entry of it.
const LONGEST_URL: usize = 2000;

/// The shortest age of a proof that isn't zero.
const SHORTEST_AGE: Duration = Duration::from_mins(1);

/// The longest time span that is stored, in seconds.
pub(super) const LONGEST: u64 = i32::MAX.unsigned_abs() as u64;

/// The least characters of a client secret: 22 of base64url are 128 bits.
const SHORTEST_CLIENT_SECRET: usize = 22;

/// A name in URLs and files: what a DNS label may be, in lower case.
pub(super) fn slug(slug: String) -> Result<String, String> {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = slug.as_bytes();
    let ends = bytes.first().is_some_and(|byte| word(*byte)) && bytes.last().is_some_and(|byte| word(*byte));
    if ends && bytes.len() <= 63 && bytes.iter().all(|byte| word(*byte) || *byte == b'-') {
        Ok(slug)
    } else {
        Err(format!("{slug:?} must be 1 to 63 of a-z, 0-9 and - and neither begin nor end with -"))
    }
}

/// A name that people read.
pub(super) fn name(name: String) -> Result<String, String> {
    if name.trim().is_empty() {
        return Err("it is empty".into());
    }
    label(name)
}

/// A name that may be empty.
pub(super) fn label(name: String) -> Result<String, String> {
    if name.chars().any(char::is_control) {
        return Err(format!("{name:?} contains control characters"));
    }
    if name.chars().count() > LONGEST_NAME {
        return Err(format!("{name:?} is longer than {LONGEST_NAME} characters"));
    }
    Ok(name)
}

/// A client id (RFC 6749 §A.1), without spaces.
pub(super) fn client_id(id: String) -> Result<String, String> {
    if !id.is_empty() && id.len() <= 255 && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(id)
    } else {
        Err(format!("{id:?} must be 1 to 255 visible ASCII characters"))
    }
}

/// Scope tokens (RFC 6749 §3.3).
pub(super) fn scope_token(token: &str) -> Result<(), String> {
    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        Ok(())
    } else {
        Err(format!("{token:?} is no scope name: visible ASCII characters other than \" and \\ (RFC 6749 §3.3)"))
    }
}

/// Scopes to ask an upstream provider for.
pub(super) fn scope_tokens(tokens: Vec<String>) -> Result<Vec<String>, String> {
    tokens.iter().try_for_each(|token| scope_token(token))?;
    without_repetition(tokens)
}

/// A list in which nothing stands twice.
pub(super) fn without_repetition<T: std::fmt::Display>(list: Vec<T>) -> Result<Vec<T>, String> {
    let mut before = HashSet::with_capacity(list.len());
    let repeated = list.iter().map(ToString::to_string).find(|item| !before.insert(item.clone()));
    match repeated {
        Some(item) => Err(format!("{item:?} stands twice")),
        None => Ok(list),
    }
}

/// A whole number of seconds, written as `"15m"`, within bounds.
pub(super) fn lifetime(bounds: RangeInclusive<u64>) -> impl FnOnce(toml::Value) -> Result<Duration, String> {
    move |value| {
        let text = match value {
            toml::Value::String(text) => text,
            other => {
                return Err(format!(
                    "{other} has no unit; a time span is written as \"90s\", \"15m\", \"12h\" or \"30d\""
                ));
            }
        };
        let read = humantime::parse_duration(&text)
            .map_err(|_| format!("{text:?} is no time span; one is written as \"90s\", \"15m\", \"12h\" or \"30d\""))?;
        if read.subsec_nanos() != 0 {
            return Err(format!("{text:?} must be whole seconds"));
        }
        if bounds.contains(&read.as_secs()) {
            return Ok(read);
        }
        let [least, most] = [*bounds.start(), *bounds.end()].map(|seconds| duration(Duration::from_secs(seconds)));
        Err(format!("{text:?} must be between {least} and {most}"))
    }
}

/// How old a proof may be: nothing, or long enough for somebody to get through the pages meanwhile.
pub(super) fn max_age(value: toml::Value) -> Result<Duration, String> {
    let read = lifetime(0..=LONGEST)(value)?;
    if !read.is_zero() && read < SHORTEST_AGE {
        return Err(format!(
            "{:?} is too short to get through the pages; it is \"0s\", for a proof of this very login, or at least \"1m\"",
            duration(read)
        ));
    }
    Ok(read)
}

/// Seconds between polls.
pub(super) fn interval(seconds: i64) -> Result<u8, String> {
    u8::try_from(seconds).ok().filter(|seconds| *seconds > 0).ok_or(format!("{seconds} must be between 1 and 255"))
}

/// An address of HTTPS; of HTTP on this machine only. Kept byte for byte, since issuers are compared so.
pub(super) fn url(text: String) -> Result<String, String> {
    let url = Url::parse(&text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        return Err(format!("{text:?} must begin with https:// (http:// is for this machine only)"));
    }
    if !is_whole(&text, &url) {
        return Err(format!("{text:?} must be written out, with {}:// and no white space", url.scheme()));
    }
    if text.len() > LONGEST_URL {
        return Err(format!("it is longer than {LONGEST_URL} bytes"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds credentials".into());
    }
    if url.fragment().is_some() {
        return Err(format!("{text:?} must have no fragment (#…)"));
    }
    Ok(text)
}

/// APIs for which tokens may be asked (RFC 8707 §2): absolute URIs without a fragment, kept byte for byte, since APIs
/// compare them so with the `aud` of a token.
pub(super) fn resources(resources: Vec<String>) -> Result<Vec<String>, String> {
    for text in &resources {
        let absolute = Url::parse(text).is_ok_and(|url| url.fragment().is_none());
        if !absolute || text.len() > LONGEST_RESOURCE || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "{text:?} is no resource: an absolute URI without a fragment, such as \"https://api.acme.example\" (RFC 8707 §2)"
            ));
        }
    }
    without_repetition(resources)
}

/// Networks that are trusted, each as CIDR writes it; an address alone is a network of one. What hardly excludes anybody
/// is refused: whoever wants that switches the comparison off, where others see it.
pub(super) fn networks(networks: Vec<String>) -> Result<Vec<IpNet>, String> {
    let network = |text: String| {
        let read = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network = read.map_err(|_| format!("{text:?} is no network; one is written as \"192.0.2.0/24\""))?;
        if network != network.trunc() {
            return Err(format!("{text:?} is an address in a network; the network is \"{}\"", network.trunc()));
        }
        let shortest = if network.addr().is_ipv4() { 8 } else { 16 };
        if network.prefix_len() < shortest {
            return Err(format!(
                "{text:?} is too much of the internet to be trusted; proximity = \"off\" compares nothing"
            ));
        }
        Ok(network)
    };
    let networks = networks.into_iter().map(network).collect::<Result<Vec<_>, _>>()?;
    without_repetition(networks)
}

/// The base of other addresses: a URL without a query.
pub(super) fn base_url(text: String) -> Result<String, String> {
    let text = url(text)?;
    if text.contains('?') { Err(format!("{text:?} must have no query (?…)")) } else { Ok(text) }
}

/// An e-mail address, in the lower case in which it is stored; what is wrong with any other text.
#[expect(clippy::needless_pass_by_value, reason = "every rule takes what was read")]
pub fn email(text: String) -> Result<String, String> {
    let parts = text.rsplit_once('@');
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control()) && text.len() <= 254;
    if plain && parts.is_some_and(|(local, host)| !local.is_empty() && domain(host).is_ok()) {
        Ok(text.to_lowercase())
    } else {
        Err(format!("{text:?} is no e-mail address"))
    }
}

/// Mail domains that are let in, in lower case.
pub(super) fn domains(domains: Vec<String>) -> Result<Vec<String>, String> {
    let domains: Vec<_> = domains.into_iter().map(|text| domain(&text)).collect::<Result<_, _>>()?;
    not_empty(without_repetition(domains)?)
}

/// Groups that are let in.
pub(super) fn groups(groups: Vec<String>) -> Result<Vec<String>, String> {
    if let Some(group) = groups.iter().find(|group| group.is_empty() || group.chars().any(char::is_control)) {
        return Err(format!("{group:?} is no group"));
    }
    not_empty(without_repetition(groups)?)
}

fn not_empty(list: Vec<String>) -> Result<Vec<String>, String> {
    if list.is_empty() { Err("the list lets nobody in; for that, say \"invited\"".into()) } else { Ok(list) }
}

fn domain(text: &str) -> Result<String, String> {
    let labels = |label: &str| {
        !label.is_empty() && !label.chars().any(|c| c.is_whitespace() || c.is_control() || "@*/:,;".contains(c))
    };
    if text.split('.').all(labels) {
        Ok(text.to_lowercase())
    } else {
        Err(format!("{text:?} is no domain; one is written as \"acme.example\""))
    }
}

/// A client's secret: at least 128 bits, of characters that every client can send (RFC 6749 §A.2).
pub(super) fn client_secret(secret: &SecretText) -> Result<(), String> {
    if secret.expose().len() < SHORTEST_CLIENT_SECRET {
        return Err(format!(
            "the secret is shorter than {SHORTEST_CLIENT_SECRET} characters and could be guessed; \
             `openssl rand -base64 32` makes a good one"
        ));
    }
    upstream_secret(secret)
}

/// A secret that a provider gave.
pub(super) fn upstream_secret(secret: &SecretText) -> Result<(), String> {
    if secret.expose().bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("the secret contains characters other than printable ASCII (RFC 6749 §A.2)".into())
    }
}

/// What a webhook's messages are signed with.
pub(super) fn webhook_secret(secret: &SecretText) -> Result<(), String> {
    webhook::signing_key(secret.expose()).map(drop).ok_or_else(|| {
        "the secret is not \"whsec_\" and base64 of 24 to 64 bytes; `echo whsec_$(openssl rand -base64 32)` makes a good one"
            .into()
    })
}

/// What a webhook is told of, in one order.
pub(super) fn events(mut events: Vec<webhook::Event>) -> Result<Vec<webhook::Event>, String> {
    if events.is_empty() {
        return Err("the list tells the webhook of nothing; without the key it is told of everything".into());
    }
    events.sort();
    let mut pairs = events.windows(2);
    match pairs.find_map(|pair| matches!(pair, [one, other] if one == other).then(|| pair.first()).flatten()) {
        Some(event) => Err(format!("{:?} stands twice", event.as_str())),
        None => Ok(events),
    }
}

/// A person's password.
pub(super) fn password(secret: &SecretText) -> Result<(), String> {
    match secret.expose().chars().count() {
        ..SHORTEST_PASSWORD => Err(format!("the password is shorter than {SHORTEST_PASSWORD} characters")),
        SHORTEST_PASSWORD..=LONGEST_TYPED => Ok(()),
        _ => Err(format!("the password is longer than {LONGEST_TYPED} characters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_this_machine_are_https() {
        for good in ["https://login.acme.example/", "http://localhost:4000", "http://127.0.0.1:1", "http://[::1]/x"] {
            assert_eq!(base_url(good.into()).unwrap(), good);
        }
        for bad in [
            "http://login.acme.example",
            "login.acme.example",
            "ftp://localhost",
            "https://a:b@acme.example",
            "https://acme.example/#x",
            "https://acme.example/?x",
            "https://acme.example/a b",
        ] {
            assert!(base_url(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_has_8_to_1000_characters() {
        let of = |length: usize| password(&"ü".repeat(length).as_str().into());
        assert!(of(8).is_ok() && of(1000).is_ok());
        assert!(of(7).is_err() && of(1001).is_err());
    }

    #[test]
    fn resources_are_absolute_and_without_a_fragment() {
        for good in ["https://api.acme.example", "https://api.acme.example/v1?x=y", "urn:acme:api", "http://10.0.0.7"] {
            assert_eq!(resources(vec![good.into()]).unwrap(), [good]);
        }
        for bad in
            ["", "api", "/v1", "https://api.acme.example/#x", "https://api.acme.example/a b", "https://ä.example"]
        {
            assert!(resources(vec![bad.into()]).is_err(), "{bad}");
        }
        assert!(resources(vec!["urn:a:b".into(), "urn:a:b".into()]).is_err());
    }

    #[test]
    fn trusted_networks_are_networks_and_not_the_internet() {
        let one = |text: &str| networks(vec![text.into()]).map(|read| read[0].to_string());
        for (good, read) in
            [("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32"), ("2001:db8::/32", "2001:db8::/32")]
        {
            assert_eq!(one(good).unwrap(), read);
        }
        assert_eq!(
            one("10.1.2.3/8").unwrap_err(),
            "\"10.1.2.3/8\" is an address in a network; the network is \"10.0.0.0/8\""
        );
        for bad in ["", "10.0.0.0/33", "acme.example", "0.0.0.0/0", "::/0", "10.0.0.0/7"] {
            assert!(one(bad).is_err(), "{bad}");
        }
        assert!(networks(vec!["192.0.2.7".into(), "192.0.2.7/32".into()]).is_err());
    }

    #[test]
    fn scope_names_keep_the_syntax_of_the_standard() {
        assert!(["read", "repo:read", "https://acme.example/x", "!~"].iter().all(|token| scope_token(token).is_ok()));
        assert!(["", "a b", "a\"", "a\\", "é", "a\n"].iter().all(|token| scope_token(token).is_err()));
    }

    #[test]
    fn slugs_are_those_of_the_schema() {
        assert!(["a", "a-b", "0", &"a".repeat(63)].iter().all(|text| slug((*text).into()).is_ok()));
        assert!(["", "-a", "a-", "A", "a_b", "ä", &"a".repeat(64)].iter().all(|text| slug((*text).into()).is_err()));
    }

    #[test]
    fn addresses_of_people_are_lower_cased() {
        assert_eq!(email("Ada@Acme.Example".into()).unwrap(), "ada@acme.example");
        for bad in ["ada", "@acme.example", "ada@", "ada@acme..example", "ada lovelace@acme.example", "ada@a@b,c"] {
            assert!(email(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn lifetimes_say_their_bounds() {
        assert_eq!(lifetime(60..=3600)("15m".into()), Ok(Duration::from_mins(15)));
        assert_eq!(lifetime(60..=3600)("30s".into()).unwrap_err(), "\"30s\" must be between 1m and 1h");
        assert!(lifetime(60..=3600)("61s 5ms".into()).unwrap_err().contains("whole seconds"));
        assert!(lifetime(60..=3600)("900".into()).unwrap_err().contains("no time span"));
        assert!(lifetime(60..=3600)(900.into()).unwrap_err().contains("900 has no unit"));
    }
}
