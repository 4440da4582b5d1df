//! The installation's secret, and every key that is derived from it.
//!
//! The configuration holds a list: the first secret makes new MACs and seals, every one of them verifies and opens. So
//! the secret is rotated by putting a new one in front and taking the old one away when nothing needs it any more: what is
//! sealed for good is sealed again by `countersign rekey`, and MACs of what lives for a time die with it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Random, SecretText};

/// What a key is for. Each purpose has a key of its own, so that a MAC of one is nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Looking a user code up.
    UserCode,
    /// Drawing a grant's user code from its id.
    UserCodeLetters,
    /// The MAC inside a device code.
    DeviceCode,
    /// The MAC inside a refresh token.
    RefreshToken,
    /// Looking a browser session up by its cookie.
    BrowserSession,
    /// Tokens against cross-site request forgery.
    Csrf,
    /// Looking an upstream sign-in up by its state.
    UpstreamState,
    /// An upstream sign-in's nonce.
    UpstreamNonce,
    /// An upstream sign-in's PKCE verifier.
    UpstreamPkce,
    /// Client secrets.
    ClientSecret,
    /// Nonces for DPoP proofs.
    DpopNonce,
    /// Seals of the audit's links.
    AuditSeal,
    /// Whom a try at a password or a second factor counts for.
    Attempt,
    /// Browsers in which somebody proved a password or a second factor.
    KnownBrowser,
    /// The MAC inside the link "This wasn't me".
    ReportLink,
    /// Looking a setup link up.
    SetupLink,
    /// To which address invitations were mailed.
    InvitedAddress,
}

impl Purpose {
    const ALL: [Self; 17] = [
        Self::UserCode,
        Self::UserCodeLetters,
        Self::DeviceCode,
        Self::RefreshToken,
        Self::BrowserSession,
        Self::Csrf,
        Self::UpstreamState,
        Self::UpstreamNonce,
        Self::UpstreamPkce,
        Self::ClientSecret,
        Self::DpopNonce,
        Self::AuditSeal,
        Self::Attempt,
        Self::KnownBrowser,
        Self::ReportLink,
        Self::SetupLink,
        Self::InvitedAddress,
    ];

    /// The `info` of HKDF (RFC 5869 §3.2). Part of what is stored: never change one.
    const fn label(self) -> &'static str {
        match self {
            Self::UserCode => "countersign user code",
            Self::UserCodeLetters => "countersign user code letters",
            Self::DeviceCode => "countersign device code",
            Self::RefreshToken => "countersign refresh token",
            Self::BrowserSession => "countersign browser session",
            Self::Csrf => "countersign csrf",
            Self::UpstreamState => "countersign upstream state",
            Self::UpstreamNonce => "countersign upstream nonce",
            Self::UpstreamPkce => "countersign upstream pkce",
            Self::ClientSecret => "countersign client secret",
            Self::DpopNonce => "countersign dpop nonce",
            Self::AuditSeal => "countersign audit seal",
            Self::Attempt => "countersign attempt",
            Self::KnownBrowser => "countersign known browser",
            Self::ReportLink => "countersign report link",
            Self::SetupLink => "countersign setup link",
            Self::InvitedAddress => "countersign invited address",
        }
    }
}

/// One secret of the installation: at least 32 bytes, written in base64.
#[derive(Clone)]
pub struct InstallationSecret(Zeroizing<Vec<u8>>);

/// Why a text is no installation secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallationSecretError {
    /// Not base64.
    #[error("it is not base64")]
    NotBase64,
    /// Fewer than 32 bytes.
    #[error("it is shorter than 32 bytes")]
    TooShort,
}

impl InstallationSecret {
    /// A new one.
    #[must_use]
    pub fn generate(random: &Random) -> Self {
        Self(Zeroizing::new(random.bytes::<32>().to_vec()))
    }

    /// Reads base64 as a file or an environment variable holds it; white space around it doesn't count.
    pub fn parse(text: &SecretText) -> Result<Self, InstallationSecretError> {
        let bytes = STANDARD.decode(text.expose().trim()).map_err(|_| InstallationSecretError::NotBase64)?;
        if bytes.len() < 32 { Err(InstallationSecretError::TooShort) } else { Ok(Self(Zeroizing::new(bytes))) }
    }

    /// In base64, to be written to a file that only the server can read.
    #[must_use]
    pub fn encode(&self) -> SecretText {
        SecretText::from(STANDARD.encode(&*self.0))
    }
}

impl fmt::Debug for InstallationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstallationSecret(…)")
    }
}

/// A sealed secret as it is stored: version, key id, nonce, ciphertext and tag.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// What to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Sealed {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// A sealed secret that can't be opened: changed, of another row, or sealed under a secret that is no longer listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed secret can't be opened: is the installation's secret the one it was sealed with?")]
pub struct SealError;

/// The keys of the installation. Cheap to clone.
#[derive(Clone)]
pub struct Keyring(Arc<[Keys]>);

struct Keys {
    id: [u8; 4],
    macs: [hmac::Key; Purpose::ALL.len()],
    sealing: RandomizedNonceKey,
}

const VERSION: u8 = 1;
const HEADER_LENGTH: usize = 1 + 4 + 12;

impl Keyring {
    /// Keys of the given secrets, the first of which makes what is new. `None` without any.
    #[must_use]
    pub fn new(secrets: &[InstallationSecret]) -> Option<Self> {
        let keys: Arc<[Keys]> = secrets.iter().map(Keys::derive).collect();
        if keys.is_empty() { None } else { Some(Self(keys)) }
    }

    /// How many secrets there are: at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The MAC of `parts` under the current secret.
    #[must_use]
    pub fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        self.0.first().map_or([0; 32], |keys| keys.mac(purpose, parts))
    }

    /// The MACs of `parts` under every secret, the current one first: for looking up what an older one stored.
    #[must_use]
    pub fn macs(&self, purpose: Purpose, parts: &[&[u8]]) -> Vec<Vec<u8>> {
        self.0.iter().map(|keys| keys.mac(purpose, parts).to_vec()).collect()
    }

    /// Whether `mac` is the MAC of `parts` under any secret, in constant time for each.
    #[must_use]
    pub fn verify(&self, purpose: Purpose, parts: &[&[u8]], mac: &[u8]) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.iter().any(|keys| keys.mac(purpose, parts).ct_eq(mac).into())
    }

    /// Whether `mac` is the MAC of `parts` under the current secret, in constant time.
    #[must_use]
    pub fn verify_current(&self, purpose: Purpose, parts: &[&[u8]], mac: &[u8]) -> bool {
        use subtle::ConstantTimeEq as _;
        self.mac(purpose, parts).ct_eq(mac).into()
    }

    /// What everything that the current secret has sealed says of it, from its second byte on.
    #[must_use]
    pub fn current_id(&self) -> &[u8] {
        self.0.first().map_or(&[], |keys| &keys.id)
    }

    /// Seals a secret for one place: `context` says which (table and row), and it opens nowhere else.
    pub fn seal(&self, context: &[&[u8]], secret: &[u8]) -> Result<Sealed, SealError> {
        let keys = self.0.first().ok_or(SealError)?;
        let mut ciphertext = secret.to_vec();
        let nonce =
            keys.sealing.seal_in_place_append_tag(Aad::from(join(context)), &mut ciphertext).map_err(|_| SealError)?;
        let mut sealed = Vec::with_capacity(HEADER_LENGTH + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&keys.id);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut ciphertext);
        Ok(Sealed(sealed))
    }

    /// Opens what was sealed for the same `context`.
    pub fn open(&self, context: &[&[u8]], sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (version, rest) = sealed.0.split_first().ok_or(SealError)?;
        let (id, rest) = rest.split_at_checked(4).ok_or(SealError)?;
        let (nonce, ciphertext) = rest.split_at_checked(12).ok_or(SealError)?;
        if *version != VERSION {
            return Err(SealError);
        }
        let keys = self.0.iter().find(|keys| keys.id == id).ok_or(SealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let length =
            keys.sealing.open_in_place(nonce, Aad::from(join(context)), &mut buffer).map_err(|_| SealError)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} secrets)", self.0.len())
    }
}

impl Keys {
    fn derive(secret: &InstallationSecret) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"countersign installation secret v1").extract(&secret.0);
        let macs = Purpose::ALL.map(|purpose| hmac::Key::new(hmac::HMAC_SHA256, &*expand(&prk, purpose.label())));
        let [a, b, c, d, ..] = *expand(&prk, "countersign key id");
        #[expect(clippy::expect_used, reason = "fails for a key of another length only")]
        let sealing = RandomizedNonceKey::new(&AES_256_GCM_SIV, &*expand(&prk, "countersign sealing"))
            .expect("AES-256 takes 32 bytes");
        Self { id: [a, b, c, d], macs, sealing }
    }

    fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = [0; 32];
        if let Some(key) = self.macs.get(purpose as usize) {
            mac.copy_from_slice(hmac::sign(key, &join(parts)).as_ref());
        }
        mac
    }
}

fn expand(prk: &hkdf::Prk, label: &str) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    #[expect(clippy::expect_used, reason = "fails for more than 255 blocks only")]
    prk.expand(&[label.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *key))
        .expect("HKDF expands to one block");
    key
}

/// Joins parts so that no two lists read the same: each is led by its length.
fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> InstallationSecret {
        InstallationSecret(Zeroizing::new(vec![byte; 32]))
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_only() {
        let keyring = Keyring::new(&[secret(1)]).unwrap();
        let sealed = keyring.seal(&[b"totp", b"ada"], b"JBSWY3DP").unwrap();
        assert_eq!(&**keyring.open(&[b"totp", b"ada"], &sealed).unwrap(), b"JBSWY3DP");
        assert!(keyring.open(&[b"totp", b"bob"], &sealed).is_err());
        assert!(keyring.open(&[b"tot", b"pada"], &sealed).is_err());
        let mut changed = sealed.as_bytes().to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert!(keyring.open(&[b"totp", b"ada"], &changed.into()).is_err());
        assert!(keyring.open(&[b"totp", b"ada"], &Vec::new().into()).is_err());
    }

    #[test]
    fn a_secret_is_rotated_by_putting_a_new_one_in_front() {
        let old = Keyring::new(&[secret(1)]).unwrap();
        let both = Keyring::new(&[secret(2), secret(1)]).unwrap();
        let new = Keyring::new(&[secret(2)]).unwrap();
        let (mac, sealed) = (old.mac(Purpose::DeviceCode, &[b"x"]), old.seal(&[b"c"], b"s").unwrap());
        assert!(both.verify(Purpose::DeviceCode, &[b"x"], &mac) && both.open(&[b"c"], &sealed).is_ok());
        assert!(!new.verify(Purpose::DeviceCode, &[b"x"], &mac) && new.open(&[b"c"], &sealed).is_err());
        assert_eq!(both.mac(Purpose::DeviceCode, &[b"x"]), new.mac(Purpose::DeviceCode, &[b"x"]));
        assert_eq!(both.macs(Purpose::UserCode, &[b"x"])[1], old.mac(Purpose::UserCode, &[b"x"]));
    }

    #[test]
    fn purposes_and_the_borders_between_parts_count() {
        let keyring = Keyring::new(&[secret(1)]).unwrap();
        let mac = keyring.mac(Purpose::DeviceCode, &[b"ab", b"c"]);
        assert_ne!(mac, keyring.mac(Purpose::DeviceCode, &[b"a", b"bc"]));
        assert_ne!(mac, keyring.mac(Purpose::RefreshToken, &[b"ab", b"c"]));
    }

    #[test]
    fn a_short_or_malformed_secret_is_refused() {
        assert_eq!(InstallationSecret::parse(&"c2hvcnQ=".into()).unwrap_err(), InstallationSecretError::TooShort);
        assert_eq!(InstallationSecret::parse(&"not base64".into()).unwrap_err(), InstallationSecretError::NotBase64);
        assert!(InstallationSecret::parse(&secret(1).encode()).is_ok());
    }
}
