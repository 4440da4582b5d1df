//! A client that knows how long an answer took: one connection, nothing between it and the clock.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use scraper::{Html, Selector};

/// A connection to the server.
pub struct Client {
    stream: TcpStream,
    host: String,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
    /// From the first byte that was sent to the last that came.
    pub took: Duration,
}

/// Who asks: a program or a browser, at an address of its own.
pub struct Caller {
    address: Ipv6Addr,
    cookie: Option<String>,
    csrf_token: String,
}

impl Caller {
    /// Somebody at another address than everybody before, in another /64.
    pub fn new(number: u32) -> Self {
        let [high, low] = [number >> 16, number & 0xffff].map(|half| u16::try_from(half).unwrap());
        Self { address: Ipv6Addr::new(0x2001, 0xdb8, high, low, 0, 0, 0, 1), cookie: None, csrf_token: String::new() }
    }

    /// Opens a page and keeps its cookie and the token of its form.
    pub fn open(&mut self, client: &mut Client, path: &str) -> Answer {
        let answer = client.send("GET", path, self, &[]);
        self.keep(&answer);
        answer
    }

    /// Sends a page's form.
    pub fn submit(&mut self, client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.csrf_token.clone();
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf_token", token.as_str())]).collect();
        let answer = client.send("POST", path, self, &fields);
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Answer) {
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        // The last form is the page's own; before it may stand "Not you?".
        let selector = Selector::parse("main input[name=csrf_token]").unwrap();
        let page = Html::parse_document(&answer.body);
        if let Some(token) = page.select(&selector).next_back().and_then(|field| field.value().attr("value")) {
            token.clone_into(&mut self.csrf_token);
        }
    }
}

impl Client {
    pub fn of(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self { stream, host: format!("localhost:{}", address.port()) }
    }

    /// A request of a program.
    pub fn post(&mut self, path: &str, caller: &Caller, fields: &[(&str, &str)]) -> Answer {
        self.send("POST", path, caller, fields)
    }

    fn send(&mut self, method: &str, path: &str, caller: &Caller, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: {}\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n",
            self.host,
            caller.address,
            body.len()
        );
        if let Some(cookie) = &caller.cookie {
            write!(request, "Cookie: {cookie}\r\n").unwrap();
        }
        write!(request, "\r\n{body}").unwrap();
        let begun = Instant::now();
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::with_capacity(16 * 1024);
        let mut buffer = [0; 16 * 1024];
        while !is_complete(&bytes) {
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the server closed the connection after {}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&buffer[..read]);
        }
        let took = begun.elapsed();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned(), took }
    }
}

/// Whether head and body are there.
fn is_complete(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let length = find_header(head, "content-length").map_or(0, |length| length.parse().unwrap());
    bytes.len() >= end + 4 + length
}

fn find_header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.head, name)
    }

    /// A member of a JSON body.
    pub fn member(&self, name: &str) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
    }

    /// What somebody sees of it: status and length.
    pub fn seen(&self) -> (u16, usize) {
        (self.status, self.body.len())
    }
}
