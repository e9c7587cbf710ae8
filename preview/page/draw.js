// Draws one panel's answer: a number, curves or bars over time, bars of a ranking, or a table.

const SVG = "http://www.w3.org/2000/svg";
const PALETTE = ["#5794F2", "#73BF69", "#FFB357", "#B877D9", "#F2495C", "#8E99A8"];
const QUIET = "#8E99A8";

let clockOfZone;

/** From now on times are shown in this zone, as 2026-11-28 17:05:09. */
export function useZone(timeZone) {
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "medium" });
  clockOfZone = (time) => format.format(time);
}

export function draw(panel, answer, width, height) {
  const empty = panel.fieldConfig.defaults.noValue;
  if (answer.error) return words(answer.error, "error");
  const tables = answer.tables.filter((table) => table.length && table[0].values.length);
  if (!tables.length) return words(empty);
  switch (panel.type) {
    case "stat": return number(panel, tables[0]);
    case "bargauge": return bars(panel, tables[0]);
    case "timeseries": return curves(panel, tables, answer, width, height);
    case "table": return rows(panel, tables[0]);
    default: return words(`The preview does not know panels of type ${panel.type}.`, "error");
  }
}

export function format(value, unit, decimals) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  switch (unit) {
    case "percentunit": return `${(value * 100).toFixed(decimals ?? 1)}%`;
    case "dthms": return clock(value);
    case "locale": return value.toLocaleString("en", { maximumFractionDigits: decimals ?? 2 });
    case "suffix:s": case "suffix:ms": return `${decimals === 0 ? Math.round(value) : short(value)} ${unit.slice(7)}`;
    case "none": return value.toFixed(decimals ?? 0);
    case "cps": return `${short(value)}/s`;
    case "dateTimeAsIso": return clockOfZone(value);
    case "time:YYYY-MM-DD": return clockOfZone(value).slice(0, 10);
    default: return decimals === undefined ? short(value) : value.toFixed(decimals);
  }
}

function clock(seconds) {
  const whole = Math.round(seconds);
  return [whole / 3600, (whole / 60) % 60, whole % 60].map((part) => String(Math.floor(part)).padStart(2, "0")).join(":");
}

function short(value) {
  for (const [size, sign] of [[1e9, " B"], [1e6, " M"], [1e3, " K"]]) if (Math.abs(value) >= size) return `${+(value / size).toFixed(2)}${sign}`;
  return String(+value.toFixed(2));
}

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

function words(text, more = "") { return make("div", `words ${more}`, text); }

function colourOf(panel) {
  const { color, thresholds } = panel.fieldConfig.defaults;
  return color?.mode === "fixed" ? color.fixedColor : thresholds?.steps?.[0]?.color ?? PALETTE[0];
}

function overrides(panel, name) {
  const found = {};
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    if (matcher.id === "byName" && matcher.options === name) for (const { id, value } of properties) found[id] = value;
  }
  return found;
}

function number(panel, table) {
  const { unit, decimals } = panel.fieldConfig.defaults;
  const value = table.find((column) => column.kind === "number")?.values.at(-1) ?? null;
  if (value === null) return words(panel.fieldConfig.defaults.noValue);
  const shown = make("div", "number", format(value, unit, decimals));
  shown.style.color = colourOf(panel);
  return shown;
}

function track(share, colour) {
  const bar = make("i");
  bar.style.cssText = `width:${Math.max(0, Math.min(1, share)) * 100}%;background:${colour};border-color:${colour}`;
  return make("div", "track", bar);
}

function bars(panel, table) {
  const names = table.find((column) => column.kind === "text");
  const values = table.find((column) => column.kind === "number")?.values ?? [];
  const top = Math.max(...values, 0) || 1;
  const { unit, decimals, mappings } = panel.fieldConfig.defaults;
  const known = mappings?.find((each) => each.type === "value")?.options ?? {};
  return make("div", "", ...values.map((value, place) =>
    make("div", "bar", make("b", "", known[names.values[place]]?.text ?? names.values[place]), track(value / top, colourOf(panel)), make("span", "", format(value, unit, decimals)))));
}

function rows(panel, table) {
  const order = panel.transformations?.find((each) => each.id === "organize")?.options.indexByName;
  const columns = order ? Object.keys(order).map((name) => table.find((column) => column.name === name)).filter(Boolean) : table;
  const looks = columns.map((column) => overrides(panel, column.name));
  const body = make("tbody");
  for (let place = 0; place < columns[0].values.length; place++) {
    const row = make("tr");
    columns.forEach((column, index) => row.append(cell(column, place, looks[index])));
    body.append(row);
  }
  const drawn = make("table", "", body);
  if (panel.options.showHeader !== false) {
    const head = columns.map((column, index) => make("th", column.kind === "number" ? "right" : "", looks[index].displayName ?? column.name));
    drawn.prepend(make("thead", "", make("tr", "", ...head)));
  }
  return drawn;
}

function cell(column, place, look) {
  const value = column.values[place];
  const unit = look.unit ?? (column.kind === "time" ? "dateTimeAsIso" : "locale");
  const absent = look.mappings?.[0]?.options.result.text ?? look.noValue ?? "–";
  const named = look.mappings?.find((each) => each.type === "range" && value !== null && value >= each.options.from);
  const text = value === null ? absent : named?.options.result.text ?? format(value, unit, look.decimals);
  const made = make("td", column.kind === "number" ? "right" : "");
  if (look["custom.cellOptions"]?.type === "gauge" && value !== null) {
    made.append(track(value / (look.max ?? (Math.max(...column.values) || 1)), look.color?.fixedColor ?? PALETTE[0]));
  }
  if (look["custom.cellOptions"]?.type === "color-text") {
    const step = look.thresholds.steps.filter((each) => each.value === null || value >= each.value).at(-1);
    made.style.color = value === null ? QUIET : step.color;
  }
  made.append(make("span", "", text));
  return made;
}

function curves(panel, tables, answer, width, height) {
  const series = [];
  for (const table of tables) {
    const times = table.find((column) => column.kind === "time").values;
    for (const column of table.filter((each) => each.kind === "number")) {
      series.push({ name: column.name, points: times.map((time, place) => [time, column.values[place] ?? 0]) });
    }
  }
  series.forEach((each, place) => {
    each.colour = overrides(panel, each.name).color?.fixedColor ?? (series.length === 1 ? colourOf(panel) : PALETTE[place % PALETTE.length]);
  });
  const custom = panel.fieldConfig.defaults.custom ?? {};
  const own = panel.timeFrom ? answer.to - durationMs(panel.timeFrom) : answer.from;
  const box = make("div", "chart");
  const under = series.length > 1 ? 20 * Math.ceil((series.length * 90) / Math.max(width, 160)) : 0;
  box.append(chart(series, own, answer.to, panel.fieldConfig.defaults, custom, Math.max(width, 160), Math.max(height - under, 80)));
  if (series.length > 1) {
    box.append(make("div", "legend", ...series.map((each) => {
      const mark = make("i");
      mark.style.background = each.colour;
      return make("span", "", mark, each.name);
    })));
  }
  return box;
}

function durationMs(text) { return parseInt(text, 10) * { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[text.at(-1)]; }

function shape(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function chart(series, from, to, { unit, decimals }, custom, width, height) {
  const left = 58, bottom = 24, top = 18;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const stacked = custom.stacking?.mode === "normal";
  const sums = new Map();
  for (const each of series) for (const [time, value] of each.points) sums.set(time, stacked ? (sums.get(time) ?? 0) + value : Math.max(sums.get(time) ?? 0, value));
  const most = nice(Math.max(...sums.values(), 0) || 1);
  const times = [...sums.keys()].sort((a, b) => a - b);
  const gap = times.slice(1).reduce((least, time, place) => Math.min(least, time - times[place]), Infinity);
  const first = Math.min(from, times[0]);
  const asBars = custom.drawStyle === "bars";
  const last = Math.max(to, times.at(-1) + (asBars && gap < Infinity ? gap : 0));
  const x = (time) => left + ((time - first) / (last - first || 1)) * (width - left - 8);
  const y = (value) => height - bottom - (value / most) * (height - bottom - top);
  for (let step = 0; step <= 4; step++) {
    const value = (most * step) / 4;
    svg.append(shape("line", { x1: left, x2: width, y1: y(value), y2: y(value), stroke: "#2c3036" }));
    svg.append(shape("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value, unit === "locale" ? "short" : unit, decimals)));
  }
  const marks = Math.max(2, Math.min(8, Math.floor(width / 120)));
  for (let step = 0; step < marks; step++) {
    const time = first + ((last - first) * (step + 0.5)) / marks;
    svg.append(shape("text", { x: x(time), y: height - 6, "text-anchor": "middle" }, moment(time, last - first)));
  }
  const base = new Map();
  for (const { points, colour, name } of series) {
    if (asBars) {
      const wide = Math.max(2, gap < Infinity ? (x(first + gap) - left) * 0.7 : 60);
      for (const [time, value] of points) {
        if (!value) continue;
        const below = stacked ? base.get(time) ?? 0 : 0;
        base.set(time, below + value);
        const bar = shape("rect", { x: x(time), width: wide, y: y(below + value), height: y(below) - y(below + value), fill: colour, opacity: 0.8 });
        bar.append(shape("title", {}, `${clockOfZone(time)} ${name}: ${format(value, unit, decimals)}`));
        svg.append(bar);
      }
    } else {
      const line = points.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
      svg.append(shape("polygon", { points: `${x(points[0][0])},${y(0)} ${line} ${x(points.at(-1)[0])},${y(0)}`, fill: colour, opacity: 0.12 }));
      svg.append(shape("polyline", { points: line, fill: "none", stroke: colour, "stroke-width": 2 }));
    }
  }
  return svg;
}

function nice(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].map((step) => step * size).find((step) => step >= value);
}

function moment(time, span) {
  const text = clockOfZone(time);
  if (span > 3 * 864e5) return text.slice(5, 10);
  return span > 36e5 ? text.slice(span > 864e5 ? 5 : 11, 16) : text.slice(11, 19);
}
