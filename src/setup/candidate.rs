//! Who has filled in the form and not yet proven their authenticator. They are stored nowhere: what the form said goes along with the
//! next one, sealed and bound to the link.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::ids::{SetupLinkId, UserId};
use crate::installation::Installation;
use crate::mfa::totp::{Enrolment, TotpError};
use crate::secrets::{SealError, Sealed, base64url, from_base64url};

use super::owner::NewOwner;

/// What is sealed.
const CONTEXT: &[u8] = b"setup candidate";

/// Bytes of an authenticator's secret: 160 bits (RFC 4226 §4).
pub const SECRET_LENGTH: usize = 20;

/// Somebody who has filled in the form.
#[derive(Serialize, Deserialize)]
pub struct Candidate {
    id: uuid::Uuid,
    /// Their e-mail address, in lower case.
    pub email: String,
    name: String,
    password_hash: String,
    #[serde(serialize_with = "write", deserialize_with = "read")]
    secret: Zeroizing<Vec<u8>>,
}

fn write<S: Serializer>(secret: &Zeroizing<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_slice().serialize(serializer)
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
    Vec::deserialize(deserializer).map(Zeroizing::new)
}

impl Candidate {
    /// With an authenticator's secret that is drawn now.
    #[must_use]
    pub fn new(installation: &Installation, email: String, name: String, password_hash: String) -> Self {
        let id = UserId::new(installation.clock.now(), &installation.random.bytes()).0;
        let secret = Zeroizing::new(installation.random.bytes::<SECRET_LENGTH>().to_vec());
        Self { id, email, name, password_hash, secret }
    }

    /// As the value of a hidden field.
    pub fn seal(&self, installation: &Installation, link: SetupLinkId) -> Result<String, SealError> {
        let text = serde_json::to_vec(self).map(Zeroizing::new).map_err(|_| SealError)?;
        let sealed = installation.keyring.seal(&[CONTEXT, link.0.as_bytes()], &text)?;
        Ok(base64url(sealed.as_bytes()))
    }

    /// Reads the hidden field; `None`: it isn't one of this link.
    #[must_use]
    pub fn open(installation: &Installation, link: SetupLinkId, field: &str) -> Option<Self> {
        let sealed = Sealed::from(from_base64url(field)?);
        let text = installation.keyring.open(&[CONTEXT, link.0.as_bytes()], &sealed).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Who they will be.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.id.into()
    }

    /// What their authenticator is shown.
    pub fn enrolment(&self, issuer: &str) -> Result<Enrolment, TotpError> {
        Enrolment::of(&self.secret, &self.email, issuer)
    }

    /// The owner that they become by a code of this time step.
    #[must_use]
    pub fn proven(self, step: i64) -> NewOwner {
        let id = self.user();
        let Self { email, name, password_hash, secret, .. } = self;
        NewOwner { id, email, name, password_hash, secret, step }
    }
}
