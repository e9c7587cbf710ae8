// The preview page: reads a dashboard's JSON, asks the server for each panel's answer, and draws it again and again.
// Only the four panel types of our dashboards are known here; draw.js draws them.

import { draw, useZone } from "./draw.js";

const board = document.getElementById("board");
const range = document.getElementById("range");
const choices = document.getElementById("choices");
let dashboard, kind, timer;
let turn = 0;

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${answer.status} for ${path}`);
  return answer.json();
}

function query(points) {
  const values = new URLSearchParams({ from: range.value, to: "now", points: String(points) });
  for (const select of choices.querySelectorAll("select")) if (select.value) values.append(`var-${select.name}`, select.value);
  return values;
}

async function start() {
  const nav = document.querySelector("nav");
  for (const each of await ask("api/dashboards")) {
    const link = document.createElement("a");
    link.href = `#${each.kind}`;
    link.textContent = each.kind[0].toUpperCase() + each.kind.slice(1);
    link.title = each.title;
    nav.append(link);
  }
  addEventListener("hashchange", open);
  range.addEventListener("change", refresh);
  await open();
}

async function open() {
  const known = [...document.querySelectorAll("nav a")].map((link) => link.hash.slice(1));
  kind = known.includes(location.hash.slice(1)) ? location.hash.slice(1) : "overview";
  dashboard = await ask(`api/dashboards/${kind}`);
  document.title = dashboard.title;
  const zone = dashboard.timezone === "utc" ? "UTC" : dashboard.timezone;
  useZone(zone);
  document.getElementById("zone").textContent = zone;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${kind}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const narrow = { "now-7d": "now-1h", "now-24h": "now-1h" }; // a demo has run for minutes
  choose(new URLSearchParams(location.search).get("from") ?? narrow[dashboard.time.from] ?? dashboard.time.from);
  choices.replaceChildren();
  for (const variable of dashboard.templating.list) if (["custom", "query"].includes(variable.type)) await addChoice(variable);
  board.replaceChildren(...dashboard.panels.map(frame));
  await refresh();
}

function choose(span) {
  if (![...range.options].some((each) => each.value === span)) range.add(new Option(span.replace("now-", ""), span));
  range.value = span;
}

async function addChoice(variable) {
  const select = document.createElement("select");
  select.name = variable.name;
  const add = (text, value) => select.append(new Option(text, value));
  if (variable.type === "custom") variable.options.forEach((option) => add(option.text, option.value));
  else {
    if (variable.includeAll) add("All", "$__all");
    const found = await ask(`api/options/${kind}/${variable.name}?${query(100)}`);
    found.options.forEach((option) => add(option, option));
  }
  select.addEventListener("change", refresh);
  const label = document.createElement("label");
  label.append(variable.label, select);
  choices.append(label);
}

function frame(panel) {
  const { x, y, w, h } = panel.gridPos;
  const section = document.createElement("section");
  section.dataset.panel = panel.id;
  if (panel.type === "timeseries") section.className = "curve";
  section.style.gridColumn = `${x + 1} / span ${w}`;
  section.style.gridRow = `${y + 1} / span ${h}`;
  const title = document.createElement("h2");
  title.textContent = panel.title;
  title.title = panel.description;
  const content = document.createElement("div");
  content.className = "content";
  section.append(title, content);
  return section;
}

async function refresh() {
  clearTimeout(timer);
  const mine = ++turn;
  await Promise.all(dashboard.panels.map((panel) => show(panel, mine)));
  if (mine !== turn) return;
  document.body.dataset.drawn = kind;
  const seconds = Math.max(5, Math.min(30, parseInt(dashboard.refresh, 10) || 30));
  timer = setTimeout(refresh, seconds * 1000);
}

async function show(panel, mine) {
  const section = board.querySelector(`[data-panel="${panel.id}"]`);
  if (!section) return; // another dashboard was opened meanwhile
  const width = section.clientWidth;
  let answer;
  try {
    answer = await ask(`api/panels/${kind}/${panel.id}?${query(Math.max(40, Math.round(width / 8)))}`);
  } catch (error) {
    answer = { error: `The preview does not answer (${error.message}). Is the demo still running?` };
  }
  if (mine !== turn) return;
  const names = answer.chosen ?? {};
  section.querySelector("h2").textContent = panel.title.replace(/\$\{(\w+)\}/g, (whole, name) => names[name] ?? whole);
  const content = section.querySelector(".content");
  content.replaceChildren(draw(panel, answer, content.clientWidth, content.clientHeight));
}

start();
