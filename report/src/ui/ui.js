"use strict";
const $ = (id) => document.getElementById(id);
const fields = [...document.querySelectorAll(".field[data-path]")].map((box) => {
  const [range, number] = box.querySelectorAll("input");
  const { path, opened, low, high, logarithmic } = box.dataset;
  return { box, range, number, path, opened: Number(opened), low: Number(low), high: Number(high), log: logarithmic === "yes" };
});

// A slider's thousand steps, and the number they stand for.
const toNumber = (f, step) => {
  const share = step / 1000;
  const value = f.log ? f.low * (f.high / f.low) ** share : f.low + (f.high - f.low) * share;
  return Number(value.toPrecision(3));
};
const toStep = (f, value) => {
  const share = f.log ? Math.log(value / f.low) / Math.log(f.high / f.low) : (value - f.low) / (f.high - f.low);
  return Math.round(1000 * Math.min(1, Math.max(0, share || 0)));
};
const query = () => {
  const pairs = new URLSearchParams();
  for (const f of fields) if (f.number.value !== "" && Number(f.number.value) !== f.opened) pairs.set(f.path, f.number.value);
  const chosen = $("measurement");
  if (chosen.options.length > 1 && chosen.selectedIndex !== chosen.options.length - 1) pairs.set("measurement", chosen.value);
  return pairs.toString();
};
const links = () => {
  const now = query();
  for (const link of document.querySelectorAll("[data-export]")) link.href = "/export/" + link.dataset.export + (now && "?" + now);
  $("share").value = location.origin + "/" + (now && "?" + now);
  history.replaceState(null, "", "/" + (now && "?" + now));
  for (const f of fields) f.box.classList.toggle("changed", Number(f.number.value) !== f.opened);
};

// On a phone the fields come first: the answer stays in sight above them.
const headline = () => { $("answer").textContent = document.querySelector("#report .answer")?.textContent ?? ""; };
let asking = null;
const ask = async (path) => {
  links();
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  const began = performance.now();
  try {
    const answer = await fetch(path + "?" + query(), { signal: mine.signal });
    if (!answer.ok) {
      $("problem").textContent = await answer.text();
      return;
    }
    const { report, milliseconds } = await answer.json();
    const page = $("report");
    const open = [...page.querySelectorAll("details")].map((d) => d.open);
    page.innerHTML = report;
    const details = page.querySelectorAll("details");
    if (details.length === open.length) details.forEach((d, i) => { d.open = open[i]; });
    $("problem").textContent = "";
    headline();
    const all = performance.now() - began;
    document.body.dataset.milliseconds = all.toFixed(1);
    document.body.dataset.draft = path === "/api/draft" ? "yes" : "no";
    $("status").textContent = "Planned in " + milliseconds.toFixed(0) + " ms, shown in " + all.toFixed(0) + " ms.";
  } catch (error) {
    if (error.name !== "AbortError") $("problem").textContent = "No answer: is breakeven still running?";
  }
};
// While a slider moves, a plan of fewer draws keeps up with it; once it rests, the whole one takes its place.
const REST = 300;
let due = 0;
let rest = 0;
const soon = () => {
  cancelAnimationFrame(due);
  clearTimeout(rest);
  due = requestAnimationFrame(() => ask("/api/draft"));
  rest = setTimeout(() => ask("/api/report"), REST);
};

for (const f of fields) {
  f.range.value = toStep(f, Number(f.number.value));
  f.range.addEventListener("input", () => { f.number.value = toNumber(f, Number(f.range.value)); soon(); });
  f.number.addEventListener("input", () => { f.range.value = toStep(f, Number(f.number.value)); soon(); });
}
$("assumptions").addEventListener("submit", (event) => event.preventDefault());
$("assumptions").addEventListener("reset", (event) => {
  event.preventDefault();
  for (const f of fields) { f.number.value = f.opened; f.range.value = toStep(f, f.opened); }
  soon();
});
$("measurement").addEventListener("change", soon);
$("share").addEventListener("focus", (event) => event.target.select());

const post = (path, body) => fetch(path, {
  method: "POST", headers: { "content-type": "application/json", "x-breakeven": "1" }, body: JSON.stringify(body),
});
const openFile = async (input, body) => {
  const [file] = input.files;
  if (!file) return;
  const answer = await post("/api/open", body(await file.text(), file.name));
  if (answer.ok) location.assign("/"); else $("problem").textContent = await answer.text();
};
$("open-product").addEventListener("change", (event) => openFile(event.target, (product) => ({ product })));
$("open-measurement").addEventListener("change", (event) => openFile(event.target, (measurement, name) => ({ measurement, measurement_name: name })));

const log = (text) => { const box = $("bench-log"); box.textContent += "\n" + text; box.scrollTop = box.scrollHeight; };
const running = (is) => { $("bench-start").disabled = is; $("bench-stop").disabled = !is; };
let watching = null;
const watch = () => new Promise((ready) => {
  watching = new EventSource("/api/bench/events");
  watching.onopen = ready;
  watching.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.event === "line") log(event.text);
    if (event.event === "progress") {
      const bar = $("bench-progress");
      bar.max = Math.max(1, event.scheduled);
      bar.value = event.completed + event.failed;
      const ttft = event.ttft_seconds === null ? "" : ", TTFT " + (event.ttft_seconds * 1000).toFixed(0) + " ms";
      $("status").textContent = event.phase + ": " + (event.completed + event.failed) + " of " + event.scheduled + ", " + event.within_slo + " within the SLO" + ttft;
    }
    if (event.event === "finished") {
      watching.close();
      running(false);
      if (event.error) { log("Failed: " + event.error); return; }
      log("Finished: " + event.run_id);
      const name = new Option(event.run_id, event.run_id, true, true);
      $("measurement").append(name);
      soon();
    }
  };
});
$("bench-start").addEventListener("click", async () => {
  $("bench-log").textContent = "Starting";
  running(true);
  await watch();
  const answer = await post("/api/bench/start?" + query(), { quick: $("quick").checked });
  if (!answer.ok) { running(false); watching.close(); log(await answer.text()); }
});
$("bench-stop").addEventListener("click", () => { log("Stopping"); post("/api/bench/stop", {}); });
// One that was started elsewhere, or before this page was opened anew.
if ($("bench-start").disabled) { $("bench-log").textContent = "A benchmark is running"; running(true); watch(); }
headline();
links();
