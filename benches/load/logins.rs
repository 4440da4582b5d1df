//! The logins of the open loop: a device asks, holds its poll, and a person approves it in a browser.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;

use super::browser::{Approved, Browser};
use super::closed::{histogram, nanos};
use super::http::{Connection, REST, Template, request};
use super::pollers::Pollers;
use super::processes::PEOPLE;

/// From seeing the code to typing it: the device holds its poll by then.
const THINKING: Duration = Duration::from_secs(1);

/// How far a login goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody types its code, and it is polled from then on like all others.
    Left,
    /// It is approved.
    Approved,
}

/// What logins told.
pub struct Told {
    /// Requests for codes, from when they were due.
    pub codes: Histogram<u64>,
    /// From sending an approval to the device's tokens.
    pub approvals: Histogram<u64>,
    /// From the answer to the approval to the device's tokens; 0 where those came first.
    pub from_answers: Histogram<u64>,
    /// What went wrong.
    pub errors: Vec<String>,
}

impl Default for Told {
    fn default() -> Self {
        Self { codes: histogram(), approvals: histogram(), from_answers: histogram(), errors: Vec::new() }
    }
}

/// Everybody who logs in. Cheap to clone.
#[derive(Clone)]
pub struct Logins(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    browsers: Mutex<Vec<Browser>>,
    /// One for each that rests.
    resting: Semaphore,
    /// Connections of devices that rest, and since when.
    devices: Mutex<Vec<(Instant, Connection)>>,
    told: Mutex<Told>,
}

impl Logins {
    /// Signs everybody in, each in a browser and by a login of their own.
    pub async fn sign_in(address: SocketAddr) -> Self {
        let logins = Self(Arc::new(Inner {
            address,
            browsers: Mutex::default(),
            resting: Semaphore::new(0),
            devices: Mutex::default(),
            told: Mutex::default(),
        }));
        for person in 0..PEOPLE {
            let mut browser = Browser::open(address, person).await.unwrap();
            let ip = format!("10.200.0.{person}");
            let (device, _, user_code) = logins.ask(&ip).await.unwrap();
            browser.approve(&user_code, &ip).await.unwrap();
            logins.rest(device);
            logins.give_back(browser);
        }
        logins
    }

    /// What was measured until now.
    pub fn told(&self) -> Told {
        std::mem::take(&mut *self.0.told.lock().unwrap())
    }

    fn rest(&self, device: Connection) {
        self.0.devices.lock().unwrap().push((Instant::now(), device));
    }

    fn give_back(&self, browser: Browser) {
        self.0.browsers.lock().unwrap().push(browser);
        self.0.resting.add_permits(1);
    }

    /// One login, due at this moment.
    pub async fn run(self, due: Instant, step: Step, pollers: Pollers, number: u64) {
        // Everybody is at an address of their own, the device beside its person.
        let [.., second, third, fourth] = number.to_be_bytes();
        let ip = format!("10.{second}.{third}.{fourth}");
        if let Err(error) = self.log_in(due, step, &pollers, &ip).await {
            self.0.told.lock().unwrap().errors.push(format!("a login: {error}"));
        }
    }

    async fn log_in(&self, due: Instant, step: Step, pollers: &Pollers, ip: &str) -> io::Result<()> {
        let (device, device_code, user_code) = self.ask(ip).await?;
        self.0.told.lock().unwrap().codes.saturating_record(nanos(due.elapsed()));
        if step == Step::Left {
            pollers.add(&device_code);
            self.rest(device);
            return Ok(());
        }
        let held = self.hold(device, &device_code, ip);
        let (got, approved) = tokio::join!(held, self.approve(&user_code, ip));
        // A poll is held in vain when its approval failed, which says why.
        let Approved { sent, answered } = approved?;
        let got = got?;
        let mut told = self.0.told.lock().unwrap();
        told.approvals.saturating_record(nanos(got.saturating_duration_since(sent)));
        told.from_answers.saturating_record(nanos(got.saturating_duration_since(answered)));
        Ok(())
    }

    async fn ask(&self, ip: &str) -> io::Result<(Connection, String, String)> {
        let rested = self.0.devices.lock().unwrap().pop().filter(|(since, _)| since.elapsed() < REST);
        let mut device = match rested {
            Some((_, device)) => device,
            None => Connection::open(self.0.address).await?,
        };
        let headers = format!("X-Forwarded-For: {ip}\r\n");
        let answer = device.ask(&request("POST", "/auth/device/code", &headers, "client_id=acme-cli")).await?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("a request for codes: {} {}", answer.status, answer.text())));
        }
        let (device_code, user_code) = (answer.member("device_code"), answer.member("user_code"));
        Ok((device, device_code, user_code))
    }

    /// Polls and is held, until there are tokens.
    async fn hold(&self, mut device: Connection, device_code: &str, ip: &str) -> io::Result<Instant> {
        let mut template = Template::poll(&format!("Prefer: wait=30\r\nX-Forwarded-For: {ip}\r\n"));
        let answer = device.ask(template.with(device_code.as_bytes())).await?;
        let got = Instant::now();
        if answer.status != 200 {
            return Err(io::Error::other(format!("a held poll: {} {}", answer.status, answer.text())));
        }
        self.rest(device);
        Ok(got)
    }

    async fn approve(&self, user_code: &str, ip: &str) -> io::Result<Approved> {
        tokio::time::sleep(THINKING).await;
        self.0.resting.acquire().await.map_err(io::Error::other)?.forget();
        let mut browser = self.0.browsers.lock().unwrap().pop().unwrap();
        let approved = browser.approve(user_code, ip).await;
        if approved.is_err() {
            // Where it stands nobody knows: another takes its place, and signs in.
            browser = Browser::open(self.0.address, browser.person()).await?;
        }
        self.give_back(browser);
        approved
    }
}
