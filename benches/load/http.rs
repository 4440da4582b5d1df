//! An HTTP/1.1 client that costs next to nothing: it shares two cores with what it measures.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// How long a connection may rest before a new one takes its place, as in any client: the server closes it some time later, maybe
/// just when it is used again.
pub const REST: Duration = Duration::from_mins(1);

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, as long as nothing else is asked.
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    head: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::of(TcpStream::connect(address).await?)
    }

    /// Connects from another loopback address, each of which has some 28,000 ports.
    pub async fn open_from(own: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((own, 0)))?;
        Self::of(socket.connect(address).await?)
    }

    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(2048) })
    }

    /// Sends a request and reads the answer.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (head, length) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            break (end + 4, length(&self.buffer[..end])?);
        };
        while self.buffer.len() < head + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let (head, body) = self.buffer.split_at(head);
        let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        Ok(Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, head, body })
    }
}

/// How long the body is.
fn length(head: &[u8]) -> io::Result<usize> {
    const NAME: &[u8] = b"content-length:";
    let is_it = |line: &&[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let line = head.split(|byte| *byte == b'\n').find(is_it).ok_or(io::ErrorKind::InvalidData)?;
    let value = std::str::from_utf8(&line[NAME.len()..]).ok().and_then(|value| value.trim().parse().ok());
    value.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl Answer<'_> {
    /// The values of a header.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = std::str::from_utf8(self.head).unwrap_or_default().lines();
        let pairs = lines.filter_map(|line| line.split_once(':'));
        pairs.filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.body).unwrap_or_default()
    }

    /// A member of a JSON body.
    pub fn member(&self, name: &str) -> String {
        let json: serde_json::Value = serde_json::from_slice(self.body).unwrap();
        json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
    }
}

/// A request with a form, or without one.
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    request_to("localhost", method, path, headers, body)
}

/// The same to this host: pages want theirs, with its port.
pub fn request_to(host: &str, method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let form = match method {
        "POST" => {
            format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len())
        }
        _ => String::new(),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: acme-cli/1.0\r\n{headers}{form}\r\n{body}")
        .into_bytes()
}

/// A form with a token or code of fixed length, to be sent again and again with others.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    at: usize,
    length: usize,
}

impl Template {
    /// A request to `path` whose body is `before`, so many bytes, and `after`.
    pub fn new(path: &str, headers: &str, before: &str, length: usize, after: &str) -> Self {
        let bytes = request("POST", path, headers, &format!("{before}{}{after}", "x".repeat(length)));
        Self { at: bytes.len() - after.len() - length, bytes, length }
    }

    /// A poll with a device code.
    pub fn poll(headers: &str) -> Self {
        let before = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=";
        Self::new("/auth/token", headers, before, CODE, "&client_id=acme-cli")
    }

    /// The request with this value.
    pub fn with(&mut self, value: &[u8]) -> &[u8] {
        self.bytes[self.at..self.at + self.length].copy_from_slice(value);
        &self.bytes
    }
}

/// Bytes of a device code.
pub const CODE: usize = 68;
