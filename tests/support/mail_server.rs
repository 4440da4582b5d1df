//! A mail server on loopback (RFC 5321), which keeps what it is sent, or does what mail servers do on bad days.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::notice::mail::Mailer;
use countersign::server::Settings;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// What is done with the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// The recipient is refused with this code.
    Refuses(u16),
    /// Nothing is ever said.
    Silent,
    /// It is closed at once.
    HangsUp,
}

/// A mail as it came.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body, with `\n` between lines.
    pub data: String,
}

#[derive(Clone)]
pub struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
    moods: Arc<Mutex<VecDeque<Mood>>>,
}

impl MailServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, mails: Arc::default(), moods: Arc::default() };
        let here = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mood = here.moods.lock().unwrap().pop_front();
                tokio::spawn(here.clone().serve(stream, mood));
            }
        });
        server
    }

    /// Settings of a server that sends its mails here.
    pub fn settings(&self) -> Settings {
        let url = format!("smtp://127.0.0.1:{}", self.port).into();
        let mailer = Mailer::configured(Some(&url), Some("Acme sign-in <login@acme.example>")).unwrap();
        Settings { mailer, ..Settings::default() }
    }

    /// What is done with the next connections.
    pub fn next(&self, moods: impl IntoIterator<Item = Mood>) {
        self.moods.lock().unwrap().extend(moods);
    }

    /// How many connections have to come before all is well again.
    pub fn moods_left(&self) -> usize {
        self.moods.lock().unwrap().len()
    }

    /// What came so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }

    /// The first so many mails, once they are there.
    pub async fn first(&self, count: usize) -> Vec<Mail> {
        for _ in 0..600 {
            let mails = self.mails();
            if mails.len() >= count {
                return mails;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {count} mails came: {:?}", self.mails());
    }

    async fn serve(self, stream: TcpStream, mood: Option<Mood>) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        match mood {
            Some(Mood::HangsUp) => return,
            Some(Mood::Silent) => {
                while let Ok(Some(_)) = lines.next_line().await {}
                return;
            }
            _ => {}
        }
        write.write_all(b"220 mail.acme.example ESMTP\r\n").await.unwrap();
        let mut mail = Mail { from: String::new(), to: vec![], data: String::new() };
        while let Ok(Some(line)) = lines.next_line().await {
            let command = line.to_ascii_uppercase();
            let answer = if command.starts_with("EHLO") {
                "250-mail.acme.example\r\n250 8BITMIME".to_owned()
            } else if let Some(from) = command.starts_with("MAIL FROM:").then(|| address(&line)) {
                mail = Mail { from, to: vec![], data: String::new() };
                "250 fine".to_owned()
            } else if command.starts_with("RCPT TO:") {
                if let Some(Mood::Refuses(code)) = mood {
                    format!("{code} not today, {}", address(&line))
                } else {
                    mail.to.push(address(&line));
                    "250 fine".to_owned()
                }
            } else if command == "DATA" {
                write.write_all(b"354 go on\r\n").await.unwrap();
                mail.data = data(&mut lines).await;
                self.mails.lock().unwrap().push(mail.clone());
                "250 kept".to_owned()
            } else if command == "QUIT" {
                write.write_all(b"221 bye\r\n").await.unwrap();
                return;
            } else {
                "250 fine".to_owned()
            };
            if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// The lines until a single dot, without the dots that were added (§4.5.2).
async fn data(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> String {
    let mut data = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line == "." {
            break;
        }
        data += line.strip_prefix('.').unwrap_or(&line);
        data.push('\n');
    }
    data
}

fn address(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap().to_owned()
}

impl Mail {
    /// The headers of the mail as they were sent, folded lines joined.
    pub fn headers(&self) -> Vec<String> {
        let head = self.data.split("\n\n").next().unwrap().replace("\n ", " ").replace("\n\t", " ");
        head.lines().map(str::to_owned).collect()
    }

    /// The value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> String {
        let start = format!("{name}: ");
        let headers = self.headers();
        let found: Vec<&String> = headers.iter().filter(|header| header.starts_with(&start)).collect();
        assert_eq!(found.len(), 1, "{name} in {headers:#?}");
        found[0].trim_start_matches(&start).to_owned()
    }

    /// The part of this type, decoded.
    #[track_caller]
    pub fn part(&self, content_type: &str) -> String {
        let of_type = format!("Content-Type: {content_type}");
        let part = self.data.split(&of_type).nth(1).unwrap_or_else(|| panic!("no {content_type} in {}", self.data));
        let (head, body) = part.split_once("\n\n").unwrap();
        let boundary = self.header("Content-Type").split('"').nth(1).expect("a boundary").to_owned();
        let body = body.split(&format!("\n--{boundary}")).next().unwrap();
        match head.split("Content-Transfer-Encoding: ").nth(1).map(|rest| rest.lines().next().unwrap()) {
            Some("quoted-printable") => from_quoted_printable(body),
            Some("base64") => {
                use base64::Engine as _;
                let text: String = body.split_whitespace().collect();
                String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
            }
            _ => body.to_owned(),
        }
    }

    /// The link of "This wasn't me", as a path here.
    #[track_caller]
    pub fn link(&self) -> String {
        let text = self.part("text/plain");
        let link =
            text.lines().find(|line| line.contains("/activate/report?token=")).unwrap_or_else(|| panic!("{text}"));
        let url: url::Url = link.trim().parse().unwrap();
        format!("{}?{}", url.path(), url.query().unwrap())
    }
}

/// RFC 2045 §6.7.
fn from_quoted_printable(text: &str) -> String {
    let joined = text.replace("=\n", "");
    let mut bytes = vec![];
    let mut rest = joined.as_bytes();
    while let [first, after @ ..] = rest {
        if let (b'=', [high, low, after @ ..]) = (first, after) {
            let digits = [*high, *low];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}
