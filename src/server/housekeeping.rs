//! What has to be tidied up now and then, in small batches, whichever node comes first.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::attempts;
use crate::browser;
use crate::budget;
use crate::device::expiry;
use crate::installation::Installation;
use crate::notice::{delivery, outbox};
use crate::upstream::round_trip;

/// How often to look.
const EVERY: Duration = Duration::from_secs(20);

/// Tidies up until `stop`.
pub async fn watch(installation: Installation, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = tidy_up(&installation).await {
            tracing::warn!(%error, "tidying up has to wait");
        }
    }
}

/// Notes what expired, and deletes what is over in browsers, has been told, or is forgotten of budgets and wrong tries.
pub async fn tidy_up(installation: &Installation) -> Result<(), sqlx::Error> {
    while expiry::note(installation).await? == expiry::BATCH {}
    let now = installation.clock.now();
    let mut conn = installation.pool.acquire().await?;
    round_trip::sweep(&mut conn, now).await?;
    browser::store::sweep(&mut conn, now).await?;
    while delivery::give_up(&mut conn, installation).await? == outbox::BATCH {}
    while outbox::sweep(&mut conn, now).await? == outbox::BATCH {}
    while attempts::sweep(&mut conn, now).await? == attempts::BATCH {}
    budget::sweep(&mut conn, now).await
}
