//! `countersign rekey`: so that an older secret of the installation can be taken away.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use crate::audit::{Event, Kind};
use crate::directory::kept_secret::{self, Client};
use crate::directory::{provider, webhook};
use crate::installation::Installation;
use crate::mfa::totp;
use crate::secrets::resealing::Resealed;
use crate::session::signing_keys;

use super::opening::Where;

/// Seal again, under the first of the secrets, what an older one sealed
///
/// Authenticators, signing keys, secrets at providers and secrets of webhooks. Servers may run meanwhile, as long as all of
/// them know every secret of the list. What is kept of a client's secret only the client can renew: those that may need an older
/// secret are named. docs/operations.md says what else has to happen before an older secret can go.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    installation: Where,
}

/// What became of each kind, as it is told.
type Outcome = [(&'static str, Resealed); 4];

/// What becomes of clients who still need an older secret.
const TO_BE_HEARD_FROM: &str = "\
What is kept of a client's secret comes under the first secret when the client sends it, which polls don't count for. Before an older
secret is taken out of the list, let each of these ask for a code once, or refresh, introspect or revoke a token; or apply a file that
names its secret; or give it another one: countersign service rotate-secret. Without that it is refused from then on: invalid_client.";

/// Seals, and says how much, and which clients need an older secret all the same.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let opened = args.installation.open().await?;
    let outcome = seal_again(&opened.installation).await;
    let clients = clients(&opened.installation).await;
    opened.close().await?;
    let (outcome, clients) = (outcome?, clients?);
    let mut out = io::stdout();
    for (kind, Resealed { resealed, .. }) in outcome {
        writeln!(out, "{kind:<23} {resealed} sealed again")?;
    }
    tell(&mut out, &clients)?;
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

/// Says which clients may need an older secret, and what to do about it.
fn tell(out: &mut impl Write, clients: &[Client]) -> io::Result<()> {
    writeln!(out, "{:<23} {} may need an older secret", "clients", clients.len())?;
    for client in clients {
        writeln!(out, "    {client}")?;
    }
    if clients.is_empty() { Ok(()) } else { writeln!(out, "{TO_BE_HEARD_FROM}") }
}

async fn clients(installation: &Installation) -> anyhow::Result<Vec<Client>> {
    let mut conn = installation.pool.acquire().await?;
    Ok(kept_secret::maybe_of_an_older_secret(&mut conn, &installation.keyring).await?)
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
