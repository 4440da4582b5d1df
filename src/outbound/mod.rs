//! Where the server lets itself be sent by people who reach it over the network.
//!
//! The addresses of providers and webhooks are written in files on the machine, by somebody who may go anywhere from there; or
//! over the administration API, by somebody who may not (SSRF). Of the latter this holds:
//!
//! 1. [`Outbound::check`] looks at the host of a URL before each request. An address that stands there as such is never looked
//!    up, so nobody else would see it.
//! 2. [`Outgoing`] has a client for them whose names are looked up by [`resolver`], which gives it only addresses that are
//!    [public](addresses::is_public), or that the setting `outbound.allow` names. What a name means is decided once, for the very
//!    connection: it can't mean something else a moment later (DNS rebinding).
//! 3. No redirect is followed, and no proxy of the environment asked, which would look names up by itself.

pub mod addresses;
mod client;
mod resolver;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use url::{Host, Url};

pub use client::Outgoing;

/// Which addresses count besides public ones. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Outbound(Arc<[IpNet]>);

/// An address that isn't public, nor allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its address is not public; outbound.allow in the server's configuration can allow its network")]
pub struct NotPublic;

impl Outbound {
    /// With these networks besides.
    #[must_use]
    pub fn allowing(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// With this machine besides: for a server that only this machine reaches.
    #[must_use]
    pub fn with_loopback() -> Self {
        let (v4, v6) = addresses::LOOPBACK;
        Self::allowing([IpNet::V4(v4), IpNet::V6(v6)])
    }

    /// Whether the server goes there.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        addresses::is_public(address) || self.0.iter().any(|network| network.contains(&address))
    }

    /// Goes on unless what stands in the URL as host is an address, or means this machine, and the server doesn't go there.
    pub fn check(&self, url: &Url) -> Result<(), NotPublic> {
        let permitted = match url.host() {
            Some(Host::Ipv4(address)) => self.permits(address.into()),
            Some(Host::Ipv6(address)) => self.permits(address.into()),
            // RFC 6761 §6.3: this name is this machine, whatever name servers say.
            Some(Host::Domain(name)) if is_localhost(name) => {
                self.permits(Ipv4Addr::LOCALHOST.into()) || self.permits(Ipv6Addr::LOCALHOST.into())
            }
            Some(Host::Domain(_)) => true,
            None => false,
        };
        if permitted { Ok(()) } else { Err(NotPublic) }
    }
}

impl NotPublic {
    /// Whether this is what an error comes down to.
    #[must_use]
    pub fn is_behind(error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<Self>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(outbound: &Outbound, url: &str) -> bool {
        outbound.check(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn an_address_is_known_in_whatever_form_it_stands_in_a_url() {
        let outbound = Outbound::default();
        for inner in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://017700000001/",
            "https://%31%32%37.0.0.1/",
            "https://１２７.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://[64:ff9b::10.0.0.1]/",
            "https://[2002:7f00:1::]/",
            "https://0/",
            "https://169.254.169.254/latest/meta-data/",
            "https://LOCALHOST/",
            "https://localhost./",
            "https://sso.localhost/",
        ] {
            assert!(!goes(&outbound, inner), "{inner}");
        }
        for public in ["https://sso.acme.example/", "https://8.8.8.8/", "https://[2606:4700:4700::1111]/"] {
            assert!(goes(&outbound, public), "{public}");
        }
    }

    #[test]
    fn what_is_allowed_is_gone_to_and_nothing_beside_it() {
        let networks = ["10.1.0.0/16", "fd00:1::/32"].map(|network| network.parse().unwrap());
        let outbound = Outbound::allowing(networks);
        for allowed in ["https://10.1.2.3/", "https://[::ffff:10.1.2.3]/", "https://[fd00:1::7]/"] {
            assert!(goes(&outbound, allowed), "{allowed}");
        }
        for other in ["https://10.2.0.1/", "https://[fd00:2::7]/", "https://127.0.0.1/", "https://localhost/"] {
            assert!(!goes(&outbound, other), "{other}");
        }
        let dev = Outbound::with_loopback();
        for own in ["http://localhost:1/", "http://127.0.0.9/", "http://[::1]/"] {
            assert!(goes(&dev, own), "{own}");
        }
        assert!(!goes(&dev, "https://10.1.2.3/") && !goes(&dev, "https://169.254.169.254/"));
    }
}
