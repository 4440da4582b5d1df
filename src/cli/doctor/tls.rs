//! The way to a host: its name, its port, its certificate. Nothing is sent but what TLS says itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, ConfigBuilder};
use url::Url;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::finding::Verdict;

/// How long a name server has, a connection, and a handshake.
const PATIENCE: Duration = Duration::from_secs(8);

/// Host and port of a URL.
pub(super) fn endpoint(url: &Url) -> Option<(String, u16)> {
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((host, url.port_or_known_default()?))
}

/// The addresses of a name; the verdict is that there are none.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Verdict> {
    let mend = format!("make a DNS record (A, AAAA) for {host}, or correct the name");
    match timeout(PATIENCE, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<SocketAddr> = addresses.collect();
            if addresses.is_empty() {
                Err(Verdict::failure(format!("{host} has no address"), mend))
            } else {
                Ok(addresses)
            }
        }
        Ok(Err(_)) => Err(Verdict::failure(format!("{host} can't be resolved"), mend)),
        Err(_) => {
            let mend = "look at the name servers in /etc/resolv.conf: they do not answer this machine";
            Err(Verdict::failure(format!("no name server answered for {host} in time"), mend))
        }
    }
}

/// A connection to the first address that takes one.
pub(super) async fn connect(host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, Verdict> {
    let port = addresses.first().map_or(0, SocketAddr::port);
    let why = match timeout(PATIENCE, TcpStream::connect(addresses)).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => "refuses connections",
        Ok(Err(_)) => "can't be reached",
        Err(_) => "does not answer",
    };
    let mend = format!("start what listens there, and let this machine through to port {port} (firewall)");
    Err(Verdict::failure(format!("{host} {why} on port {port}"), mend))
}

/// A TLS handshake as a browser makes it; when its certificate runs out, as far as that can be read.
pub(super) async fn handshake(host: &str, stream: TcpStream) -> Result<Option<DateTime<Utc>>, Verdict> {
    let unusable = |what: &str| {
        Verdict::failure(
            format!("no TLS can be spoken from here: {what}"),
            "install the system's CA certificates (ca-certificates)",
        )
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(ConfigBuilder::with_platform_verifier)
        .map_err(|error| unusable(&error.to_string()))?
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| unusable("the name is none"))?;
    match timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
        Ok(Ok(tls)) => {
            let certificate = tls.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|der| der.to_vec());
            Ok(certificate.as_deref().and_then(not_after))
        }
        Ok(Err(error)) => Err(refused(host, error.get_ref().and_then(|inner| inner.downcast_ref()))),
        Err(_) => {
            let mend = "look at what listens there: it takes connections and speaks no TLS";
            Err(Verdict::failure(format!("{host} did not answer the TLS handshake in time"), mend))
        }
    }
}

fn not_after(der: &[u8]) -> Option<DateTime<Utc>> {
    let certificate = Certificate::from_der(der).ok()?;
    let until = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    DateTime::from_timestamp(i64::try_from(until.as_secs()).ok()?, 0)
}

/// What a handshake failed at.
fn refused(host: &str, error: Option<&rustls::Error>) -> Verdict {
    use CertificateError as Certificate;
    let (says, mend) = match error {
        Some(rustls::Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. })) => {
            ("has run out", "renew it, and have what answers there load the new one (certbot renew, and reload)")
        }
        Some(rustls::Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. })) => {
            ("is not valid yet", "look at this machine's clock, or use a certificate that is valid now")
        }
        Some(rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        )) => ("is that of another name", "use a certificate that has this name"),
        Some(rustls::Error::InvalidCertificate(Certificate::UnknownIssuer)) => (
            "is of a CA that this machine doesn't know",
            "serve the whole chain, intermediate certificates too; a CA of your own goes into the system's certificates",
        ),
        Some(rustls::Error::InvalidCertificate(_)) => {
            ("can't be trusted", "use one of a public CA, with its whole chain")
        }
        _ => {
            let mend = "look at what listens there: it speaks no TLS 1.2 or 1.3";
            return Verdict::failure(format!("the TLS handshake with {host} failed"), mend);
        }
    };
    Verdict::failure(format!("the certificate of {host} {says}"), mend)
}
