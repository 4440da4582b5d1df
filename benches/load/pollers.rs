//! The connections of the open loop that poll.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::closed::nanos;
use super::http::{CODE, Connection, Template};
use super::open::Measured;
use super::stage::Codes;

/// Connections that poll. In the middle few of them have anything to do.
const POLLERS: usize = 256;

/// How long the last polls may take.
const LONGEST: Duration = Duration::from_mins(1);

/// The most errors that are kept.
const ERRORS: usize = 1000;

/// The connections, and what is due of them. Cheap to clone.
#[derive(Clone)]
pub struct Pollers(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    begin: Instant,
    /// One permit for each poll that is due.
    permits: Semaphore,
    due: Mutex<VecDeque<Instant>>,
    /// Polled in turn.
    ring: Mutex<(Codes, usize)>,
    measured: Mutex<Measured>,
    tasks: Mutex<JoinSet<()>>,
}

/// As many as are needed, made before anything is due: to make them has taken up to a second.
pub async fn connect(address: SocketAddr) -> Vec<Connection> {
    let mut connections = Vec::with_capacity(POLLERS);
    for _ in 0..POLLERS {
        connections.push(Connection::open(address).await.unwrap());
    }
    connections
}

impl Pollers {
    /// Over these connections.
    pub fn start(
        address: SocketAddr,
        connections: Vec<Connection>,
        codes: Codes,
        begin: Instant,
        seconds: usize,
    ) -> Self {
        let pollers = Self(Arc::new(Inner {
            address,
            begin,
            permits: Semaphore::new(0),
            due: Mutex::default(),
            ring: Mutex::new((codes, 0)),
            measured: Mutex::new(Measured::for_seconds(seconds)),
            tasks: Mutex::default(),
        }));
        for connection in connections {
            pollers.0.tasks.lock().unwrap().spawn(pollers.clone().poll(connection));
        }
        pollers
    }

    /// So many polls are due at this moment.
    pub fn due(&self, at: Instant, polls: u64) {
        let polls = usize::try_from(polls).unwrap();
        self.0.measured.lock().unwrap().late.saturating_record(nanos(at.elapsed()));
        self.0.due.lock().unwrap().extend(std::iter::repeat_n(at, polls));
        self.0.permits.add_permits(polls);
    }

    /// One more code to be polled.
    pub fn add(&self, code: &str) {
        self.0.ring.lock().unwrap().0.push(code);
    }

    fn next_code(&self) -> [u8; CODE] {
        let mut ring = self.0.ring.lock().unwrap();
        let (codes, next) = &mut *ring;
        let code = codes.at(*next).try_into().unwrap();
        *next = (*next + 1) % codes.len();
        code
    }

    async fn poll(self, mut connection: Connection) {
        let mut template = Template::poll("");
        while let Ok(permit) = self.0.permits.acquire().await {
            permit.forget();
            let Some(due) = self.0.due.lock().unwrap().pop_front() else { continue };
            let answer = connection.ask(template.with(&self.next_code())).await;
            let took = due.elapsed();
            let error = match answer {
                Ok(answer)
                    if answer.status == 400 && answer.body.starts_with(b"{\"error\":\"authorization_pending\"") =>
                {
                    None
                }
                Ok(answer) => Some((false, format!("a poll: {} {}", answer.status, answer.text()))),
                Err(error) => Some((true, format!("a poll: {error}"))),
            };
            let again = error.as_ref().is_some_and(|(again, _)| *again);
            {
                let mut measured = self.0.measured.lock().unwrap();
                // One that failed took as long as it took.
                measured.poll(due - self.0.begin, took);
                let room = measured.errors.len() < ERRORS;
                measured.errors.extend(error.map(|(_, error)| error).filter(|_| room));
            }
            if again {
                connection = Connection::open(self.0.address).await.unwrap();
            }
        }
    }

    /// Waits for what was due, and tells.
    pub async fn finish(self) -> Measured {
        while !self.0.due.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.0.permits.close();
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap());
        let ending = async {
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
        };
        assert!(tokio::time::timeout(LONGEST, ending).await.is_ok(), "polls are not answered");
        std::mem::replace(&mut *self.0.measured.lock().unwrap(), Measured::for_seconds(0))
    }
}
