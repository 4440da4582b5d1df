//! The keys that sign tokens.

use chrono::TimeDelta;

use crate::config::Config;
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::session::signing_keys::{SigningKeys, SigningKeysError, life};

use super::database::or_failed;
use super::finding::{Finding, Verdict};

const KEYS: &str = "signing keys";
const ROTATION: &str = "key rotation";

/// What is looked at here.
pub(super) const CHECKS: [&str; 2] = [KEYS, ROTATION];

/// A server looks every minute, and has as long as this to be late.
const LATE: TimeDelta = TimeDelta::hours(1);

pub(super) async fn look(config: &Config, installation: &Installation, conn: &mut PgConnection) -> Vec<Finding> {
    vec![openable(installation).await.of(KEYS), or_failed(rotation(config, installation, conn).await).of(ROTATION)]
}

async fn openable(installation: &Installation) -> Verdict {
    match SigningKeys::look(installation).await {
        Ok(keys) if keys.can_sign(installation.clock.now()) => {
            Verdict::ok("they can be opened, and each algorithm has one")
        }
        Ok(_) => {
            Verdict::failure("an algorithm has none", "start countersign serve, which makes those that are missing")
        }
        Err(SigningKeysError::Sealed { kid, .. }) => Verdict::failure(
            format!("{kid} can't be opened with the installation's secret"),
            "give secrets the one that the database was made with, as a second one if need be (docs/operations.md, Rotating the secret)",
        ),
        Err(error) => Verdict::failure(error.to_string(), "look at the log of countersign serve, and at its database"),
    }
}

/// Whether keys sign that should have had successors long ago.
async fn rotation(
    config: &Config,
    installation: &Installation,
    conn: &mut PgConnection,
) -> Result<Verdict, sqlx::Error> {
    let now = installation.clock.now();
    let every = TimeDelta::from_std(config.keys.rotation).unwrap_or(TimeDelta::MAX);
    let keys = life::list(conn, now).await?;
    let newest = |algorithm: &str| {
        keys.iter()
            .filter(|key| key.retired_at.is_none() && key.algorithm == algorithm)
            .map(|key| key.active_from)
            .max()
    };
    let signing = || keys.iter().filter(|key| key.stage == "signing");
    let due =
        signing().filter_map(|key| newest(&key.algorithm)).map(|from| from.checked_add_signed(every)).min().flatten();
    Ok(match due {
        None if signing().next().is_none() => Verdict::skipped("no key signs"),
        Some(due) if due + LATE < now => Verdict::warning(
            format!("the next keys were due on {}, and no server made them", due.format("%Y-%m-%d")),
            "start countersign serve with this keys.rotation and look at its log, or countersign keys rotate",
        ),
        Some(due) => Verdict::ok(format!("the next keys are due on {}", due.format("%Y-%m-%d"))),
        None => Verdict::ok("no key is ever due"),
    })
}
