//! What ends a run early: Ctrl-C, a request to terminate, a spend cap that is reached.

use std::sync::Arc;

use breakeven_bench::{launch::stop_group, policy::Meter};
use tokio::sync::watch;

use crate::console;

/// Turns true once the spend cap is reached, and on the first Ctrl-C or SIGTERM; a second one ends the program at once, the launched
/// server with it.
pub(crate) fn cancel_on_interrupt(
    server_group: Option<u32>,
    meter: Option<Arc<Meter>>,
) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    let of_meter = sender.clone();
    tokio::spawn(async move {
        if let Some(meter) = meter {
            meter.until_spent().await;
            console::note("Stopping: the spend cap is reached. Finished attempts are kept.");
            of_meter.send_replace(true);
        }
    });
    tokio::spawn(async move {
        if asked_to_end().await {
            console::note("Stopping: finished attempts are kept. Ctrl-C again stops at once.");
            sender.send_replace(true);
            if asked_to_end().await {
                if let Some(group) = server_group {
                    stop_group(group, true);
                }
                std::process::abort();
            }
        }
        std::future::pending::<()>().await;
    });
    receiver
}

/// Waits for Ctrl-C, or for the request to terminate with which a supervisor or Kubernetes ends a program. False where neither can be
/// waited for.
pub(crate) async fn asked_to_end() -> bool {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            interrupt = tokio::signal::ctrl_c() => interrupt.is_ok(),
            _ = terminate.recv() => true,
        };
    }
    tokio::signal::ctrl_c().await.is_ok()
}
