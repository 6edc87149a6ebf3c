//! Debian's Chromium drives the HTML report and the local page: charts drawn, a slider changes the decision, explain opens, no error
//! on the console, nothing asked of another machine.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use breakeven_bench::{self_check::serve_beside, target::null::Script};
use fantoccini::{Client, ClientBuilder, Locator, wd::WebDriverCompatibleCommand};
use serde_json::{Value, json};
use support::{binary, breakeven, shown};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/measurement-1.json");

/// Height of a screen.
const HEIGHT: i64 = 900;

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
    width: u32,
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
        let browser = Self { client, width, _driver: driver, _profile: profile };
        // A headless window is no narrower than 500 pixels; the device's own width is what a phone has.
        browser.height(HEIGHT).await;
        browser
    }

    async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until a script says so.
    async fn until(&self, script: &str) {
        self.until_within(Duration::from_secs(10), script).await;
    }

    async fn until_within(&self, longest: Duration, script: &str) {
        let began = std::time::Instant::now();
        while began.elapsed() < longest {
            if self.run(&format!("return !!({script})")).await == Value::Bool(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never: {script}");
    }

    /// The screen's own height, or another; the width stays.
    async fn height(&self, height: i64) {
        let metrics = json!({
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": { "width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": self.width < 500 },
        });
        self.client.issue_cmd(Cdp(metrics)).await.unwrap();
    }

    /// Pictures of the whole page, light and dark, kept where the build keeps its files, for people to look at.
    async fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        let whole = self.run("return document.documentElement.scrollHeight").await.as_i64().unwrap();
        self.height(whole.min(16_000)).await;
        for scheme in ["dark", "light"] {
            let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
            let emulated = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
            self.client.issue_cmd(Cdp(emulated)).await.unwrap();
            let file = folder.join(format!("{name}-{scheme}.png"));
            fs::write(file, self.client.screenshot().await.unwrap()).unwrap();
        }
        self.height(HEIGHT).await;
    }

    /// The page itself never scrolls sideways; wide tables do, in their own boxes.
    async fn is_no_wider_than_the_screen(&self) {
        let overflow = self.run("return document.documentElement.scrollWidth - window.innerWidth").await;
        assert!(overflow.as_i64().unwrap() <= 0, "{overflow} px too wide at {}", self.width);
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
    ui_with(folder, &[])
}

fn ui_with(folder: &Path, more: &[&str]) -> (Running, String) {
    let mut child = Command::new(binary())
        .args(["ui", "examples/support-bot.toml", "--measurement", FIXTURE, "--listen", "127.0.0.1:0"])
        .args(["--as-of", "2026-11-23", "--out", folder.to_str().unwrap()])
        .args(more)
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
            browser.is_no_wider_than_the_screen().await;
            // Explain, by keyboard: the tree under a number opens.
            let why = browser.client.find(Locator::Css("#cost-lines button.why")).await.unwrap();
            browser.run("document.querySelector('#cost-lines button.why').focus()").await;
            why.send_keys("\u{e007}").await.unwrap();
            browser.until("document.querySelector('pre:popover-open')?.textContent.includes('price row')").await;
            browser.picture(&format!("report-why-{width}")).await;
            why.send_keys("\u{e00c}").await.unwrap();
            browser.until("!document.querySelector('pre:popover-open')").await;
            // Every number of every table has its tree; what has none is a word, an absent figure or a zero.
            let bare = browser
                .run("return [...document.querySelectorAll('section:not(#assumptions):not(#charts) td.n')].filter(cell => !cell.querySelector('button.why') && /[0-9]/.test(cell.textContent) && !cell.classList.contains('zero')).map(cell => cell.textContent)")
                .await;
            assert_eq!(bare, json!([]), "numbers without a tree");
            assert!(browser.run("return document.title").await.as_str().unwrap().contains("<script>"), "text stays text");
            browser.picture(&format!("report-{width}")).await;
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
            // At rest the whole plan takes the draft's place, trees and all.
            browser.until("document.body.dataset.draft === 'no' && document.querySelector('#options button.why')").await;
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
            browser.is_no_wider_than_the_screen().await;
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
        browser.client.find(Locator::Css("#options button.why")).await.unwrap().click().await.unwrap();
        browser
            .until("document.querySelector('pre:popover-open')?.textContent.includes('usd_per_month')")
            .await;
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

/// A plan of the support bot against the catalogue's first fifty APIs, and its page.
fn fifty_options(folder: &Path) -> PathBuf {
    let mut product = fs::read_to_string("examples/support-bot.toml").unwrap();
    let had = product.matches("[[api]]").count();
    for price in breakeven_hardware::PriceBook::built_in().unwrap().api.iter().take(50 - had) {
        writeln!(
            product,
            "\n[[api]]\nprovider = \"{}\"\nmodel = \"{}\"\ntokens_ratio = {{ low = 0.9, likely = 1.0, high = 1.2 }}",
            price.provider, price.model
        )
        .unwrap();
    }
    let (file, plan, page) =
        (folder.join("fifty.toml"), folder.join("fifty.json"), folder.join("fifty.html"));
    fs::write(&file, product).unwrap();
    let made = breakeven(&[
        "plan",
        file.to_str().unwrap(),
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
    page
}

#[test]
fn a_plan_of_fifty_options_opens() {
    let folder = tempfile::tempdir().unwrap();
    let page = fifty_options(folder.path());
    let size = fs::metadata(&page).unwrap().len();
    assert!(size < 3_000_000, "{size} bytes");
    runtime().block_on(async {
        for width in [1280, 390] {
            let browser = Browser::open(width).await;
            browser.client.goto(&format!("file://{}", page.display())).await.unwrap();
            let options = browser.run("return document.querySelectorAll('#options tbody tr').length").await;
            assert!(options.as_u64().unwrap() >= 50, "{options}");
            let charts = browser.run("return document.querySelectorAll('figure svg').length").await;
            assert!(charts.as_u64().unwrap() >= 5, "{charts}");
            browser.is_no_wider_than_the_screen().await;
            // For docs/PERFORMANCE.md; no test judges a clock.
            let took = browser
                .run("const n = performance.getEntriesByType('navigation')[0]; const p = performance.getEntriesByName('first-contentful-paint')[0]; return [n.domContentLoadedEventEnd, n.loadEventEnd, p ? p.startTime : -1]")
                .await;
            println!("{width} px, {size} bytes: DOMContentLoaded, load, first paint in ms: {took}");
            browser.picture(&format!("fifty-{width}")).await;
            browser.close().await;
        }
    });
}

#[test]
fn sliders_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (_ui, address) = ui(folder.path());
    runtime().block_on(async {
        let browser = Browser::open(1280).await;
        browser.client.goto(&address).await.unwrap();
        let mut took: Vec<f64> = Vec::new();
        for step in 0..50 {
            browser
                .run(&format!(
                    "delete document.body.dataset.milliseconds; const r = document.querySelector('[data-path=\"traffic.requests_per_month\"] input[type=range]'); r.value = {}; r.dispatchEvent(new Event('input', {{ bubbles: true }}));",
                    300 + step * 9
                ))
                .await;
            browser.until("document.body.dataset.milliseconds").await;
            let shown = browser.run("return document.body.dataset.milliseconds").await;
            took.push(shown.as_str().unwrap().parse().unwrap());
        }
        took.sort_by(f64::total_cmp);
        // For docs/PERFORMANCE.md; no test judges a clock.
        println!("50 slider moves, from the event to the report in the page: p50 {} ms, p95 {} ms, most {} ms", took[24], took[47], took[49]);
        browser.close().await;
    });
}

#[test]
fn a_benchmark_is_started_from_the_page_and_watched_to_its_end() {
    let server = serve_beside(Script {
        ttft: Duration::from_millis(20),
        itl: Duration::from_millis(2),
        tokens: 16,
        stall: None,
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (_ui, address) =
        ui_with(folder.path(), &["--target", &server.base, "--rates", "10,20,30", "--time", "15s"]);
    runtime().block_on(async {
        let browser = Browser::open(1280).await;
        browser.client.goto(&address).await.unwrap();
        browser
            .run("const n = document.getElementById('n-slo.attainment'); n.value = 0.75; n.dispatchEvent(new Event('input', { bubbles: true }));")
            .await;
        browser.until("document.body.dataset.milliseconds").await;
        let second = Browser::open(390).await;
        browser.client.find(Locator::Css("#bench-start")).await.unwrap().click().await.unwrap();
        let log = "document.getElementById('bench-log').textContent";
        browser.until(&format!("{log}.includes('\\n')")).await;
        // A page opened meanwhile follows the same run.
        second.client.goto(&address).await.unwrap();
        browser.until_within(Duration::from_secs(60), &format!("{log}.includes('expected:')")).await;
        browser.until("document.getElementById('bench-progress').value > 0").await;
        browser.picture("ui-bench-1280").await;
        for page in [&browser, &second] {
            // Warm-up, three levels and a busy machine.
            page.until_within(Duration::from_secs(90), &format!("{log}.includes('Finished: ') || {log}.includes('Failed')")).await;
            let said = page.run(&format!("return {log}")).await;
            assert!(said.as_str().unwrap().contains("Finished: run-"), "{said}");
        }
        // The report is that of the new run, and the measurement was made with the page's assumption.
        let run = browser.run(&format!("return {log}.split('Finished: ')[1].trim()")).await;
        let run = run.as_str().unwrap().to_owned();
        assert_eq!(browser.run("return document.getElementById('measurement').value").await, run.as_str());
        browser.until(&format!("document.querySelector('#load').textContent.includes('{run}')")).await;
        let charts = browser.run("return document.querySelectorAll('#report figure svg').length").await;
        assert!(charts.as_u64().unwrap() >= 3, "{charts}");
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let measured: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .filter_map(|path| breakeven_measurement::file::read(&path).ok())
            .collect();
        assert_eq!(measured.len(), 1);
        assert_eq!(measured[0].run_id, run);
        assert!((measured[0].slo.attainment.get() - 0.75).abs() < 1e-12, "{:?}", measured[0].slo);
        browser.is_clean(&address).await;
        second.close().await;
        browser.close().await;
    });
}

#[test]
fn the_page_saves_every_format_from_its_links() {
    let folder = tempfile::tempdir().unwrap();
    let (_ui, address) = ui(folder.path());
    runtime().block_on(async {
        let browser = Browser::open(1280).await;
        browser.client.goto(&address).await.unwrap();
        browser
            .run("const n = document.getElementById('n-traffic.requests_per_month'); n.value = 2000000; n.dispatchEvent(new Event('input', { bubbles: true }));")
            .await;
        browser.until("document.body.dataset.milliseconds").await;
        // What a click saves, fetched as the browser would.
        let saved = browser
            .client
            .execute_async(
                "const done = arguments[0]; Promise.all([...document.querySelectorAll('[data-export]')].map(async (link) => { const answer = await fetch(link.href); const bytes = await answer.arrayBuffer(); return [link.dataset.export, answer.status, answer.headers.get('content-disposition'), bytes.byteLength, new TextDecoder().decode(bytes.slice(0, 400000))]; })).then(done);",
                Vec::new(),
            )
            .await
            .unwrap();
        let saved = saved.as_array().unwrap();
        assert_eq!(saved.len(), 6, "{saved:?}");
        for file in saved {
            let [name, status, kept_as, length, text] = file.as_array().unwrap().as_slice() else { unreachable!() };
            let name = name.as_str().unwrap();
            assert_eq!(status, 200, "{name}");
            assert_eq!(kept_as, &format!("attachment; filename=\"{name}\""));
            assert!(length.as_u64().unwrap() > 500, "{name}: {length} bytes");
            let said = match name {
                "product.toml" => "requests_per_month = 2000000",
                "plan.json" => "\"requests_per_month\": 2000000",
                "report.html" | "report.md" => "2 million requests a month",
                "focus.csv" => ",2000000.0,Requests,",
                _ => "PK",
            };
            assert!(text.as_str().unwrap().contains(said), "{name} does not say {said}");
        }
        browser.close().await;
    });
}
