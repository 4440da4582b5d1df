//! What ends a server: Ctrl-C, SIGTERM of whoever supervises it, or the end of the PostgreSQL that runs for it.

use std::process::ExitCode;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

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

/// Waits for what ends the server first.
pub async fn end_of(postgres: Option<&mut Managed>) -> End {
    let Some(postgres) = postgres else {
        asked_to_stop().await;
        return End::Asked;
    };
    tokio::select! {
        () = asked_to_stop() => End::Asked,
        _ended = postgres.ended() => End::WithoutDatabase,
    }
}

/// Ends with the first signal that asks the process to end.
async fn asked_to_stop() {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM can't be listened for");
            return wait_for_ctrl_c().await;
        }
    };
    tokio::select! {
        () = wait_for_ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn wait_for_ctrl_c() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "Ctrl-C can't be listened for");
        std::future::pending::<()>().await;
    }
}
