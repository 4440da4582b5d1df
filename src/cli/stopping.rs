//! What ends a server: Ctrl-C, or SIGTERM of whoever supervises it.

use tokio::signal::unix::{SignalKind, signal};

/// Ends with the first signal that asks the process to end.
pub async fn asked_to_stop() {
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
