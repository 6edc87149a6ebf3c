//! `--launch`: the server is waited for, and gone afterwards, whatever happened.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::{fs, path::Path, time::Duration};

use breakeven_bench::{
    launch::{LaunchError, Server},
    target::http::{Client, Endpoint},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

fn client(port: u16) -> Client {
    Client::new(Endpoint::parse(&format!("http://127.0.0.1:{port}/v1")).unwrap(), None).unwrap()
}

/// Whether a process is there; one that has ended but is not waited for is not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn eventually(path: &Path) -> String {
    for _ in 0..500 {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("{} was never written", path.display());
}

#[tokio::test]
async fn a_server_and_its_children_are_stopped_when_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    // A child in the background that ignores SIGTERM, as stubborn as they come.
    let command = format!("(trap '' TERM; sh -c 'echo $PPID' > {}; sleep 600) & wait", pid.display());
    let server = Server::start(&command, folder.path().join("server.log")).unwrap();
    let (shell, child) = (server.id().to_string(), eventually(&pid));
    assert!(runs(&shell) && runs(&child));
    drop(server);
    for _ in 0..100 {
        if !runs(&child) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!runs(&shell) && !runs(&child));
}

#[tokio::test]
async fn a_server_that_ends_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("logs/server.log");
    let mut server =
        Server::start("echo loading; echo \"no such model, key [$BREAKEVEN_API_KEY]\" >&2; exit 3", log)
            .unwrap();
    let ended = server.wait_until_healthy(&client(1), Duration::from_secs(20)).await.unwrap_err();
    assert!(matches!(ended, LaunchError::Ended { .. }));
    let text = ended.to_string();
    assert!(text.contains("exit status: 3") && text.contains("  loading\n  no such model, key []"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_ready_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in ["503 Loading\r\nContent-Length: 0", "200 OK\r\nContent-Length: 24"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let answer =
                format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n{{\"data\":[{{\"id\":\"smol\"}}]}}");
            let cut = if answer.contains("503") { answer.find('{').unwrap() } else { answer.len() };
            stream.write_all(&answer.as_bytes()[..cut]).await.unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let mut server = Server::start("exec sleep 600", log.clone()).unwrap();
    server.wait_until_healthy(&client(port), Duration::from_secs(20)).await.unwrap();
    drop(server);
    let mut silent = Server::start("echo up; exec sleep 600", log).unwrap();
    let late =
        silent.wait_until_healthy(&client(1), Duration::from_millis(300)).await.unwrap_err().to_string();
    assert!(late.contains("connecting to 127.0.0.1:1") && late.contains("  up"), "{late}");
}
