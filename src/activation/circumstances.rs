//! What is known of where a device asks from, and how it is told to who decides on it.

use std::net::IpAddr;

use crate::device::nearness::Nearness;
use crate::device::phishing::{self, Suspicion};
use crate::directory::service::Proximity;
use crate::geo::Place;
use crate::http::client_address::Caller;
use crate::pages::answer::PageError;
use crate::pages::message::Distance;
use crate::pages::{Pages, words};
use crate::postgres::PgConnection;

use super::pages::{Network, Warning};
use super::walk::Walk;

/// What is known of a device and of the browser in front of the person.
pub struct Circumstances {
    /// How near they are to each other.
    pub nearness: Nearness,
    /// What the service makes of that.
    proximity: Proximity,
    /// Whether others were asked for the same from there.
    pub suspicion: Option<Suspicion>,
    /// Where the device is, and where the browser; `None` where nobody can be asked.
    device: Option<Place>,
    you: Option<Place>,
    is_verified: bool,
}

/// The circumstances in words, which the page's structs borrow.
pub struct Told {
    /// Where both are, in one line.
    pub place: Option<String>,
    device: String,
    you: String,
    last: String,
}

impl Circumstances {
    /// Looks at a login and at the request of who decides on it.
    pub async fn of(conn: &mut PgConnection, pages: &Pages, walk: &Walk, caller: &Caller) -> Result<Self, PageError> {
        let (service, grant) = (&walk.service, &walk.grant);
        let nearness = Nearness::of(grant.device.ip, caller, &service.trusted_networks);
        let (person, now) = (walk.account()?.user.id, pages.installation.clock.now());
        let suspicion = phishing::suspicion(conn, pages.phishing, grant, nearness, person, now).await?;
        let place = |address: IpAddr| pages.places.of(address);
        Ok(Self {
            nearness,
            proximity: service.proximity,
            suspicion,
            device: place(grant.device.ip),
            // Off is off: then the page says nothing of the person's own address either.
            you: (service.proximity != Proximity::Off && !caller.may_be_proxy).then(|| place(caller.ip)).flatten(),
            is_verified: service.verified,
        })
    }

    /// Why it can't be approved from here, where the service lets only those approve who are near.
    pub fn refusal(&self) -> Option<Distance> {
        if self.proximity != Proximity::Block {
            return None;
        }
        match self.nearness {
            Nearness::SameAddress | Nearness::SameNetwork | Nearness::TrustedNetwork => None,
            Nearness::OtherNetwork => Some(Distance::OtherNetwork),
            Nearness::Incomparable => Some(Distance::Incomparable),
            Nearness::Hidden => Some(Distance::Hidden),
        }
    }

    /// How the networks compare.
    pub fn network(&self) -> Network {
        match self.nearness {
            _ if self.proximity == Proximity::Off => Network::Unsaid,
            Nearness::SameAddress | Nearness::SameNetwork => Network::Same,
            Nearness::TrustedNetwork => Network::Trusted,
            Nearness::OtherNetwork | Nearness::Incomparable => Network::Other,
            Nearness::Hidden => Network::Hidden,
        }
    }

    /// The words for [`warnings`](Self::warnings).
    pub fn told(&self) -> Told {
        let one = |place: &Option<Place>| place.as_ref().map(words::place).unwrap_or_default();
        Told {
            place: self.device.as_ref().and_then(|device| words::places(device, self.you.as_ref())),
            device: one(&self.device),
            you: one(&self.you),
            last: self.suspicion.map(|suspicion| words::last(suspicion.within)).unwrap_or_default(),
        }
    }

    /// What speaks against it, the gravest first. Another country is another network, and says it louder.
    pub fn warnings<'a>(&self, told: &'a Told) -> Vec<Warning<'a>> {
        let Told { device, you, last, .. } = told;
        let many = self.suspicion.map(|suspicion| Warning::ManyApprovals { people: suspicion.people, last });
        let distance = match self.nearness {
            _ if self.proximity == Proximity::Off => None,
            nearness if nearness.is_afar() && self.is_another_country() => Some(Warning::OtherCountry { device, you }),
            Nearness::OtherNetwork => Some(Warning::OtherNetwork),
            Nearness::Incomparable => Some(Warning::PerhapsOtherNetwork),
            _ => None,
        };
        let unverified = (!self.is_verified).then_some(Warning::Unverified);
        [many, distance, unverified].into_iter().flatten().collect()
    }

    /// Whether both are known to be in countries, and not in the same one.
    fn is_another_country(&self) -> bool {
        match (&self.device, &self.you) {
            (Some(Place::In { country_code: device, .. }), Some(Place::In { country_code: you, .. })) => device != you,
            _ => false,
        }
    }
}
