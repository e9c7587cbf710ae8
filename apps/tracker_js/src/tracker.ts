/** One tracker: a key's events, its visitor and session, its page views. */

import { address, clean, isExcluded, surroundings, title, type PageOptions } from "./page";
import { bytes, createQueue } from "./queue";
import { attempt, tell, uuid } from "./safe";
import { createSender } from "./sender";
import { createStorage } from "./storage";

export type Scalar = string | number | boolean | null;
export type Properties = Record<string, Scalar>;

/** An event as it is sent. */
export interface Event {
  event_id: string;
  timestamp: string;
  type: string;
  user_id: string;
  session_id: string;
  page: string;
  title: string;
  referrer: string;
  properties: Properties;
}

export interface Options extends PageOptions {
  /** The write key of the source. */
  key: string;
  /** Where the tracking API is. */
  api: string;
  /** A domain whose hosts share visitors, such as `shop.example`. */
  cookieDomain?: string | undefined;
  /** `required`: nothing is kept or sent before `optIn()`. */
  consent?: "required" | undefined;
  /** Global Privacy Control and Do Not Track are not honoured. */
  ignoreSignals?: boolean;
  /** Page views are sent by `page()` only. */
  manual?: boolean;
  /** The id of the visitor, where the browser knows none yet. */
  visitor?: string | undefined;
  /** What is sent may be changed, or null: not sent. */
  beforeSend?: (event: Event) => Event | null;
}

/** What a page is given. Nothing here throws. */
export type Tracker = ReturnType<typeof createTracker>;

/** Of session_id; the pipeline has a gap of its own. */
const IDLE_MS = 18e5;
/** The API takes no larger event. */
const MOST_BYTES = 32 * 1024;
const LONGEST_ID = 256;
const SOON_MS = 200;
/** Frameworks set the title a moment after the address. */
const TITLE_MS = 300;
const MOST_HELD = 100;

/** A visitor who asks not to be tracked is nobody: ids live as long as the page. */
const isSignalled = (): boolean =>
  attempt(() => {
    const asked = navigator as { globalPrivacyControl?: boolean; doNotTrack?: string | null };
    return asked.globalPrivacyControl === true || /^(1|yes)$/.test(asked.doNotTrack || "");
  }, false);

export function createTracker(options: Options) {
  const prefix = `clickstream.${options.key}.`;
  const mayKeep = (): boolean => !!options.ignoreSignals || !isSignalled();
  const storage = createStorage(prefix, options.cookieDomain || "", mayKeep);
  const queue = createQueue(storage);
  const url = `${options.api}v1/events/batch?key=${encodeURIComponent(options.key)}`;
  const sender = createSender(url, prefix, queue, storage, maySend, finishView);
  let referrer = attempt(() => clean(document.referrer, options), "");
  let current = "";
  /** The page view whose title may still change. */
  let view: { name: string; event: Event } | null = null;
  let held: Array<() => void> = [];

  const decision = (): string | null => storage.recall("consent");
  function maySend(): boolean {
    const decided = decision();
    return decided ? decided === "in" : !options.consent;
  }

  /** At once, or when the page is no longer prerendered, or when the visitor has agreed. */
  const whenShown = (then: () => void): void =>
    attempt(() => {
      if ((document as { prerendering?: boolean }).prerendering) {
        document.addEventListener("prerenderingchange", () => whenShown(then), { once: true });
      } else if (options.consent && !decision()) {
        if (held.length < MOST_HELD) held.push(then);
      } else {
        then();
      }
    });

  const session = (): string => {
    const now = Date.now();
    const [id, last] = (storage.recall("session") || "").split(" ");
    const found = id && now - Number(last) < IDLE_MS ? id : uuid();
    storage.remember("session", found + " " + now);
    return found;
  };

  const record = (type: string, properties?: Properties, at?: string): { name: string; event: Event } | null => {
    const page = at || address(options);
    if (!page || !maySend() || isExcluded(page, options)) return null;
    const visitor = storage.recall("visitor") || storage.remember("visitor", options.visitor || uuid());
    const made: Event = {
      event_id: uuid(),
      timestamp: new Date().toISOString(),
      type: String(type || "page_view"),
      user_id: storage.recall("user") || visitor,
      session_id: session(),
      page,
      title: title(),
      referrer,
      properties: { visitor_id: visitor, ...properties },
    };
    const event = options.beforeSend ? attempt(() => options.beforeSend!(made), made) : made;
    if (!event) return null;
    const text = JSON.stringify(event);
    if (bytes(text) > MOST_BYTES) return tell("an event over 32 KiB is not sent"), null;
    const name = queue.add(text);
    sender.schedule(type === "page_view" ? TITLE_MS : SOON_MS);
    return { name, event };
  };

  /** A view has the title that its page has when it is sent, or left. */
  function finishView(): void {
    if (!view || view.event.page !== address(options) || view.event.title === title()) return;
    view.event.title = title();
    queue.replace(view.name, JSON.stringify(view.event));
  }

  const recordView = (properties?: Properties): void => {
    current = address(options);
    view = record("page_view", { ...surroundings(), ...properties });
  };

  const viewIfNew = (): void => {
    if (address(options) === current) return;
    if (current) referrer = current; // in a single-page application
    recordView();
  };

  /** Record an event; properties are texts, numbers, booleans or null. `at`: another page than the one that is shown. */
  const track = (type: string, properties?: Properties, at?: string): void =>
    whenShown(() => record(type, properties, at));

  /** Record a view of the page that is shown. */
  const page = (properties?: Properties): void => whenShown(() => recordView(properties));

  /** Who it is from now on, with what is known of them. */
  const identify = (userId: unknown, traits?: Properties): void => {
    const id = typeof userId === "number" ? String(userId) : userId;
    if (typeof id !== "string" || !id || id.length > LONGEST_ID) {
      return tell(`identify() takes a text of 1 to ${LONGEST_ID} characters: ignored`);
    }
    whenShown(() => {
      if (maySend()) storage.remember("user", id);
      if (traits) record("identify", traits);
    });
  };

  /** The group (account, company) that the visitor belongs to. */
  const group = (groupId: string, traits?: Properties): void => track("group", { group_id: groupId, ...traits });

  /** Forget who it is: after a logout the browser is another visitor. */
  const reset = (): void => attempt(() => ["user", "visitor", "session"].forEach(storage.forget));

  /** Send now what waits. */
  const flush = (): Promise<void> => sender.flush().catch(() => undefined);

  /** The visitor agrees: what `consent: required` held back begins. */
  const optIn = (): void => {
    attempt(() => storage.remember("consent", "in"), "");
    const waiting = held;
    held = [];
    waiting.forEach((each) => attempt(each));
  };

  /** The visitor refuses: nothing is sent, and what is kept in the browser goes, but for this decision. */
  const optOut = (): void => {
    reset();
    held = [];
    attempt(() => queue.forget(queue.names()));
    attempt(() => storage.remember("consent", "out"), "");
  };

  /** Whether events are recorded now. */
  const isOptedIn = (): boolean => attempt(maySend, false);

  /** The address of the page as it is recorded. */
  const shownAddress = (): string => attempt(() => address(options), "");

  /** The id that the browser keeps for its visitor; empty where it may not. */
  const visitor = (): string => attempt(() => (maySend() && mayKeep() && storage.recall("visitor")) || "", "");

  const watch = (): void => {
    const look = (): void => whenShown(viewIfNew);
    const navigated = (): void => void setTimeout(look, 0);
    const navigation = (window as { navigation?: EventTarget }).navigation;
    if (navigation) {
      navigation.addEventListener("currententrychange", navigated);
    } else {
      for (const name of ["pushState", "replaceState"] as const) {
        const original = history[name];
        history[name] = function (this: History, ...given: Parameters<History["pushState"]>) {
          original.apply(this, given);
          navigated();
        };
      }
    }
    addEventListener("popstate", navigated);
    addEventListener("hashchange", navigated);
    addEventListener("pageshow", (event) => event.persisted && page()); // from the back/forward cache
    look();
  };

  /** Begin: page views by themselves, and what earlier pages left behind. */
  const start = (): void =>
    attempt(() => {
      // A frame of the same site is a part of its page, which is tracked itself.
      const framed = attempt(() => top !== window && !!top!.location.href, false);
      if (!options.manual && !framed) watch();
      addEventListener("pagehide", () => attempt(() => sender.leave(true)));
      addEventListener("pageshow", sender.back);
      document.addEventListener("visibilitychange", () => {
        if (document.visibilityState === "hidden") attempt(() => sender.leave(false));
      });
      addEventListener("online", flush);
      sender.schedule(SOON_MS);
    });

  return { track, page, identify, group, reset, flush, optIn, optOut, isOptedIn, address: shownAddress, visitor, start };
}
