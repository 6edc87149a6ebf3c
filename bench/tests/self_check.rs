//! The self-check's own arithmetic, and that it counts what the null server says.

use std::time::Duration;

use breakeven_bench::{
    self_check::{Clocks, Effort, drive_for, http_target, quantile, schedule, self_check, serve_beside},
    target::null::Script,
};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_short_check_fills_every_figure() {
    let check = self_check(Effort::Short).await.unwrap();
    for figure in [
        check.in_process_requests_per_second,
        check.http_requests_per_second,
        check.http_events_per_second,
        check.send_lag_p99_seconds,
        check.stamp_error_p99_seconds,
        check.seconds,
    ] {
        assert!(figure.is_finite() && figure > 0.0, "{check:?}");
    }
    assert!(check.send_lag_p50_seconds <= check.send_lag_p99_seconds);
    assert!(check.stamp_error_p50_seconds <= check.stamp_error_p99_seconds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_stamps_never_precede_the_servers_and_every_request_is_in_both_logs() {
    let server =
        serve_beside(Script { ttft: MS * 5, itl: MS * 2, tokens: 8, stall: Some((MS * 30, MS * 60)) })
            .unwrap();
    let target = http_target(&server.base).unwrap();
    let driven = drive_for(&target, schedule(40, MS * 3, 8), Some(4), None).await;
    // The server writes its record after its last bytes, which the client may have read by then.
    let mut log = server.log.take();
    for _ in 0..1_000 {
        if log.len() >= 40 {
            break;
        }
        tokio::time::sleep(MS * 10).await;
        log.extend(server.log.take());
    }
    assert_eq!((driven.attempts.len(), log.len()), (40, 40));
    let most = driven.attempts.iter().map(|a| {
        driven.attempts.iter().filter(|b| b.sent <= a.sent && a.sent < b.last_token.unwrap()).count()
    });
    assert!(most.max().unwrap() <= 4, "no more in flight than the cap");
    let clocks = Clocks::of(&driven, &log);
    assert_eq!((clocks.ttft.len(), clocks.stamps.len(), clocks.tpot.len()), (40, 80, 40));
    assert!(clocks.stamps.iter().all(|error| *error >= 0.0), "bytes arrive after they leave");
}

#[test]
fn quantiles_are_nearest_rank() {
    let ascending = [1.0, 2.0, 3.0, 4.0];
    let same = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    same(quantile(&ascending, 0.5), 2.0);
    same(quantile(&ascending, 0.99), 4.0);
    same(quantile(&[], 0.5), 0.0);
}
