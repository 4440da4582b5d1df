//! What stands in front of a server: TLS on loopback with a certificate of a CA of the tests, and the faults of real ones.

use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// A certification authority that only those trust who are told where its certificate is.
pub struct Ca(Issuer<'static, KeyPair>);

impl Ca {
    /// Makes one, and writes its certificate.
    pub fn write(path: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(path, params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// TLS with a certificate for this name, valid until then.
    fn acceptor(&self, name: &str, until: DateTime<Utc>) -> TlsAcceptor {
        let day = |at: DateTime<Utc>| {
            date_time_ymd(at.year(), u8::try_from(at.month()).unwrap(), u8::try_from(at.day()).unwrap())
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = day(until - TimeDelta::days(90));
        params.not_after = day(until);
        let key = KeyPair::generate().unwrap();
        let certificate: CertificateDer<'static> = params.signed_by(&key, &self.0).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What it does, other than it should.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own")]
pub struct Habits {
    /// Its answers have this date.
    pub date: Option<DateTime<Utc>>,
    /// It asks the server under another name.
    pub other_host: bool,
    /// It passes on what a client says of the name that it asked for.
    pub passes_on: bool,
    /// It doesn't find the server.
    pub no_server: bool,
    /// It speaks no TLS.
    pub mute: bool,
}

/// The running front. It ends with this value.
pub struct Front {
    pub port: u16,
    habits: Arc<Mutex<Habits>>,
    acceptor: Arc<Mutex<TlsAcceptor>>,
    task: JoinHandle<()>,
}

impl Front {
    /// In front of this port, with a certificate that is valid for two months.
    pub async fn start(ca: &Ca, server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = Arc::new(Mutex::new(ca.acceptor("localhost", Utc::now_of_the_tests() + TimeDelta::days(60))));
        let habits: Arc<Mutex<Habits>> = Arc::default();
        let (with, acts) = (acceptor.clone(), habits.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, habits) = (with.lock().unwrap().clone(), acts.lock().unwrap().clone());
                tokio::spawn(async move {
                    if habits.mute {
                        let mut stream = stream;
                        let _gone = stream.write_all(b"what?\r\n").await;
                        return;
                    }
                    // Who doesn't trust the certificate hangs up.
                    if let Ok(tls) = acceptor.accept(stream).await {
                        let _gone = pass(tls, server, &habits).await;
                    }
                });
            }
        });
        Self { port, habits, acceptor, task }
    }

    /// From now on it does this.
    pub fn does(&self, habits: Habits) {
        *self.habits.lock().unwrap() = habits;
    }

    /// From now on it shows this certificate.
    pub fn shows(&self, ca: &Ca, name: &str, until: DateTime<Utc>) {
        *self.acceptor.lock().unwrap() = ca.acceptor(name, until);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The machine's time, for tests about it.
pub trait Now {
    fn now_of_the_tests() -> DateTime<Utc>;
}

impl Now for Utc {
    fn now_of_the_tests() -> DateTime<Utc> {
        countersign::clock::Clock::system().now()
    }
}

/// One request, one answer.
async fn pass<S: AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut client: S,
    port: u16,
    habits: &Habits,
) -> std::io::Result<()> {
    let request = head(&mut client).await?;
    let mut lines: Vec<String> = request
        .lines()
        .filter(|line| !line.is_empty())
        .filter(|line| habits.passes_on || !line.to_ascii_lowercase().starts_with("x-forwarded-"))
        .map(str::to_owned)
        .collect();
    if habits.other_host {
        lines.retain(|line| !line.to_ascii_lowercase().starts_with("host:"));
        lines.push(format!("Host: inner:{port}"));
    }
    if !habits.passes_on {
        lines.push("X-Forwarded-For: 198.51.100.7".to_owned());
    }
    lines.push("Connection: close".to_owned());
    let answer = if habits.no_server {
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n".to_vec()
    } else {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
        server.write_all((lines.join("\r\n") + "\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        answer
    };
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let (head, body) = answer.split_at(end);
    let mut head: Vec<String> = String::from_utf8_lossy(head).lines().map(str::to_owned).collect();
    if let Some(date) = habits.date {
        head.retain(|line| !line.to_ascii_lowercase().starts_with("date:"));
        head.push(format!("Date: {}", date.format("%a, %d %b %Y %H:%M:%S GMT")));
    }
    client.write_all(head.join("\r\n").as_bytes()).await?;
    client.write_all(body).await?;
    client.shutdown().await
}

/// A request's head; what is asked here has no body.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
