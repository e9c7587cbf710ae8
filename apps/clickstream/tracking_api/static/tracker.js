/*
 * clickstream tracker: page views and events of a web page, to the tracking API that serves this file.
 *
 *   <script async src="https://HOST/tracker.js" data-key="WRITE_KEY"></script>
 *
 * - A page view is sent on load and when the history API changes the URL (a changed #fragment is the same page).
 * - Each event gets its event_id once and keeps it, so sending twice is harmless: the pipeline drops what it knows.
 *   So a closing tab may hand events to sendBeacon without knowing whether an earlier request arrived.
 * - Events wait in localStorage until they are answered: a reload, a closed tab or an outage loses none of them.
 * - Requests are "simple" ones (text/plain, key in the query): no preflight, no cookies, nothing blocks the page.
 *
 * window.clickstream.track(type, properties), .identify(userId), .flush(). See apps/tracker_js/README.md.
 */
(() => {
  "use strict";
  const script = document.currentScript;
  const key = script && script.dataset.key;
  if (!key || window.clickstream) return;

  const url = new URL("v1/events/batch", script.src) + "?key=" + encodeURIComponent(key);
  const PREFIX = "clickstream." + key + ".";
  const IDLE_MS = 30 * 60 * 1000; // session_id only: the pipeline's sessions have their own gap
  const MAX_QUEUE = 500; // the oldest are given up
  const MAX_BATCH = 50;
  const MAX_EVENT = 32 * 1024; // the API takes no larger one
  const MAX_BYTES = 48 * 1024; // browsers take 64 KiB of unfinished keepalive requests and beacons
  const BATCH_DELAY_MS = 200;
  const MAX_WAIT_MS = 60 * 1000;

  // localStorage; where it is forbidden or full this page's memory, and for the ids a cookie.
  const memory = new Map();
  const read = (name) => {
    try {
      const value = localStorage.getItem(PREFIX + name);
      if (value !== null) return value;
    } catch {}
    if (memory.has(name)) return memory.get(name);
    const cookie = document.cookie.match("(?:^|; )cs_" + name + "=([^;]*)");
    return cookie && decodeURIComponent(cookie[1]);
  };
  const write = (name, value) => {
    try {
      localStorage.setItem(PREFIX + name, value);
      return true;
    } catch {
      memory.set(name, value);
      return false;
    }
  };
  const remember = (name, value) => {
    if (!write(name, value)) {
      document.cookie = `cs_${name}=${encodeURIComponent(value)};path=/;max-age=31536000;SameSite=Lax`;
    }
    return value;
  };

  const uuid = () => {
    if (crypto.randomUUID) return crypto.randomUUID(); // only there in secure contexts
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };
  const visitor = () => read("visitor") || remember("visitor", uuid());
  const session = () => {
    const now = Date.now();
    const [id, last] = (read("session") || "").split(" ");
    const current = id && now - last < IDLE_MS ? id : uuid();
    remember("session", current + " " + now);
    return current;
  };

  // The queue: one entry an event, named so that names sort by age. Tabs share it; none rewrites what another wrote.
  const QUEUED = "event.";
  let made = 0;
  const queued = () => {
    const names = [...memory.keys()];
    try {
      for (const name of Object.keys(localStorage)) if (name.startsWith(PREFIX)) names.push(name.slice(PREFIX.length));
    } catch {}
    return names.filter((name) => name.startsWith(QUEUED)).sort();
  };
  const forget = (names) => {
    for (const name of names) {
      memory.delete(name);
      try {
        localStorage.removeItem(PREFIX + name);
      } catch {}
    }
  };
  const enqueue = (text) => {
    const number = String(made++).padStart(6, "0");
    write(QUEUED + [Date.now(), number, uuid().slice(0, 8)].join("."), text);
    forget(queued().slice(0, -MAX_QUEUE));
  };

  // The oldest events that fit into one request: their names and the request's body.
  const bytes = (text) => new Blob([text]).size;
  const nextBatch = (skip) => {
    const names = [];
    const events = [];
    let size = 0;
    for (const name of queued()) {
      const text = read(name);
      if (!text || (skip && skip.has(name))) continue;
      size += bytes(text);
      if (names.length === MAX_BATCH || (names.length && size > MAX_BYTES)) break;
      names.push(name);
      events.push(text);
    }
    return { names, body: () => `{"sent_at":"${new Date().toISOString()}","events":[${events}]}` };
  };

  let timer = 0;
  let sending = false;
  let failures = 0;
  const schedule = (ms) => {
    if (!timer && !sending) timer = setTimeout(flush, ms);
  };
  // As long as the API asks for, else longer each time; a little apart from other clients.
  const backOff = (response) => {
    const asked = response ? Number(response.headers.get("Retry-After")) * 1000 : 0;
    const ms = asked > 0 ? asked : Math.min(MAX_WAIT_MS, 1000 * 2 ** failures);
    failures += 1;
    return ms * (1 + Math.random() / 2);
  };
  const isFinal = (status) => status < 500 && status !== 408 && status !== 429;

  async function flush() {
    clearTimeout(timer);
    timer = 0;
    const batch = nextBatch();
    if (sending || !batch.names.length) return;
    sending = true;
    let delay = 0;
    try {
      const response = await fetch(url, {
        method: "POST",
        body: batch.body(),
        headers: { "Content-Type": "text/plain" },
        credentials: "omit",
        keepalive: true,
      });
      if (isFinal(response.status)) {
        forget(batch.names); // stored, or refused for good
        failures = 0;
      } else {
        delay = backOff(response);
      }
    } catch {
      delay = backOff(null); // offline, or the API cannot be reached
    }
    sending = false;
    if (queued().length) schedule(delay);
  }

  // Nobody may be left to see the answer: the events stay queued, and this page or the site's next sends them again.
  const handedOver = new Set();
  const flushByBeacon = () => {
    for (;;) {
      const batch = nextBatch(handedOver);
      if (!batch.names.length || !navigator.sendBeacon(url, batch.body())) return;
      batch.names.forEach((name) => handedOver.add(name));
    }
  };

  let referrer = document.referrer;
  const track = (type, properties) => {
    const event = {
      event_id: uuid(),
      timestamp: new Date().toISOString(),
      type: type || "page_view",
      user_id: read("user") || visitor(),
      session_id: session(),
      page: here().slice(0, 2048),
      title: document.title.slice(0, 1024),
      referrer: referrer.slice(0, 2048),
      properties: { visitor_id: visitor(), ...properties },
    };
    const text = JSON.stringify(event);
    if (bytes(text) > MAX_EVENT) {
      console.warn("clickstream: an event of more than 32 KiB is not sent");
      return;
    }
    enqueue(text);
    schedule(BATCH_DELAY_MS);
  };

  const here = () => location.href.split("#")[0];
  let current = "";
  const pageView = () => {
    if (here() === current) return;
    if (current) referrer = current; // within a single-page application: the page before
    current = here();
    track("page_view");
  };
  const navigated = () => setTimeout(pageView, 0); // by then the application has set the new title
  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = function (...args) {
      original.apply(this, args);
      navigated();
    };
  }
  addEventListener("popstate", navigated);
  addEventListener("pageshow", (event) => event.persisted && track("page_view")); // back from the bfcache
  addEventListener("pagehide", flushByBeacon);
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && flushByBeacon());
  addEventListener("online", flush);

  window.clickstream = { track, flush, identify: (userId) => void remember("user", String(userId)) };
  if (document.prerendering) document.addEventListener("prerenderingchange", pageView, { once: true });
  else pageView();
  schedule(0); // what earlier pages left behind
})();
