//! A tool on a device: asks for codes, polls at its interval, refreshes what it got.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::crew::Stage;
use super::ledger::{INTERVAL, Ledger, LoginNumber, Told, Wish};
use super::wire::{Answer, Exchange, Wire};

/// The client of all devices.
pub const CLIENT: &str = "acme-cli";

/// For how long a poll asks to be held, by devices that do.
const HELD: Duration = Duration::from_secs(5);

/// How soon whoever heard that the server is away tries again; sooner than it was told, since a test waits.
pub const AGAIN: Duration = Duration::from_millis(500);

/// One device.
pub struct Device {
    pub wire: Wire,
    pub ledger: Arc<Ledger>,
    /// Whether its polls ask to be held.
    pub holds: bool,
}

/// What a device was given.
pub struct Codes {
    pub login: LoginNumber,
    pub device_code: String,
    pub user_code: String,
}

impl Device {
    /// Asks for codes until it gets some.
    pub async fn ask(&mut self, wish: Wish) -> Codes {
        loop {
            let asked = self.wire.post("/auth/device/code", &[("client_id", CLIENT)]).await;
            match asked.answer {
                Ok(answer) if answer.status == StatusCode::OK => return self.read(&answer, wish),
                Ok(answer) if answer.status.is_client_error() => {
                    self.ledger.wrong(format!("{}: {}", asked.what, answer.body));
                }
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn read(&self, answer: &Answer, wish: Wish) -> Codes {
        let [device_code, user_code] = ["device_code", "user_code"].map(|member| answer.text(member));
        let login = self.ledger.begins(grant_of(&device_code), wish);
        Codes { login, device_code, user_code }
    }

    /// Polls until it is told how the login ended, or until the test is over; gives the refresh token.
    pub async fn wait(&mut self, codes: &Codes, stage: &watch::Receiver<Stage>) -> Option<String> {
        loop {
            let began = Instant::now();
            match self.poll(codes).await {
                Told::Tokens(refresh_token) => return Some(refresh_token),
                Told::Over => return None,
                Told::Lost => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Told::Pending if *stage.borrow() == Stage::Over => {
                    self.ledger.stops(codes.login);
                    return None;
                }
                Told::Pending => {}
            }
            tokio::time::sleep_until(began + INTERVAL).await;
        }
    }

    /// Polls for so long at most.
    pub async fn wait_for(&mut self, codes: &Codes, at_most: Duration) -> Option<String> {
        let (stage, stages) = watch::channel(Stage::Busy);
        let over = async {
            tokio::time::sleep(at_most).await;
            stage.send_replace(Stage::Over);
            std::future::pending().await
        };
        tokio::select! {
            token = self.wait(codes, &stages) => token,
            token = over => token,
        }
    }

    /// Polls once.
    pub async fn poll(&mut self, codes: &Codes) -> Told {
        let held = self.holds.then_some(HELD);
        let poll = self.send_poll(&codes.device_code, held).await;
        self.ledger.poll(codes.login, &poll, held)
    }

    async fn send_poll(&mut self, device_code: &str, held: Option<Duration>) -> Exchange {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device_code),
            ("client_id", CLIENT),
        ];
        self.wire
            .send("/auth/token", |client, url| {
                let request = client.post(url).form(&form);
                match held {
                    Some(wait) => request.header("prefer", format!("wait={}", wait.as_secs())),
                    None => request,
                }
            })
            .await
    }

    /// Refreshes until it has a successor. A token whose successor got lost gives it again (within half a minute).
    pub async fn refresh(&mut self, refresh_token: &str) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", CLIENT)];
        loop {
            let asked = self.wire.post("/auth/token", &form).await;
            match asked.answer {
                Ok(answer) if answer.status == StatusCode::OK => return self.ledger.refreshed(),
                Ok(answer) if answer.status.is_client_error() => {
                    return self.ledger.wrong(format!("{}: a session was lost: {}", asked.what, answer.body));
                }
                Ok(_) | Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}

/// The grant of a device code, which begins with its id.
fn grant_of(device_code: &str) -> Uuid {
    let bytes = URL_SAFE_NO_PAD.decode(device_code.trim_start_matches("csd_")).unwrap();
    Uuid::from_slice(&bytes[..16]).unwrap()
}
