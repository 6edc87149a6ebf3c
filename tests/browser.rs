//! Debian's Chromium drives the HTML report and the local page: charts drawn, a slider changes the decision, explain opens, no error
//! on the console, nothing asked of another machine.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator, wd::WebDriverCompatibleCommand};
use serde_json::{Value, json};
use support::{breakeven, shown};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/measurement-1.json");

/// A child that does not outlive its test, nor do its own children: a test that fails leaves no browser behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Each is the leader of a process group of its own.
        drop(
            Command::new("kill")
                .args(["-KILL", "--", &format!("-{}", self.0.id())])
                .stderr(Stdio::null())
                .status(),
        );
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A browser of a width, with an empty profile, and the driver that it hangs on.
struct Browser {
    client: Client,
    _driver: Running,
    _profile: tempfile::TempDir,
}

/// The browser's log of a kind.
#[derive(Debug)]
struct Log(&'static str);

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": self.0 }).to_string()))
    }
}

impl Browser {
    async fn open(width: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Chromium drives the pages: install it with `apt-get install --no-install-recommends chromium chromium-driver`");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let driver = Running(driver);
        let port = lines
            .find_map(|line| {
                Some(
                    line.unwrap()
                        .rsplit_once("started successfully on port ")?
                        .1
                        .trim_end_matches('.')
                        .to_owned(),
                )
            })
            .expect("chromedriver tells its port");
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object") };
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        // A headless window is no narrower than 500 pixels; the device's own width is what a phone has.
        let metrics = json!({
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": { "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 },
        });
        client.issue_cmd(Cdp(metrics)).await.unwrap();
        Self { client, _driver: driver, _profile: profile }
    }

    async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until a script says so.
    async fn until(&self, script: &str) {
        for _ in 0..400 {
            if self.run(&format!("return !!({script})")).await == Value::Bool(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never: {script}");
    }

    /// A picture of the whole page, kept where the build keeps its files, for people to look at.
    async fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), self.client.screenshot().await.unwrap()).unwrap();
    }

    /// Nothing wrong on the console, and nothing asked of another machine.
    async fn is_clean(&self, allowed: &str) {
        let console = self.client.issue_cmd(Log("browser")).await.unwrap();
        let wrong: Vec<&Value> = console
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry.get("level").is_some_and(|level| level == "SEVERE" || level == "WARNING"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let network = self.client.issue_cmd(Log("performance")).await.unwrap();
        let mut asked = 0;
        for entry in network.as_array().unwrap() {
            let message: Value =
                serde_json::from_str(entry.get("message").and_then(Value::as_str).unwrap()).unwrap();
            if message.pointer("/message/method").is_some_and(|method| method == "Network.requestWillBeSent")
            {
                let url = message.pointer("/message/params/request/url").and_then(Value::as_str).unwrap();
                assert!(
                    url.starts_with(allowed)
                        || ["data:", "about:", "chrome://"].iter().any(|ours| url.starts_with(ours)),
                    "{url}"
                );
                asked += 1;
            }
        }
        assert!(asked > 0, "the network log is on");
    }

    async fn close(self) {
        self.client.close().await.unwrap();
    }
}

/// A command of the browser's own protocol.
#[derive(Debug)]
struct Cdp(Value);

impl WebDriverCompatibleCommand for Cdp {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.0.to_string()))
    }
}

/// `breakeven ui` on a free port.
fn ui(folder: &Path) -> (Running, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_breakeven"))
        .args(["ui", "examples/support-bot.toml", "--measurement", FIXTURE, "--listen", "127.0.0.1:0"])
        .args(["--as-of", "2026-11-23", "--out", folder.to_str().unwrap()])
        .process_group(0)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let running = Running(child);
    let address = lines
        .find_map(|line| Some(line.unwrap().strip_prefix("Open ")?.split(';').next()?.to_owned()))
        .expect("the page tells its address");
    // Whatever it says later must not block it.
    std::thread::spawn(move || lines.for_each(drop));
    (running, address)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn the_report_reads_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, page) = (folder.path().join("plan.json"), folder.path().join("report.html"));
    let hostile = fs::read_to_string("examples/support-bot.toml").unwrap().replacen(
        "name = \"Support bot\"",
        "name = \"<script>document.title='gone'</script><img src=x onerror=alert(1)>\"",
        1,
    );
    let product = folder.path().join("bot.toml");
    fs::write(&product, hostile).unwrap();
    let made = breakeven(&[
        "plan",
        product.to_str().unwrap(),
        "--measurement",
        FIXTURE,
        "--as-of",
        "2026-11-23",
        "--out",
        plan.to_str().unwrap(),
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    let made = breakeven(&["report", plan.to_str().unwrap(), "--html", page.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    runtime().block_on(async {
        for width in [1280, 390] {
            let browser = Browser::open(width).await;
            browser.client.goto(&format!("file://{}", page.display())).await.unwrap();
            // Charts: drawn, and as wide as something.
            let charts = browser
                .run("return [...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect().width > 100 && s.querySelectorAll('polyline,circle,rect,path').length > 5)")
                .await;
            let charts = charts.as_array().unwrap().clone();
            assert!(charts.len() >= 3 && charts.iter().all(|drawn| *drawn == Value::Bool(true)), "{charts:?}");
            // The page itself never scrolls sideways; wide tables do, in their own boxes.
            let overflow = browser.run("return document.documentElement.scrollWidth - window.innerWidth").await;
            assert!(overflow.as_i64().unwrap() <= 0, "{overflow} px too wide at {width}");
            // Explain, by keyboard: the tree under a number opens.
            let why = browser.client.find(Locator::Css("details.why summary")).await.unwrap();
            browser.run("document.querySelector('details.why summary').focus()").await;
            why.send_keys("\u{e007}").await.unwrap();
            browser.until("document.querySelector('details.why[open] li')").await;
            assert!(browser.run("return document.title").await.as_str().unwrap().contains("<script>"), "text stays text");
            browser.picture(&format!("report-{width}")).await;
            browser.run("document.querySelector('#charts').scrollIntoView()").await;
            browser.picture(&format!("report-charts-{width}")).await;
            browser.is_clean("file://").await;
            browser.close().await;
        }
    });
}

#[test]
fn a_slider_changes_the_decision() {
    let folder = tempfile::tempdir().unwrap();
    let (_ui, address) = ui(folder.path());
    runtime().block_on(async {
        for width in [1280, 390] {
            let browser = Browser::open(width).await;
            browser.client.goto(&address).await.unwrap();
            let answer = "document.querySelector('.answer').textContent";
            let before = browser.run(&format!("return {answer}")).await.as_str().unwrap().to_owned();
            assert!(before.starts_with("novita/"), "{before}");
            browser.picture(&format!("ui-{width}")).await;
            // Engineers and prompts cost nothing here: at more volume and a cheap machine, self-host wins.
            let set = |path: &str, value: f64| {
                format!(
                    "const n = document.getElementById('n-{path}'); n.value = {value}; n.dispatchEvent(new Event('input', {{ bubbles: true }}));"
                )
            };
            browser.run(&set("fleet.usd_per_hour", 0.001)).await;
            browser.run(&set("cost.1.usd_per_month", 0.0)).await;
            let slider = "document.querySelector('[data-path=\"traffic.requests_per_month\"] input[type=range]')";
            browser
                .run(&format!("const r = {slider}; r.value = 820; r.dispatchEvent(new Event('input', {{ bubbles: true }}));"))
                .await;
            browser.until(&format!("{answer}.startsWith('self-host')")).await;
            browser.until("document.body.dataset.milliseconds").await;
            let charts = browser.run("return document.querySelectorAll('#report figure svg').length").await;
            assert!(charts.as_u64().unwrap() >= 3, "{charts}");
            browser.picture(&format!("ui-changed-{width}")).await;
            // The link holds the assumptions: another visit answers the same, without a script's help.
            let link = browser.run("return document.getElementById('share').value").await;
            let link = link.as_str().unwrap().to_owned();
            assert!(link.contains("traffic.requests_per_month="), "{link}");
            browser.client.goto(&link).await.unwrap();
            browser.until(&format!("{answer}.startsWith('self-host')")).await;
            // Nonsense is said, and the last good plan stays.
            browser.run(&set("success.probability", 1.5)).await;
            browser.until("document.getElementById('problem').textContent.includes('from 0 to 1')").await;
            let overflow = browser.run("return document.documentElement.scrollWidth - window.innerWidth").await;
            assert!(overflow.as_i64().unwrap() <= 0, "{overflow} px too wide at {width}");
            browser.close().await;
        }
    });
}

#[test]
fn the_page_is_clean_and_explains() {
    let folder = tempfile::tempdir().unwrap();
    let (_ui, address) = ui(folder.path());
    runtime().block_on(async {
        let browser = Browser::open(1280).await;
        browser.client.goto(&address).await.unwrap();
        browser.client.find(Locator::Css("details.why summary")).await.unwrap().click().await.unwrap();
        browser.until("document.querySelector('details.why[open] li')").await;
        browser.is_clean(&address).await;
        browser.close().await;
    });
}

/// The answer to a request as written, status line first.
fn answer(address: &str, request: &str) -> String {
    let host = address.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(request.replace("HOST", host).as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn the_page_refuses_strangers_and_exports_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let (_ui, address) = ui(folder.path());
    let get = |path: &str, more: &str| {
        answer(&address, &format!("GET {path} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n{more}\r\n"))
    };
    assert!(get("/", "").starts_with("HTTP/1.1 200"));
    assert!(get("/", "Origin: http://evil.example\r\n").starts_with("HTTP/1.1 403"));
    let foreign = answer(&address, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
    let form = answer(
        &address,
        "POST /api/bench/start HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"quick\":true}",
    );
    assert!(form.starts_with("HTTP/1.1 403"), "a form of another site starts nothing: {form}");
    for (path, begins) in [
        ("/export/product.toml?traffic.requests_per_month=2000000", "# A customer-support bot"),
        ("/export/plan.json", "{\n  \"format\": \"breakeven.plan/1\""),
        ("/export/report.html", "<!doctype html>"),
        ("/export/report.md", "# Support bot"),
        ("/export/report.xlsx", "PK"),
        ("/export/focus.csv", "BilledCost,"),
    ] {
        let text = get(path, "");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && body.starts_with(begins), "{path}: {head}");
        if path.contains("product") {
            assert!(body.contains("requests_per_month = 2000000\n"), "{body}");
        }
    }
    assert!(get("/export/passwords", "").starts_with("HTTP/1.1 404"));
    assert!(get("/api/report?nothing.here=1", "").starts_with("HTTP/1.1 422"));
}
