//! What ends a server: Ctrl-C, or SIGTERM of whoever supervises it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ends with the first signal that asks the process to end. From this call on, and not only once it is awaited, signals
/// end nothing by themselves: call it before saying that the server runs.
pub fn asked_to_stop() -> impl Future<Output = ()> {
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        tokio::select! {
            () = arrival(interrupt) => {}
            () = arrival(terminate) => {}
        }
    }
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
