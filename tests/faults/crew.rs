//! Devices and people, under way all at once, for as long as a test breaks things.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::device::{CLIENT, Device};
use super::ledger::{Counts, Ledger, Wish};
use super::person::{Errand, Person};
use super::wire::Wire;

/// How many devices log in again and again, usually. Every second one has its polls held.
pub const DEVICES: usize = 12;

/// Devices whose codes are asked for before anything breaks, and decided when all is well again.
const PATIENT: usize = 8;

/// How often somebody comes by who asks for codes and leaves: whatever everybody else waits for, somebody notices.
const PASSER_BY: Duration = Duration::from_millis(400);

/// How many decide.
const PEOPLE: usize = 3;

/// How long the last logins have when all is well again.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// What the crew does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Everything.
    Busy,
    /// It asks for no more codes, and ends what is under way.
    Ending,
    /// What has not ended by now doesn't.
    Over,
}

/// Everybody.
pub struct Crew {
    pub ledger: Arc<Ledger>,
    errands: Errands,
    patient: Arc<Mutex<Vec<Errand>>>,
    stage: watch::Sender<Stage>,
    devices: JoinSet<()>,
    people: JoinSet<()>,
}

/// Codes that wait for somebody to type them.
#[derive(Clone, Default)]
struct Errands(Arc<Mutex<VecDeque<Errand>>>);

/// Who can sign in: address and password.
pub const ACCOUNTS: [(&str, &str); 2] =
    [("ada@acme.example", "ada's password"), ("bob@acme.example", "bob's password")];

impl Crew {
    /// Begins, and waits until logins succeed and the patient devices have their codes.
    pub async fn begin(wire: &Wire, ledger: &Arc<Ledger>, origin: &str, devices: usize) -> Self {
        let (stage, _) = watch::channel(Stage::Busy);
        let mut crew = Self {
            ledger: ledger.clone(),
            errands: Errands::default(),
            patient: Arc::default(),
            stage,
            devices: JoinSet::new(),
            people: JoinSet::new(),
        };
        for number in 0..PEOPLE {
            let (email, password) = ACCOUNTS[number % ACCOUNTS.len()];
            let person = Person::new(wire.beginning_at(number), ledger, origin, email, password);
            crew.people.spawn(decide_codes(person, crew.errands.clone()));
        }
        for number in 0..devices {
            crew.devices.spawn(log_in_often(
                crew.device(wire, number),
                crew.errands.clone(),
                crew.stage.subscribe(),
                number,
            ));
        }
        for number in 0..PATIENT {
            crew.devices.spawn(log_in_patiently(
                crew.device(wire, number / 2 + number),
                crew.patient.clone(),
                crew.stage.subscribe(),
                number,
            ));
        }
        crew.people.spawn(pass_by(wire.beginning_at(0)));
        crew.until("logins succeed", |counts| counts.refreshed >= 10).await;
        crew
    }

    fn device(&self, wire: &Wire, number: usize) -> Device {
        Device { wire: wire.beginning_at(number), ledger: self.ledger.clone(), holds: number % 2 == 1 }
    }

    /// Waits until so much was counted.
    pub async fn until(&self, what: &str, is_so: impl Fn(Counts) -> bool) {
        let deadline = Instant::now() + ENDS_WITHIN;
        while !is_so(self.ledger.counts()) {
            assert!(Instant::now() < deadline, "waited in vain until {what}: {:?}", self.ledger.counts());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets more logins succeed, the patient ones last, and waits until everybody has ended.
    pub async fn end(mut self) {
        let before = self.ledger.counts();
        self.until("logins succeed again", |counts| counts.logged_in >= before.logged_in + 10).await;
        for errand in std::mem::take(&mut *self.patient.lock().unwrap()) {
            self.errands.add(errand);
        }
        self.stage.send_replace(Stage::Ending);
        let deadline = Instant::now() + ENDS_WITHIN;
        while self.devices.len() > undecided() && Instant::now() < deadline {
            while let Some(ended) = self.devices.try_join_next() {
                ended.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What is pending now is what nobody decided, or what was lost.
        self.stage.send_replace(Stage::Over);
        while let Some(ended) = self.devices.join_next().await {
            ended.unwrap();
        }
        self.people.shutdown().await;
    }
}

impl Errands {
    fn add(&self, errand: Errand) {
        if errand.wish != Wish::Nothing {
            self.0.lock().unwrap().push_back(errand);
        }
    }

    fn take(&self) -> Option<Errand> {
        self.0.lock().unwrap().pop_front()
    }
}

/// What becomes of the codes of patient devices.
const fn patient_wish(number: usize) -> Wish {
    match number {
        0 | 1 => Wish::Nothing,
        2 => Wish::Deny,
        _ => Wish::Approve,
    }
}

/// How many of them nobody decides.
fn undecided() -> usize {
    (0..PATIENT).filter(|number| patient_wish(*number) == Wish::Nothing).count()
}

async fn pass_by(wire: Wire) {
    let mut passing = JoinSet::new();
    for turn in 0.. {
        let mut wire = wire.beginning_at(turn);
        passing.spawn(async move { wire.post("/auth/device/code", &[("client_id", CLIENT)]).await });
        tokio::time::sleep(PASSER_BY).await;
        while passing.try_join_next().is_some() {}
    }
}

async fn decide_codes(mut person: Person, errands: Errands) {
    loop {
        match errands.take() {
            Some(errand) => person.decide(&errand).await,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn log_in_often(mut device: Device, errands: Errands, stage: watch::Receiver<Stage>, number: usize) {
    let mut count = number;
    while *stage.borrow() == Stage::Busy {
        let wish = if count % 5 == 4 { Wish::Deny } else { Wish::Approve };
        count += 1;
        let codes = device.ask(wish).await;
        let (login, user_code) = (codes.login, codes.user_code.clone());
        errands.add(Errand { login, user_code, wish });
        if let Some(refresh_token) = device.wait(&codes, &stage).await {
            device.refresh(&refresh_token).await;
        }
    }
}

async fn log_in_patiently(
    mut device: Device,
    patient: Arc<Mutex<Vec<Errand>>>,
    stage: watch::Receiver<Stage>,
    number: usize,
) {
    let wish = patient_wish(number);
    let codes = device.ask(wish).await;
    let (login, user_code) = (codes.login, codes.user_code.clone());
    patient.lock().unwrap().push(Errand { login, user_code, wish });
    if let Some(refresh_token) = device.wait(&codes, &stage).await {
        device.refresh(&refresh_token).await;
    }
}
