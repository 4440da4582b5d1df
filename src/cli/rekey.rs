//! `countersign rekey`: so that an older secret of the installation can be taken away.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use crate::audit::{Event, Kind};
use crate::directory::{provider, webhook};
use crate::installation::Installation;
use crate::mfa::totp;
use crate::secrets::resealing::Resealed;
use crate::session::signing_keys;

use super::opening::Where;

/// Seal again, under the first of the secrets, what an older one sealed
///
/// Authenticators, signing keys, secrets at providers and secrets of webhooks. Servers may run meanwhile, as long as all of
/// them know every secret of the list. docs/operations.md says what else has to happen before an older secret can go.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    installation: Where,
}

/// What became of each kind, as it is told.
type Outcome = [(&'static str, Resealed); 4];

/// Seals, and says how much.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let opened = args.installation.open().await?;
    let outcome = seal_again(&opened.installation).await;
    opened.close().await?;
    let outcome = outcome?;
    let mut out = io::stdout();
    for (kind, Resealed { resealed, .. }) in outcome {
        writeln!(out, "{kind:<23} {resealed} sealed again")?;
    }
    let lost: Vec<_> = outcome
        .iter()
        .filter(|(_, Resealed { unopenable, .. })| *unopenable > 0)
        .map(|(kind, Resealed { unopenable, .. })| format!("{unopenable} {kind}"))
        .collect();
    if !lost.is_empty() {
        bail!("none of the secrets opens {}: is one missing in the list?", lost.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

async fn seal_again(installation: &Installation) -> anyhow::Result<Outcome> {
    let keyring = &installation.keyring;
    let mut conn = installation.pool.acquire().await?;
    let outcome = [
        ("authenticators", totp::reseal(&mut conn, keyring).await?),
        ("signing keys", signing_keys::reseal(&mut conn, keyring).await?),
        ("secrets at providers", provider::reseal(&mut conn, keyring).await?),
        ("secrets of webhooks", webhook::reseal(&mut conn, keyring).await?),
    ];
    let all: u64 = outcome.iter().map(|(_, Resealed { resealed, .. })| resealed).sum();
    if all > 0 {
        let event = Event::new(Kind::Administered, &installation.clock, &installation.random);
        event.detail(json!({ "secrets": "sealed again", "count": all })).append(&mut conn).await?;
    }
    Ok(outcome)
}
