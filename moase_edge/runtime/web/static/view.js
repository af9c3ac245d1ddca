"use strict";

const STATUS_MS = 500;
const RETRY_MS = 1000;
const WAIT_MS = 30000;
const SHOWN = 300; // batches in a chart
const NAMES = {
  snapshots: "states kept as good",
  differs_from_frozen: "unlike the frozen answer",
  updates_deferred: "updates put off",
};

const $ = (id) => document.getElementById(id);
const moments = [];
let latest = 0; // number of the latest batch that is known
let status = null;
let pressed = false;

const charts = [
  new Chart($("chart-latency"), $("t-latency"), [
    { name: "total", colour: "one", of: (m) => m.timings_ms.total ?? null },
    { name: "engine", colour: "two", of: (m) => m.timings_ms.engine ?? null },
    { name: "update", colour: "three", of: (m) => m.timings_ms.update ?? null },
  ]),
  new Chart($("chart-age"), $("t-age"), [{ name: "age", colour: "one", of: (m) => m.age_ms }]),
  new Chart($("chart-entropy"), $("t-entropy"), [{ name: "entropy", colour: "one", of: (m) => m.entropy }]),
  new Chart($("chart-drift"), $("t-drift"), [
    { name: "shift of the features", colour: "one", of: (m) => m.drift.feature_shift ?? null },
    { name: "domain", colour: "two", step: true, of: (m) => m.drift.domain ?? null },
  ]),
];

function text(id, value) {
  if ($(id).textContent !== value) $(id).textContent = value;
}

function percent(value) {
  return value === null || value === undefined ? "" : `${(100 * value).toFixed(1)} %`;
}

function named(label, prediction) {
  if (label !== null) return label;
  return prediction === null ? "–" : `class ${prediction}`;
}

async function ask(path, options = {}) {
  const ended = AbortSignal.timeout(WAIT_MS);
  const answer = await fetch(path, { signal: ended, cache: "no-store", ...options });
  if (answer.status === 401) window.location.assign("/login");
  return answer;
}

// Pictures: the next is asked for when this one is there, so that a slow line gets fewer and none waits.
async function watch() {
  let number = 0;
  for (;;) {
    try {
      const answer = await ask(`/api/v1/picture?after=${number}`);
      if (answer.status === 200) {
        number = Number(answer.headers.get("x-picture"));
        const blob = await answer.blob();
        await show(URL.createObjectURL(blob));
        tell(JSON.parse(answer.headers.get("x-answer")), number);
      } else if (status && status.ended !== null) {
        await pause(RETRY_MS);
      }
    } catch {
      number = 0; // perhaps another run, which counts anew
      await pause(RETRY_MS);
    }
    if (document.hidden) await visible();
  }
}

function show(url) {
  const picture = $("picture");
  const before = picture.src;
  return new Promise((resolve) => {
    picture.onload = picture.onerror = () => {
      picture.hidden = false;
      $("no-picture").hidden = true;
      if (before.startsWith("blob:")) URL.revokeObjectURL(before);
      resolve();
    };
    picture.src = url;
  });
}

function tell(answer, number) {
  $("picture").dataset.number = number;
  $("picture").alt = `frame ${answer.frame}: ${named(answer.label, answer.prediction)}`;
  text("adapted-title", answer.adapted ? "Adapted (answers)" : "Answer (frozen model)");
  side("adapted", named(answer.label, answer.prediction), answer.confidence, true);
  const known = answer.frozen_prediction !== null;
  side("frozen", known ? named(answer.frozen_label, answer.frozen_prediction) : "not asked", answer.frozen_confidence, false);
  text("frame", `frame ${answer.frame}, ${answer.age_ms.toFixed(0)} ms old when answered`);
}

function side(id, label, confidence, used) {
  const part = $(id);
  part.classList.toggle("used", used);
  part.querySelector(".label").textContent = label;
  part.querySelector(".sure").textContent = percent(confidence);
  part.querySelector(".bar span").style.transform = `scaleX(${confidence ?? 0})`;
}

// Status, charts and buttons.
async function follow() {
  for (;;) {
    try {
      status = await (await ask("/api/v1/status")).json();
      await more();
      state();
      alertOf(status.ended !== null ? `The run has ended: ${status.ended}.` : trouble());
    } catch {
      lost();
    }
    await pause(STATUS_MS);
    if (document.hidden) await visible();
  }
}

async function more() {
  if (status.newest !== null && moments.length && status.newest.timestamp_s < moments[0].timestamp_s) {
    moments.length = latest = 0; // another run
  }
  const { results } = await (await ask(`/api/v1/results?after=${latest}&most=${SHOWN}`)).json();
  for (const result of results) {
    const before = moments.length ? moments[moments.length - 1].drift : {};
    moments.push({ ...result, drift: result.update ?? before });
    latest = result.number;
  }
  moments.splice(0, Math.max(moments.length - SHOWN, 0));
  if (results.length) for (const chart of charts) chart.draw(moments);
}

function trouble() {
  if (status.source.trouble !== null) return status.source.trouble;
  return status.phase === "stalled" ? `No frame was answered for ${status.quiet_s.toFixed(0)} s.` : null;
}

function alertOf(words) {
  $("alert").hidden = words === null;
  if (words !== null) text("alert", words);
}

function lost() {
  $("phase").className = "pill lost";
  text("phase", "no connection");
  alertOf("The run does not answer: it has ended, or the network is down.");
}

function state() {
  $("phase").className = `pill ${status.phase}`;
  text("phase", status.phase);
  text("run", [status.artifact, status.engine, `--adapt ${status.adapt}`].filter((part) => part).join(" · "));
  text("learning", learning());
  buttons();
  snapshots();
  list("events", { ...pick(status.counts), ...status.events, ...prefixed("failed: ", status.failures) });
  text("source", `${status.source.name}${status.source.trouble ? ` — ${status.source.trouble}` : ""}`);
  list("source-counts", status.source.counts);
}

function learning() {
  if (status.frozen_since_s !== null) {
    const since = new Date(1000 * status.frozen_since_s).toLocaleTimeString();
    return `The frozen model answers since ${since}.`;
  }
  if (status.held) return "On hold: answers stay adapted, nothing is learned.";
  if (status.adapt === "off") return "The frozen model answers.";
  return status.adapt === "hold" ? "Answers are adapted, nothing is learned." : "Learning.";
}

function buttons() {
  const reasons = new Map();
  for (const button of document.querySelectorAll("button[data-action]")) {
    const { enabled, reason } = status.controls[button.dataset.action];
    // Still focusable, so that the reason can be read with the keyboard too.
    button.setAttribute("aria-disabled", String(!enabled || pressed));
    button.title = reason ?? "";
    button.setAttribute("aria-description", reason ?? "");
    if (reason !== null) reasons.set(reason, [...(reasons.get(reason) ?? []), button.textContent]);
  }
  text("reasons", [...reasons].map(([reason, names]) => `${names.join(", ")}: ${reason}.`).join(" "));
}

function snapshots() {
  const kept = status.snapshots;
  $("snapshots").hidden = kept === null;
  if (kept === null) return;
  const select = $("snapshot");
  const there = [...select.options].slice(1).map((option) => option.value);
  if (there.join() !== kept.names.join()) {
    const chosen = select.value;
    select.replaceChildren(select.options[0], ...kept.names.map((name) => new Option(name, name)));
    select.value = kept.names.includes(chosen) ? chosen : "";
  }
  const failed = kept.failed ? `, ${kept.failed} could not be written` : "";
  text("snapshot-counts", `${kept.names.length} in ${kept.folder}; ${kept.written} written in this run${failed}`);
}

function pick(counts) {
  const shown = { frames: counts.frames, updates: counts.updates };
  for (const name of ["updates_deferred", "differs_from_frozen", "answered_frozen", "unanswered"]) {
    if (counts[name]) shown[name] = counts[name];
  }
  return shown;
}

function prefixed(prefix, counts) {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [prefix + name, count]));
}

function list(id, counts) {
  const entries = Object.entries(counts);
  const parent = $(id);
  if (parent.children.length !== entries.length) parent.replaceChildren(...entries.map(pair));
  entries.forEach(([name, count], index) => {
    const [what, number] = parent.children[index].children;
    what.textContent = NAMES[name] ?? name.replaceAll("_", " ");
    number.textContent = String(count);
  });
}

function pair() {
  const both = document.createElement("div");
  both.append(document.createElement("dt"), document.createElement("dd"));
  return both;
}

async function press(button) {
  const action = button.dataset.action;
  if (button.getAttribute("aria-disabled") === "true") {
    say(button.title || "wait for the one before", true);
    return;
  }
  if (button.dataset.ask && !window.confirm(button.dataset.ask)) return;
  pressed = true;
  say(`${button.textContent} ...`, false);
  try {
    const name = action === "rollback" ? $("snapshot").value : "";
    const answer = await ask(`/api/v1/controls/${action}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(name ? { name } : {}),
    });
    const told = await answer.json();
    say(told.done ?? told.error, !answer.ok);
  } catch {
    say("the run does not answer", true);
  }
  pressed = false;
}

function say(words, failed) {
  text("done", words);
  $("done").classList.toggle("failed", failed);
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function visible() {
  return new Promise((resolve) => {
    const seen = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", seen);
      resolve();
    };
    document.addEventListener("visibilitychange", seen);
    seen();
  });
}

for (const button of document.querySelectorAll("button[data-action]")) {
  button.addEventListener("click", () => press(button));
}
const redraw = () => charts.forEach((chart) => chart.draw(moments));
window.addEventListener("resize", redraw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
watch();
follow();
