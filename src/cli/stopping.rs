//! What ends a server: Ctrl-C, SIGTERM of whoever supervises it, or the end of the PostgreSQL that runs for it.

use std::io;
use std::process::ExitCode;

use anyhow::bail;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::postgres::managed::Managed;

/// Why a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Asked,
    /// Its PostgreSQL ended without having been asked to. Whoever supervises the server starts both anew.
    WithoutDatabase,
}

impl End {
    /// What the command says of it.
    pub fn into_code(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Asked => Ok(ExitCode::SUCCESS),
            Self::WithoutDatabase => bail!("PostgreSQL ended by itself; postgres.log in the data directory says why"),
        }
    }
}

/// What ends the server first. From this call on, and not only once it is awaited, signals end nothing by themselves: call
/// it before saying that the server runs.
pub fn end_of(postgres: Option<&mut Managed>) -> impl Future<Output = End> {
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        tokio::select! {
            () = arrival(interrupt) => End::Asked,
            () = arrival(terminate) => End::Asked,
            () = ended(postgres) => End::WithoutDatabase,
        }
    }
}

/// Ends with the first signal that asks the process to end.
pub async fn asked_to_stop() {
    end_of(None).await;
}

/// Ends the process when it is asked a second time, in the middle of whatever it still does. Call it after the first time.
/// PostgreSQL, where it is ours, ends by itself: a guardian watches this process.
pub fn end_at_once_when_asked_again() {
    let again = end_of(None);
    tokio::spawn(async move {
        again.await;
        tracing::warn!("asked to end a second time: what is under way is cut off");
        std::process::exit(1);
    });
}

async fn arrival(signal: io::Result<Signal>) {
    match signal {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "a signal can't be listened for");
            std::future::pending::<()>().await;
        }
    }
}

async fn ended(postgres: Option<&mut Managed>) {
    match postgres {
        Some(postgres) => drop(postgres.ended().await),
        None => std::future::pending().await,
    }
}
