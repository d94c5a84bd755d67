// Fills the page from /v1/summary every few seconds; text goes in as text, never as markup.
"use strict";

const STAGES = ["offline", "shadow", "canary_5", "canary_25", "canary_50", "canary_75", "full"];
const NAMES = {offline: "offline", shadow: "shadow", canary_5: "5 %", canary_25: "25 %", canary_50: "50 %", canary_75: "75 %", full: "100 %"};
const CONDITIONS = {p99_ms: "p99, ms", errors: "without answer"};
const SHARES = new Set(["accuracy", "agreement", "errors", "saved", "gain", "regression", "drop"]);
const EVERY_MS = 3000;

const at = (id) => document.getElementById(id);
const share = (value, digits = 1) => (value == null ? "–" : (100 * value).toFixed(digits) + " %");
const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(1) + " %";
const count = (value) => value.toLocaleString("en");
const ms = (value) => (value == null ? "–" : value < 10 ? value.toFixed(2) : value.toFixed(0)) ;
const when = (seconds) => new Date(1000 * seconds).toLocaleString();

function make(tag, attributes, ...children) {
  const one = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) if (value != null) one.setAttribute(name, value);
  one.append(...children.filter((child) => child != null));
  return one;
}

function since(seconds) {
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [length, name] = units.find(([length]) => seconds >= length) || [1, "second"];
  const number = Math.floor(seconds / length);
  return `${number} ${name}${number === 1 ? "" : "s"}`;
}

function figure(name, value) {
  if (value == null) return "?";
  if (SHARES.has(name)) return share(value, 2);
  return Number.isInteger(value) ? count(value) : value < 10 ? value.toFixed(2) : value.toFixed(0);
}

function stages(shown) {
  const standings = shown.standings || [];
  if (!standings.length) return [make("p", {class: "none"}, shown.candidate ? "No stage yet." : "No candidate.")];
  const back = new Set((shown.transitions || []).filter((one) => one.target === "offline").map((one) => one.region));
  return standings.map((one) => {
    const place = STAGES.indexOf(one.stage);
    const track = STAGES.map((stage, number) => make("li", {
      class: [number < place ? "past" : "", number === 0 && back.has(one.region) ? "back" : ""].join(" ").trim() || null,
      "aria-current": number === place ? "step" : null,
    }, NAMES[stage]));
    const conditions = (one.conditions || []).map((each) => make("li", {class: each.met ? "met" : null},
      `${each.met ? "✓ " : ""}${CONDITIONS[each.name] || each.name.replaceAll("_", " ")} ${figure(each.name, each.value)} of ${figure(each.name, each.limit)}`));
    return make("div", {class: "region"},
      make("h3", {}, one.region === "*" ? "all regions without a stage of their own" : one.region, " ",
        make("small", {}, one.since == null ? "" : `for ${since(Math.max(0, shown.now - one.since))}`)),
      make("ol", {class: "track", "aria-label": "stages"}, ...track),
      conditions.length ? make("ul", {class: "conditions", "aria-label": "what the next stage asks for"}, ...conditions) : null);
  });
}

function tile(name, value, note, mood) {
  return make("div", {}, make("dt", {}, name), make("dd", {class: mood}, make("b", {}, value), make("span", {}, note || "")));
}

function tiles(shown) {
  const accuracy = shown.accuracy || {};
  const gain = shown.gain;
  const failed = shown.asked - shown.answered;
  const words = Object.entries(shown.errors || {}).map(([word, number]) => `${word} ${count(number)}`).join(", ");
  const span = gain && gain.low != null ? `${signed(gain.low)} to ${signed(gain.high)}` : "";
  const mood = !gain || gain.low == null ? null : gain.low > 0 ? "good" : gain.high < 0 ? "bad" : null;
  const best = Object.keys(accuracy).length ? `incumbent ${share(accuracy.incumbent)}` : "no outcome tells";
  return [
    tile("Decisions in the log", count(shown.decisions)),
    tile("Agreement", share(shown.agreement), `of ${count(shown.answered)} answers`),
    tile("Accuracy, a day", share(accuracy.candidate), best),
    tile("Candidate p99", `${ms((shown.candidate_ms || {}).p99)} ms`, `incumbent ${ms((shown.incumbent_ms || {}).p99)} ms`),
    tile("Without answer", shown.asked ? share(failed / shown.asked, 2) : "–", words, failed ? "bad" : null),
    tile("Gain", gain ? signed(gain.pct) : "–", gain ? `${span} · ${count(gain.decisions)} outcomes` : "no outcome tells", mood),
  ];
}

function chart(times, lines, top, label, text) {
  const [width, height, left, bottom] = [480, 190, 46, 22];
  const x = (place) => left + ((width - left - 6) * place) / Math.max(1, times.length - 1);
  const y = (value) => 8 + (height - bottom - 8) * (1 - Math.min(value, top) / top);
  const parts = [];
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(make("svg:line", {class: "grid", x1: left, x2: width - 6, y1: y(top * part), y2: y(top * part)}));
    if (part % 0.5 === 0) parts.push(make("svg:text", {x: left - 6, y: y(top * part) + 4, "text-anchor": "end"}, text(top * part)));
  }
  const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString();
  parts.push(make("svg:text", {x: left, y: height - 4}, clock(times[0])));
  parts.push(make("svg:text", {x: width - 6, y: height - 4, "text-anchor": "end"}, clock(times.at(-1))));
  for (const {values, kind} of lines) {
    let path = "";
    values.forEach((value, place) => {
      if (value != null) path += `${path && values[place - 1] != null ? "L" : "M"}${x(place).toFixed(1)},${y(value).toFixed(1)}`;
    });
    parts.push(make("svg:path", {class: kind, d: path}));
  }
  const legend = lines.map(({name, kind}) => make("span", {class: kind}, name));
  return [make("svg:svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label}, ...parts),
    make("figcaption", {}, ...legend)];
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

function agreement(shown) {
  const curves = shown.curves || {};
  const known = (curves.agreement || []).filter((value) => value != null);
  if (!known.length) return [make("p", {class: "none"}, "The candidate has not answered yet.")];
  const last = `${share(known.at(-1))} in the last of ${curves.time.length} spans`;
  const lines = [{values: curves.agreement, kind: "one", name: "same answer as the incumbent"}];
  return chart(curves.time, lines, 1, `Agreement over time, ${last}`, (value) => share(value, 0));
}

function latency(shown) {
  const curves = shown.curves || {};
  if (!curves.time) return [make("p", {class: "none"}, "No decisions yet.")];
  const lines = [
    ["candidate_p99_ms", "two", "candidate p99"], ["candidate_p50_ms", "two thin", "candidate p50"],
    ["incumbent_p99_ms", "one", "incumbent p99"], ["incumbent_p50_ms", "one thin", "incumbent p50"],
  ].map(([key, kind, name]) => ({values: curves[key], kind, name})).filter((line) => line.values.some((value) => value != null));
  const top = nice(Math.max(0.1, ...lines.flatMap((line) => line.values.map((value) => value ?? 0))));
  return chart(curves.time, lines, top, "Milliseconds of the models over time", (value) => `${+value.toPrecision(2)} ms`);
}

function drift(shown) {
  const known = (shown.drift || []).filter((one) => one.psi != null).slice(0, 8);
  if (!known.length) return [make("p", {class: "none"}, "No decisions yet, or the bundle tells no distribution.")];
  const drifted = shown.drift.filter((one) => one.drifted).length;
  const head = make("tr", {}, ...["feature", "", "PSI", "unseen"].map((name) => make("th", {scope: "col"}, name)));
  const rows = known.map((one) => make("tr", {class: one.drifted ? "drifted" : null},
    make("th", {scope: "row"}, one.feature),
    make("td", {class: "bar"}, make("meter", {min: 0, max: 1, high: 0.25, optimum: 0, value: Math.min(1, one.psi), "aria-label": `PSI of ${one.feature}`})),
    make("td", {}, one.psi.toFixed(2)), make("td", {}, share(one.unseen, 0))));
  return [make("table", {}, make("caption", {}, `${drifted} of ${shown.drift.length} features lie elsewhere than in training (PSI from 0.25, or KS from 0.2)`),
    make("thead", {}, head), make("tbody", {}, ...rows))];
}

function steps(shown) {
  const found = [...(shown.transitions || [])].reverse();
  if (!found.length) return [make("li", {class: "none"}, "None yet.")];
  return found.map((one) => make("li", {},
    make("b", {}, `${NAMES[one.source] || one.source} → ${NAMES[one.target] || one.target}`),
    one.region === "*" ? "" : ` ${one.region}`, ` · ${one.by} · `,
    make("time", {datetime: new Date(1000 * one.time).toISOString()}, when(one.time)), make("p", {}, one.why)));
}

function say(text, mood) {
  if (at("status").textContent !== text) at("status").textContent = text;
  at("status").className = mood;
}

function show(shown) {
  const model = (role) => (shown[role] ? [make("b", {}, shown[role].name), ` ${shown[role].version.slice(0, 8)}`] : ["–"]);
  at("models").replaceChildren("incumbent ", ...model("incumbent"), " · candidate ", ...model("candidate"));
  at("rows").textContent = shown.rows ? `the last ${count(shown.rows)}` : "";
  at("stages").replaceChildren(...stages(shown));
  if (shown.time == null) return say("no figures yet", "");
  at("tiles").replaceChildren(...tiles(shown));
  at("agreement").replaceChildren(...agreement(shown));
  at("latency").replaceChildren(...latency(shown));
  at("drift").replaceChildren(...drift(shown));
  at("steps").replaceChildren(...steps(shown));
  const age = shown.now - shown.time;
  if (age > 60) return say(`figures are ${since(age)} old`, "bad");
  const asked = Object.values(shown.stages || {}).some((stage) => stage !== "offline");
  if (shown.candidate && !asked) return say("candidate is offline", "");
  say({ready: "candidate answers", starting: "candidate starts", circuit: "candidate is not asked: circuit open"}[shown.state] || "no candidate",
    shown.state === "circuit" ? "bad" : "good");
}

async function look() {
  const token = sessionStorage.getItem("token");
  try {
    const answer = await fetch("v1/summary", {headers: token ? {authorization: `Bearer ${token}`} : {}, cache: "no-store"});
    at("entry").hidden = answer.status !== 401;
    if (answer.status === 401) say("a token is needed", "bad");
    else if (!answer.ok) say(`the service says ${answer.status}`, "bad");
    else show(await answer.json());
  } catch (error) {
    say("the service does not answer", "bad");
  }
}

at("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("token").value);
  at("token").value = "";
  look();
});
look();
setInterval(() => document.hidden || look(), EVERY_MS);
