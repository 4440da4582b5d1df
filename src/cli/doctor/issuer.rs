//! The issuer as the world meets it: its name, its certificate, what it says of itself, and what its front passes on.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use reqwest::header::{DATE, HeaderMap, STRICT_TRANSPORT_SECURITY};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use url::Url;

use crate::clock::Clock;
use crate::config::Config;

use super::clock::compare;
use super::finding::{Finding, Outcome, Verdict};
use super::tls;

const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A certificate is renewed long before.
const RUNS_OUT_SOON: TimeDelta = TimeDelta::days(14);

/// Half a year: what lists of HTTPS-only sites ask for at least.
const LONG_ENOUGH: u64 = 15_768_000;

const LONGEST_QUOTE: usize = 200;

/// A name that nobody has (RFC 2606 §2), and an address (RFC 5737).
const MADE_UP: [(&str, &str); 2] = [("x-forwarded-host", "doctor.invalid"), ("x-forwarded-for", "192.0.2.1")];

const NAME: &str = "issuer name";
const CERTIFICATE: &str = "issuer certificate";
const METADATA: &str = "issuer metadata";
const HSTS: &str = "issuer HSTS";
const HOST: &str = "issuer host";
const CLOCK: &str = "issuer clock";
const FORWARDED: &str = "forwarded headers";
const PROXIES: &str = "trusted proxies";

/// Looks at it.
pub(super) async fn look(config: &Config, clock: &Clock) -> Vec<Finding> {
    let mut findings = vec![proxies(config).of(PROXIES)];
    let further = [CERTIFICATE, METADATA, HSTS, CLOCK, HOST, FORWARDED];
    let skip_rest = |findings: &mut Vec<Finding>, from: usize, why: &str| {
        findings.extend(further.iter().skip(from).copied().map(|check| Verdict::skipped(why).of(check)));
    };
    let endpoint = Url::parse(config.public_url.issuer()).ok().and_then(|url| tls::endpoint(&url));
    let Some((host, port)) = endpoint else { return findings };
    let addresses = match tls::resolve(&host, port).await {
        Ok(addresses) => addresses,
        Err(verdict) => {
            findings.push(verdict.of(NAME));
            skip_rest(&mut findings, 0, "the issuer's name can't be resolved");
            return findings;
        }
    };
    let stream = match tls::connect(&host, &addresses).await {
        Ok(stream) => stream,
        Err(verdict) => {
            findings.push(verdict.of(NAME));
            skip_rest(&mut findings, 0, "the issuer can't be reached");
            return findings;
        }
    };
    findings.push(Verdict::ok(format!("{host} has an address, and answers on port {port}")).of(NAME));
    if config.public_url.is_secure() {
        let shaken = tls::handshake(&host, stream).await;
        let trusted = shaken.is_ok();
        let verdict = match shaken {
            Ok(until) => certificate(until, clock.now()),
            Err(verdict) => verdict,
        };
        findings.push(verdict.of(CERTIFICATE));
        if !trusted {
            skip_rest(&mut findings, 1, "the issuer's TLS can't be trusted");
            return findings;
        }
    } else {
        findings.push(Verdict::skipped("public_url is http://, for this machine only").of(CERTIFICATE));
    }
    let client = match client() {
        Ok(client) => client,
        Err(verdict) => {
            findings.push(verdict.of(METADATA));
            return findings;
        }
    };
    let (verdict, headers) = metadata(config, &client).await;
    let answered = clock.now();
    findings.push(verdict.of(METADATA));
    let Some(headers) = headers else {
        skip_rest(&mut findings, 2, "the issuer does not answer");
        return findings;
    };
    findings.push(hsts(config, &headers).of(HSTS));
    findings.push(date(&headers, answered).of(CLOCK));
    let host = host_arrives(config, &client).await;
    let arrives = host.outcome == Outcome::Ok;
    findings.push(host.of(HOST));
    let forwarded = if arrives {
        made_up_is_not_believed(config, &client).await
    } else {
        Verdict::skipped("the right name has to arrive first")
    };
    findings.push(forwarded.of(FORWARDED));
    findings
}

fn client() -> Result<Client, Verdict> {
    let client = Client::builder().redirect(Policy::none()).timeout(TOTAL_TIMEOUT).build();
    client.map_err(|_| Verdict::failure("there is no HTTP client", "install the system's CA certificates"))
}

fn certificate(until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Verdict {
    let Some(until) = until else { return Verdict::ok("it is valid") };
    let left = until - now;
    let says = format!("it is valid until {} ({} days)", until.format("%Y-%m-%d"), left.num_days());
    if left < RUNS_OUT_SOON {
        Verdict::warning(says, "renew it now, and look why nothing renewed it by itself")
    } else {
        Verdict::ok(says)
    }
}

async fn ask(client: &Client, url: String, headers: &[(&str, &str)]) -> Result<Response, Verdict> {
    let mut request = client.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.map_err(|error| {
        let says = if error.is_timeout() {
            "the issuer does not answer in time"
        } else {
            "the connection to the issuer broke"
        };
        Verdict::failure(says, "look at the log of countersign serve, and at that of what is in front of it")
    })
}

/// Whether it says of itself what it should, and the headers of that answer.
async fn metadata(config: &Config, client: &Client) -> (Verdict, Option<HeaderMap>) {
    let issuer = config.public_url.issuer();
    let answer = match ask(client, config.public_url.join("/.well-known/openid-configuration"), &[]).await {
        Ok(answer) => answer,
        Err(verdict) => return (verdict, None),
    };
    let (status, headers) = (answer.status(), answer.headers().clone());
    if !status.is_success() {
        let listen = config.listen;
        let mend = match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => format!(
                "start countersign serve, and have what is in front pass requests to it (listen is {listen}); its log says why it is not ready"
            ),
            _ => format!(
                "have what is in front pass every path of {issuer} to countersign serve (listen is {listen}), unchanged"
            ),
        };
        return (Verdict::failure(format!("its metadata is answered with {status}"), mend), Some(headers));
    }
    let named = answer.json::<Value>().await.ok().and_then(|json| json.get("issuer")?.as_str().map(str::to_owned));
    let verdict = match named {
        Some(named) if named == issuer => Verdict::ok("it names public_url as its issuer"),
        Some(named) => {
            let named: String = named.escape_debug().take(LONGEST_QUOTE).collect();
            let says = format!("its metadata names the issuer {named}, and public_url is {issuer}");
            Verdict::failure(
                says,
                "give server and doctor the same public_url, and look whether this name leads to another installation",
            )
        }
        None => {
            let mend = format!(
                "have what is in front of {issuer} pass requests to countersign serve: something else answers there"
            );
            Verdict::failure("its metadata is no JSON with an issuer", mend)
        }
    };
    (verdict, Some(headers))
}

fn hsts(config: &Config, headers: &HeaderMap) -> Verdict {
    if !config.public_url.is_secure() {
        return Verdict::skipped("public_url is http://, for this machine only");
    }
    let value = headers.get(STRICT_TRANSPORT_SECURITY).and_then(|value| value.to_str().ok());
    let max_age = value.and_then(|value| {
        let mut directives = value.split(';').filter_map(|directive| directive.trim().split_once('='));
        let (_, seconds) = directives.find(|(name, _)| name.eq_ignore_ascii_case("max-age"))?;
        seconds.trim_matches('"').parse::<u64>().ok()
    });
    let mend = "have what speaks TLS pass on the server's header Strict-Transport-Security";
    match max_age {
        Some(seconds) if seconds >= LONG_ENOUGH => Verdict::ok("browsers are told to come by HTTPS only"),
        Some(_) => Verdict::warning("browsers are told to come by HTTPS only, but not for long", mend),
        None => Verdict::warning("browsers are not told to come by HTTPS only (HSTS)", mend),
    }
}

fn date(headers: &HeaderMap, answered: DateTime<Utc>) -> Verdict {
    let date = headers.get(DATE).and_then(|value| DateTime::parse_from_rfc2822(value.to_str().ok()?).ok());
    match date {
        // It has whole seconds, of which half a one is over on average.
        Some(date) => compare("the issuer", answered, date.to_utc() + TimeDelta::milliseconds(500)),
        None => Verdict::skipped("the issuer's answers have no Date"),
    }
}

/// Pages are given out under the public URL's own name only.
async fn host_arrives(config: &Config, client: &Client) -> Verdict {
    match ask(client, config.public_url.join("/activate"), &[]).await {
        Err(verdict) => verdict,
        Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => Verdict::failure(
            "the server is told another name than that of public_url, and gives out no pages",
            "have what is in front pass on the header Host as it came, or set X-Forwarded-Host, and list its address in trusted_proxies",
        ),
        Ok(answer) if answer.status().is_success() || answer.status().is_redirection() => {
            Verdict::ok("the server is told the name of public_url")
        }
        Ok(answer) => Verdict::failure(
            format!("the activation page is answered with {}", answer.status()),
            "look at the log of countersign serve, and let every path through what is in front",
        ),
    }
}

/// Whether a name that anybody can make up is passed on to the server, which believes it of a trusted proxy. Whether an address is,
/// can't be seen from outside: who passes on the one mostly passes on the other.
async fn made_up_is_not_believed(config: &Config, client: &Client) -> Verdict {
    match ask(client, config.public_url.join("/activate"), &MADE_UP).await {
        Err(verdict) => verdict,
        Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => Verdict::warning(
            "what is in front passes on X-Forwarded-Host as a client made it up, and the server believes it",
            "have it set X-Forwarded-Host and X-Forwarded-For itself, or remove them from what comes in",
        ),
        Ok(_) => Verdict::ok("a name that a client makes up is not believed"),
    }
}

/// Whether whole sites fit into it, and not only the machines before a server.
fn is_wide(network: &IpNet) -> bool {
    network.prefix_len() <= if network.addr().is_ipv4() { 12 } else { 32 }
}

fn proxies(config: &Config) -> Verdict {
    let everybody = config.trusted_proxies.iter().any(|network| network.prefix_len() == 0);
    if everybody {
        return Verdict::failure(
            "trusted_proxies trusts every address: anybody can choose the address that is shown and limited",
            "list only the networks of your own proxies",
        );
    }
    if config.trusted_proxies.iter().any(is_wide) {
        return Verdict::warning(
            "trusted_proxies trusts a network so wide that clients may be in it, and choose the address that is shown and limited",
            "list the addresses of your own proxies alone",
        );
    }
    if config.tls.files().is_some() {
        return Verdict::ok("the server speaks TLS itself");
    }
    if config.public_url.is_secure() && config.trusted_proxies.is_empty() {
        return Verdict::warning(
            "trusted_proxies is empty, and something in front speaks TLS: its address counts as everybody's",
            "list the address from which it connects, such as trusted_proxies = [\"127.0.0.1/32\"]",
        );
    }
    match config.trusted_proxies.len() {
        0 => Verdict::ok("there are none, and public_url is http://"),
        1 => Verdict::ok("X-Forwarded-For counts from 1 network"),
        count => Verdict::ok(format!("X-Forwarded-For counts from {count} networks")),
    }
}
