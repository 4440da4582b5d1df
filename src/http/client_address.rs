//! Whose request it is: the peer's address, or what trusted proxies say of it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use super::asked_host::AskedHost;

/// The proxies whose X-Forwarded-For counts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl From<Vec<IpNet>> for TrustedProxies {
    fn from(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }
}

impl TrustedProxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether a request comes from one of them.
    #[must_use]
    pub fn passed_on(&self, request: &Request) -> bool {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        peer.is_some_and(|ConnectInfo(peer)| self.trusts(peer.ip().to_canonical()))
    }

    /// The address nearest to us that no trusted proxy has. What stands left of it anybody could have written, in any bytes.
    #[must_use]
    pub fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> Origin {
        if !self.trusts(peer) {
            let forwarded = ["x-forwarded-for", "forwarded"].iter().any(|name| headers.contains_key(*name));
            return Origin { ip: peer, may_be_proxy: forwarded };
        }
        let lists = headers.get_all("x-forwarded-for").iter();
        let hops: Vec<&[u8]> = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).collect();
        let mut origin = Origin { ip: peer, may_be_proxy: hops.is_empty() };
        for hop in hops.iter().rev() {
            let Some(address) = parse(hop) else {
                return Origin { may_be_proxy: true, ..origin };
            };
            origin.ip = address;
            if !self.trusts(address) {
                break;
            }
        }
        origin
    }
}

/// Where a request comes from, as far as the connection and trusted proxies tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address.
    pub ip: IpAddr,
    /// Whether that may be a proxy's: one that isn't listed says that it forwards, or one that is doesn't say for whom.
    /// Everybody behind it would seem to be in one place.
    pub may_be_proxy: bool,
}

/// Reads `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` and `[2001:db8::1]:4711`.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let address = hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|ip: IpAddr| ip.to_canonical())
}

/// The address a request comes from, and the program that it says it is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As far as trusted proxies and the connection tell.
    pub ip: IpAddr,
    /// Whether that address may be a proxy's ([`Origin::may_be_proxy`]).
    pub may_be_proxy: bool,
    /// Whether a page of another site had a browser send this. Any page can, as often as it likes, from the address of
    /// whoever looks at it.
    pub of_another_site: bool,
    /// User-Agent, cut to 300 characters.
    pub user_agent: Option<String>,
}

impl Caller {
    /// The address as a network of one, as the database stores it.
    #[must_use]
    pub fn ip_net(&self) -> IpNet {
        IpNet::from(self.ip)
    }
}

/// Middleware: finds out the [`Caller`] and leaves it for the handlers.
pub async fn identify(State(proxies): State<TrustedProxies>, mut request: Request, next: Next) -> Response {
    // A router that is called in process has no peer.
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(peer)| peer.ip().to_canonical());
    let user_agent = request
        .headers()
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .map(|agent| agent.chars().take(300).collect());
    let Origin { ip, may_be_proxy } = proxies.origin(peer, request.headers());
    let host = AskedHost::of(request.headers(), request.uri(), proxies.trusts(peer));
    let of_another_site = is_of_another_site(request.headers(), &host);
    let caller = Caller { ip, may_be_proxy, of_another_site, user_agent };
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(host);
    next.run(request).await
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or(Self {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            may_be_proxy: false,
            of_another_site: false,
            user_agent: None,
        }))
    }
}

/// By what browsers say of where a request comes from (Fetch Metadata), older ones by the page's origin. Programs say
/// neither, nor does who types an address.
fn is_of_another_site(headers: &HeaderMap, asked: &AskedHost) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let (scheme, host) = origin.split_once("://").unwrap_or_default();
            !asked.is(host, scheme == "https")
        }
        (None, None) => false,
    }
}

/// The network that one subscriber has at least: an address of IPv4, a /64 of IPv6. An IPv4 address written in IPv6
/// (RFC 4291 §2.5.5.2) is the IPv4 address.
#[must_use]
pub fn subscriber(ip: IpAddr) -> IpNet {
    let (ip, length) = match ip.to_canonical() {
        IpAddr::V4(ip) => (IpAddr::V4(ip), 32),
        IpAddr::V6(ip) => (IpAddr::V6(ip), 64),
    };
    IpNet::new(ip, length).map_or_else(|_| IpNet::from(ip), |network| network.trunc())
}

/// Whether two addresses are of one network as people have them: the same /24, or the same /48 of IPv6.
///
/// A /48 is the most that one site is given (RFC 6177), and in a /24 are the addresses behind which one office or household
/// hides. Less would call the room next door elsewhere, more would call a town one network.
#[must_use]
pub fn same_network(one: IpAddr, other: IpAddr) -> bool {
    let length = match (one, other) {
        (IpAddr::V4(_), IpAddr::V4(_)) => 24,
        (IpAddr::V6(_), IpAddr::V6(_)) => 48,
        _ => return false,
    };
    IpNet::new(one, length).is_ok_and(|network| network.contains(&other))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn browsers_say_whose_page_had_them_ask() {
        let asked = |headers: &[(&'static str, &'static str)]| {
            let mut all = HeaderMap::new();
            all.insert("host", "login.example".parse().unwrap());
            for (name, value) in headers {
                all.insert(*name, value.parse().unwrap());
            }
            is_of_another_site(&all, &AskedHost::of(&all, &"/activate".parse().unwrap(), false))
        };
        for own in [&[][..], &[("sec-fetch-site", "none")], &[("origin", "https://login.example")]] {
            assert!(!asked(own), "{own:?}");
        }
        assert!(!asked(&[("sec-fetch-site", "same-origin"), ("origin", "https://login.example")]));
        for other in ["cross-site", "same-site", "?"] {
            assert!(asked(&[("sec-fetch-site", other), ("origin", "https://login.example")]), "{other}");
        }
        for other in ["null", "", "https://login.example:8443", "https://evil.example", "https://login.example.evil"] {
            assert!(asked(&[("origin", other)]), "{other}");
        }
    }

    /// The address, with a question mark where it may be a proxy's.
    fn client(peer: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies::from(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let Origin { ip, may_be_proxy } = proxies.origin(peer.parse().unwrap(), &headers);
        format!("{ip}{}", if may_be_proxy { "?" } else { "" })
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_reach() {
        assert_eq!(client("203.0.113.7", &[]), "203.0.113.7");
        assert_eq!(client("203.0.113.7", &["198.51.100.1"]), "203.0.113.7?");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.66, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.66", "198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(client("fd00::1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["10.0.0.7, 10.0.0.2"]), "10.0.0.7");
        assert_eq!(client("10.0.0.1", &["\u{ff}, 198.51.100.1"]), "198.51.100.1", "in the same header");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"]), "10.0.0.2?");
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1?");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, \u{ff}"]), "10.0.0.1?");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1?");
    }

    #[test]
    fn a_subscriber_has_an_address_or_a_64() {
        let of = |ip: &str| subscriber(ip.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "192.0.2.1/32");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1/32");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn networks_are_those_that_people_have() {
        let same = |a: &str, b: &str| same_network(a.parse().unwrap(), b.parse().unwrap());
        assert!(same("192.0.2.1", "192.0.2.200") && same("2001:db8:1::1", "2001:db8:1:9::2"));
        assert!(!same("192.0.2.1", "192.0.3.1") && !same("192.0.2.1", "2001:db8::1"));
    }
}
