/**
 * Sends what waits, one request at a time among all tabs of the site, and gives way when the API asks for it.
 *
 * Back-off is shared by pages and tabs: it lies beside the events. A page that goes away hands its events over to a
 * request that outlives it; whoever sends next takes them again only when no answer was seen for half a minute.
 */

import { UNDER_WAY_MS, type Batch, type Queue } from "./queue";
import { attempt, tell } from "./safe";
import type { Storage } from "./storage";

const SMALL = 16 * 1024;
const LONGEST_PAUSE_MS = 6e4;
/** A pause that ends later than this was written by a clock that has been set since. */
const LONGEST_ASKED_MS = 36e5;
const BUSY_MS = 1000;

/** `may`: whether anything may be sent; `ready` is called before events are taken. */
export function createSender(
  url: string,
  lock: string,
  queue: Queue,
  storage: Storage,
  may: () => boolean,
  ready: () => void,
) {
  let timer = 0;
  let sending = false;
  let failures = 0;
  let gone = false;

  const pause = (): number => {
    const left = Number(storage.get("pause")) - Date.now();
    return left > 0 && left <= 2 * LONGEST_ASKED_MS ? left : 0;
  };

  /** As long as the API asks for, else longer each time; apart from others by chance. */
  const backOff = (batch: Batch, asked: number): void => {
    const ms = asked > 0 ? Math.min(LONGEST_ASKED_MS, asked) : Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** failures);
    failures += 1;
    storage.set("pause", String(Date.now() + ms * (1 + Math.random() / 2)));
    queue.putBack(batch);
  };

  /** Why the API refused something: once for each reason, to the developer who can mend it. */
  const explain = (status: number, text: string): void => {
    const answer = attempt(() => JSON.parse(text), {});
    const reasons = answer.error ? [answer.error] : answer.rejected || (status > 299 ? [{ code: status }] : []);
    for (const { code, path, message } of reasons) tell(["refused:", code, path, message].filter(Boolean).join(" "));
  };

  /** Whether to go on. */
  const post = async (batch: Batch, hidden: boolean): Promise<boolean> => {
    const body = `{"sent_at":"${new Date().toISOString()}","events":[${batch.events}]}`;
    try {
      const response = await fetch(url, {
        method: "POST",
        body,
        headers: { "Content-Type": "text/plain" },
        credentials: "omit",
        // Browsers refuse more than 64 KiB of them at once; a small one may always outlive the page.
        keepalive: hidden || body.length < SMALL,
        signal: attempt(() => AbortSignal.timeout(UNDER_WAY_MS), null),
      });
      const status = response.status;
      if (status < 500 && status !== 408 && status !== 429) {
        failures = 0;
        queue.forget(batch.names); // stored, or refused for good
        response.text().then((text) => explain(status, text), () => undefined);
        return true;
      }
      backOff(batch, Number(response.headers.get("Retry-After")) * 1000);
    } catch {
      // A page that goes away cannot tell a failure from its own end.
      if (gone) return false;
      backOff(batch, 0);
      if (failures === 3) tell("the API cannot be reached: is it up, and in the page's connect-src?");
    }
    return false;
  };

  const isHidden = (): boolean => document.visibilityState === "hidden";
  const drain = async (): Promise<void> => {
    for (let more = true; more; ) {
      ready();
      const batch = queue.take();
      more = !!batch.names.length && (await post(batch, isHidden()));
    }
  };

  const schedule = (ms: number): void => {
    if (!timer && !sending) timer = setTimeout(flush, ms);
  };

  /** Send everything that is due. Resolves when that is done, or another tab does it. */
  async function flush(): Promise<void> {
    clearTimeout(timer);
    timer = 0;
    if (sending || !may()) return;
    let again = pause();
    if (!again) {
      sending = true;
      // Another tab that sends takes what is here, too: look again when it may have ended.
      const alone = (held: unknown) => (held ? drain() : void (again = BUSY_MS));
      try {
        await navigator.locks.request(lock, { ifAvailable: true }, alone);
      } catch {
        await drain(); // there are no locks here: no secure context, or a sandbox
      }
      sending = false;
    }
    // What is left is under way, by this or a former page: look again when that is over.
    if (queue.names().length) schedule(Math.max(again, pause()) || UNDER_WAY_MS);
  }

  /** The page may be gone before an answer comes; when it is `over`, it will be. */
  const leave = (over: boolean): void => {
    gone = over;
    if (!may() || pause()) return;
    ready();
    const batch = queue.take();
    if (batch.names.length) void post(batch, true);
  };

  /** The page is shown again. */
  const back = (): void => {
    gone = false;
  };

  return { schedule, flush, leave, back };
}
