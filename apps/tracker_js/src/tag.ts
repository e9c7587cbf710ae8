/** The script tag: <script async src="https://HOST/tracker.js" data-key="WRITE_KEY"> */

import { attempt, tell } from "./safe";
import { createTracker, type Options, type Tracker } from "./tracker";

const list = (text: string | undefined): string[] => (text || "").split(/[\s,]+/).filter(Boolean);

interface Global {
  q?: Array<[string, unknown[]]>;
  trackers?: Record<string, Tracker | null>;
  beforeSend?: Options["beforeSend"];
}

/** A script of its own, loaded when the tag asks for it. */
interface Module {
  default: (tracker: Tracker, options: Options, domains: string[]) => void;
  arrived?: (options: Options, domains: string[]) => Options;
}

attempt(() => {
  const script = document.currentScript as HTMLScriptElement | null;
  const source = attempt(() => new URL(script!.src), null);
  if (!script || !source) return tell("the tag needs src: no module, not inlined");
  const given = script.dataset;
  const key = given.key || source.searchParams.get("key");
  if (!key) return tell('the script tag lacks data-key="WRITE_KEY"');

  const name = given.global || "clickstream";
  const scope = window as unknown as Record<string, Global | undefined>;
  const found = scope[name];
  // An element with that id, say, is not ours.
  const api: Global = found && typeof found === "object" && !("nodeType" in found) ? found : {};
  const trackers = (api.trackers = api.trackers || {});
  if (key in trackers) return;
  trackers[key] = null; // until it begins
  const first = !Object.keys(trackers)[1];
  const base = (given.api || new URL(".", source).href).replace(/\/?$/, "/");
  const domains = list(given.domains);
  // The first page view is already the arriving visitor's, and is shown to who debugs.
  const early = ["domains", "debug"].filter((module) => module in given);

  const load = (module: string, then: (loaded: Module) => void): Promise<void> =>
    import(`${base}v1/tracker/${module}.js`).then(then).catch(() => tell(`no module ${module}`));

  const begin = (options: Options): void =>
    attempt(() => {
      const tracker = (trackers[key] = createTracker(options));
      const { start, ...methods } = tracker;
      if (first) Object.assign(api, methods);
      scope[name] = api;
      const waiting = (first && api.q) || [];
      delete api.q;
      start();
      for (const [method, values] of waiting) {
        attempt(() => (tracker as unknown as Record<string, (...given: unknown[]) => void>)[method]?.(...values));
      }
      for (const module of [...list(given.modules), ...early]) {
        void load(module, (loaded) => loaded.default(tracker, options, domains));
      }
    });

  let options: Options = {
    key,
    api: base,
    hashRouting: "hashRouting" in given,
    exclude: list(given.exclude),
    excludeQuery: list(given.excludeQuery),
    cookieDomain: given.cookieDomain,
    consent: given.consent === "required" ? "required" : undefined,
    ignoreSignals: "ignoreSignals" in given,
    manual: "manual" in given,
    beforeSend: (event) => (api.beforeSend ? api.beforeSend(event) : event),
  };
  if (!early[0]) return begin(options);
  const change = ({ arrived }: Module): void => void (options = arrived!(options, domains));
  void Promise.all(early.map((module) => load(module, change))).then(() => begin(options));
});
