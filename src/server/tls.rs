//! TLS in the process (RFC 8446, RFC 5246), for installations without a proxy before them.
//!
//! 1. Certificate and key are read at the start, where a pair that can't be used is an error.
//! 2. Now and then the files are looked at. A pair that has changed and fits together is served to connections that come
//!    from then on; those that are open go on. One that can't be used is complained of, and the one before stays.
//! 3. Whoever renews it writes two files, one after the other: between them they don't fit, and are read again when the second
//!    one has changed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_cert::der::Decode as _;

use crate::clock::Clock;

/// How often to look whether the files have changed.
const EVERY: Duration = Duration::from_secs(5);

/// How long before its end a certificate is warned of: whoever renews by themselves does it a month or a third of its life
/// before, and has failed by then.
const SOON: TimeDelta = TimeDelta::days(14);

/// How often it is warned of.
const AGAIN: TimeDelta = TimeDelta::days(1);

/// How often it is said again why the files can't be used, as long as that stays the same.
const COMPLAIN_AGAIN: TimeDelta = TimeDelta::hours(1);

/// What is spoken inside (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// A certificate with its key, read again when the files change. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<Parts>);

struct Parts {
    files: Files,
    served: Arc<Served>,
    acceptor: TlsAcceptor,
    provider: Arc<CryptoProvider>,
    /// Of the files from which the pair comes that is served. Others are read again and again until they can be used: a file that
    /// is handed over changes neither its time nor its length.
    stamp: Mutex<Stamp>,
}

/// Where the pair is.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Tells two contents of the files apart.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// What connections that come now are shown.
struct Served(ArcSwap<Pair>);

struct Pair {
    certified: Arc<CertifiedKey>,
    /// When the certificate is over.
    expires: DateTime<Utc>,
}

/// Why a certificate and its key can't be used. Never says anything of the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds nothing of what it should.
    #[error("{path} holds no {what} in PEM: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
        /// What is wrong.
        error: rustls::pki_types::pem::Error,
    },
    /// The first certificate isn't one.
    #[error("{path} holds a certificate that can't be understood: {error}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: x509_cert::der::Error,
    },
    /// Certificate and key don't fit together, or are of a kind that isn't known.
    #[error("the certificate in {certificate} can't be served with the key in {key}: {error}")]
    Mismatched {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// No version of TLS is left.
    #[error("TLS can't be set up: {0}")]
    Unusable(rustls::Error),
}

impl Tls {
    /// Reads a certificate, with those that lead to its authority, and its key. Blocks while it does.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        // Before they are read: whatever changes from now on is noticed.
        let stamp = Mutex::new(files.stamp());
        let provider = Arc::new(default_provider());
        let served = Arc::new(Served(ArcSwap::from_pointee(files.read(&provider)?)));
        let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let config = config.map_err(TlsError::Unusable)?.with_no_client_auth();
        let mut config = config.with_cert_resolver(served.clone());
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self(Arc::new(Parts { files, served, acceptor, provider, stamp })))
    }

    /// What shakes hands.
    #[must_use]
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.0.acceptor
    }

    /// When the certificate that is served is over.
    #[must_use]
    pub fn expires(&self) -> DateTime<Utc> {
        self.0.served.0.load().expires
    }

    /// Reads the files again if they are others than those that are served; says whether another pair is served now. Blocks while
    /// it does.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let Parts { files, served, provider, stamp, .. } = &*self.0;
        let now = files.stamp();
        let mut known = stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return Ok(false);
        }
        served.0.store(Arc::new(files.read(provider)?));
        *known = now;
        Ok(true)
    }

    /// Its metric.
    #[must_use]
    pub fn collector(&self) -> Box<dyn Collector> {
        Box::new(Expiry(self.clone()))
    }

    /// Says that the certificate is over soon, or is over.
    pub fn warn_of_end(&self, now: DateTime<Utc>) {
        let expires = self.expires();
        if expires <= now {
            tracing::error!(%expires, "the certificate is over: clients refuse to connect until tls.certificate is renewed");
        } else if expires - now < SOON {
            let days = (expires - now).num_days();
            tracing::warn!(%expires, days, "the certificate is over soon, and was not renewed: see to tls.certificate");
        }
    }
}

/// Looks at the files now and then, and warns once a day of a certificate that is over soon, until `stop`.
pub async fn watch(tls: Option<Tls>, clock: Clock, stop: CancellationToken) {
    let Some(tls) = tls else { return stop.cancelled().await };
    let (mut warned, mut complaint): (Option<DateTime<Utc>>, _) = (None, Complaint::default());
    loop {
        let now = clock.now();
        if warned.is_none_or(|at| now - at >= AGAIN) {
            tls.warn_of_end(now);
            warned = Some(now);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let looking = tls.clone();
        match tokio::task::spawn_blocking(move || looking.refresh()).await {
            Ok(Ok(true)) => {
                tracing::info!(expires = %tls.expires(), "another certificate is served to new connections");
                (warned, complaint) = (None, Complaint::default());
            }
            Ok(Ok(false)) => complaint = Complaint::default(),
            Ok(Err(error)) => {
                if complaint.is_due(&error.to_string(), clock.now()) {
                    tracing::warn!(%error, "the certificate that was read before is still served");
                }
            }
            Err(error) => tracing::error!(%error, "the certificate could not be looked at"),
        }
    }
}

/// What was said of files that can't be used, and when: they are looked at every few seconds, and nobody wants to read it as often.
#[derive(Debug, Default)]
struct Complaint(Option<(String, DateTime<Utc>)>);

impl Complaint {
    /// Whether this is to be said now, as it then is.
    fn is_due(&mut self, why: &str, now: DateTime<Utc>) -> bool {
        let was_said = self.0.as_ref().is_some_and(|(said, at)| said == why && now - *at < COMPLAIN_AGAIN);
        if !was_said {
            self.0 = Some((why.to_owned(), now));
        }
        !was_said
    }
}

impl Files {
    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    fn read(&self, provider: &CryptoProvider) -> Result<Pair, TlsError> {
        let Self { certificate, key } = self;
        let unreadable = |path: &Path, what| {
            let path = path.to_owned();
            move |error| TlsError::Unreadable { path, what, error }
        };
        let no_certificate = || unreadable(certificate, "certificate");
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).map_err(no_certificate())?.collect();
        let chain = chain.map_err(no_certificate())?;
        let first = chain.first().ok_or(rustls::pki_types::pem::Error::NoItemsFound).map_err(no_certificate())?;
        let malformed = |error| TlsError::Malformed { path: certificate.clone(), error };
        let expires = x509_cert::Certificate::from_der(first).map_err(malformed)?;
        let expires = expires.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
        // One of the year 9999 has no end (RFC 5280 §4.1.2.5), and neither has one that is later than can be said.
        let expires = i64::try_from(expires).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key, "private key"))?;
        let certified = CertifiedKey::from_der(chain, secret, provider);
        let mismatched = |error| TlsError::Mismatched { certificate: certificate.clone(), key: key.clone(), error };
        Ok(Pair {
            certified: Arc::new(certified.map_err(mismatched)?),
            expires: expires.unwrap_or(DateTime::<Utc>::MAX_UTC),
        })
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified.clone())
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served")
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.0.files.certificate.display())
    }
}

/// When the certificate is over, looked at when it is asked for.
#[derive(Debug)]
struct Expiry(Tls);

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = encoder.encode_descriptor(
            "tls_certificate_expiry_timestamp",
            "When the certificate that is served is over, in seconds since 1970",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        ConstGauge::new(self.0.expires().timestamp()).encode(gauge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_once_when_it_changes_and_every_hour() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut complaint = Complaint::default();
        let mut said = |why, minutes| complaint.is_due(why, start + TimeDelta::minutes(minutes));
        assert_eq!(
            [0, 1, 59, 60, 61, 119].map(|minutes| said("no key", minutes)),
            [true, false, false, true, false, false]
        );
        assert!(said("no certificate", 119) && !said("no certificate", 120) && said("no key", 121));
    }
}
