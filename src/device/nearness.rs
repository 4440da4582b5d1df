//! How near a device is to who approves it, as far as two addresses tell (RFC 10027, "Establish Proximity").
//!
//! It shows a code that was asked for in one place and is approved in another, which is how people are talked into
//! approving. It proves nothing: an attacker may have an address beside the victim's, and honest people approve a server
//! far away, or by a phone that isn't in the office's network.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::http::client_address::{Caller, same_network};

/// How near a device is to who approves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    /// Both come from one address: one machine, or one router that hides several.
    SameAddress,
    /// Both come from one network.
    SameNetwork,
    /// The device is in a network that the service trusts.
    TrustedNetwork,
    /// They come from different networks.
    OtherNetwork,
    /// One has an address of IPv4 and the other of IPv6: they may be beside each other, or not.
    Incomparable,
    /// A proxy hides the approver's address: nothing is known.
    Hidden,
}

impl Nearness {
    /// Compares the address from which a device asked with that of the person who looks at it now.
    #[must_use]
    pub fn of(device: IpAddr, approver: &Caller, trusted: &[IpNet]) -> Self {
        if trusted.iter().any(|network| network.contains(&device)) {
            return Self::TrustedNetwork;
        }
        if approver.may_be_proxy {
            return Self::Hidden;
        }
        let one_machine = device.is_loopback() && approver.ip.is_loopback();
        if device == approver.ip || one_machine {
            Self::SameAddress
        } else if device.is_ipv4() != approver.ip.is_ipv4() {
            Self::Incomparable
        } else if same_network(device, approver.ip) {
            Self::SameNetwork
        } else {
            Self::OtherNetwork
        }
    }

    /// Whether it is enough for a service that lets only those approve who are near.
    #[must_use]
    pub const fn is_near(self) -> bool {
        matches!(self, Self::SameAddress | Self::SameNetwork | Self::TrustedNetwork)
    }

    /// Whether the device seems to be elsewhere. Where nothing is known it is neither near nor afar.
    #[must_use]
    pub const fn is_afar(self) -> bool {
        matches!(self, Self::OtherNetwork | Self::Incomparable)
    }

    /// For the audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SameAddress => "same_address",
            Self::SameNetwork => "same_network",
            Self::TrustedNetwork => "trusted_network",
            Self::OtherNetwork => "other_network",
            Self::Incomparable => "incomparable",
            Self::Hidden => "hidden",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearness(device: &str, approver: &str, trusted: &[&str]) -> &'static str {
        let approver =
            Caller { ip: approver.parse().unwrap(), may_be_proxy: false, of_another_site: false, user_agent: None };
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        Nearness::of(device.parse().unwrap(), &approver, &trusted).as_str()
    }

    #[test]
    fn two_addresses_tell_how_near_their_owners_are() {
        for (device, approver, expected) in [
            ("192.0.2.7", "192.0.2.7", "same_address"),
            ("192.0.2.7", "192.0.2.200", "same_network"),
            ("192.0.2.7", "192.0.3.7", "other_network"),
            ("2001:db8:1:2::7", "2001:db8:1:2::7", "same_address"),
            ("2001:db8:1:2::7", "2001:db8:1:9::1", "same_network"),
            ("2001:db8:1:2::7", "2001:db8:2:2::7", "other_network"),
            ("192.0.2.7", "2001:db8:1:2::7", "incomparable"),
            ("::1", "127.0.0.1", "same_address"),
            ("10.0.0.7", "10.9.0.7", "other_network"),
        ] {
            assert_eq!(nearness(device, approver, &[]), expected, "{device} {approver}");
            assert_eq!(nearness(approver, device, &[]), expected, "{approver} {device}");
        }
    }

    #[test]
    fn a_trusted_network_is_near_to_everybody_and_nobody_is_near_for_being_in_it() {
        assert_eq!(nearness("10.0.0.7", "203.0.113.7", &["10.0.0.0/8"]), "trusted_network");
        assert_eq!(nearness("10.0.0.7", "10.0.0.7", &["192.0.2.0/24", "10.0.0.0/8"]), "trusted_network");
        assert_eq!(nearness("203.0.113.7", "10.0.0.7", &["10.0.0.0/8"]), "other_network");
    }

    #[test]
    fn behind_an_unknown_proxy_nothing_is_known_of_the_approver() {
        let hidden = Caller { ip: [192, 0, 2, 7].into(), may_be_proxy: true, of_another_site: false, user_agent: None };
        let nearness = |trusted: &[IpNet]| Nearness::of([192, 0, 2, 7].into(), &hidden, trusted);
        assert_eq!(nearness(&[]), Nearness::Hidden);
        assert!(!Nearness::Hidden.is_near() && !Nearness::Hidden.is_afar());
        assert_eq!(nearness(&["192.0.2.0/24".parse().unwrap()]), Nearness::TrustedNetwork);
    }
}
