//! `breakeven bench --self-check`, and the short check before every measurement.

use anyhow::Result;
use breakeven_bench::self_check::{Effort, self_check};
use breakeven_measurement::SelfCheck;
use tokio::runtime::Runtime;

use crate::console::{self, Answer};

/// The full check, printed.
pub(crate) fn print(runtime: &Runtime) -> Result<Answer> {
    console::note("Driving the null targets, about 10 s…");
    let check = runtime.block_on(self_check(Effort::Full))?;
    console::print(&text(&check))?;
    Ok(Answer::Yes)
}

/// The short check. A machine that cannot make it is measured all the same, and says so.
pub(crate) async fn quietly() -> Option<SelfCheck> {
    match self_check(Effort::Short).await {
        Ok(check) => Some(check),
        Err(error) => {
            console::note(&format!("No self-check: {error}"));
            None
        }
    }
}

fn text(check: &SelfCheck) -> String {
    let microseconds = |seconds: f64| format!("{:.0} µs", seconds * 1e6);
    format!(
        "The load generator on this machine (server and client share its cores)\n\
         in process, {} in flight           {:>10.0} requests/s\n\
         HTTP over loopback, {} in flight   {:>10.0} requests/s, {:.0} streamed events/s ({} an answer)\n\
         send lag at {:.0} requests/s         p50 {}, p99 {}\n\
         stamp error, first and last token  p50 {}, p99 {}\n\
         TPOT error                         p99 {}\n\
         A target that needs more than half of these rates is limited by the generator: spread the load with --shard.",
        check.concurrency,
        check.in_process_requests_per_second,
        check.concurrency,
        check.http_requests_per_second,
        check.http_events_per_second,
        check.tokens_per_answer,
        check.paced_requests_per_second,
        microseconds(check.send_lag_p50_seconds),
        microseconds(check.send_lag_p99_seconds),
        microseconds(check.stamp_error_p50_seconds),
        microseconds(check.stamp_error_p99_seconds),
        microseconds(check.tpot_error_p99_seconds),
    )
}
