/** JavaScript errors that nobody caught: an event `js_error`, once for each and at most ten a page. */

import { clean } from "../page";
import { attempt, guarded } from "../safe";
import type { Options, Tracker } from "../tracker";

const MOST = 10;
const LONGEST = 1024;

function errors(tracker: Tracker, options: Options): void {
  const told = new Set<string>();
  const tell = (message: unknown, error: unknown, at: string, line: number, column: number): void => {
    const text = String(message).slice(0, LONGEST);
    const key = [text, at, line, column].join();
    if (told.size >= MOST || told.has(key)) return;
    told.add(key);
    const stack = attempt(() => String((error as Error).stack || "").slice(0, LONGEST), "");
    tracker.track("js_error", { message: text, file: at && clean(at, options), line, column, stack });
  };
  addEventListener("error", (event) =>
    attempt(() => tell(event.message, event.error, event.filename, event.lineno, event.colno)),
  );
  addEventListener("unhandledrejection", ({ reason }) =>
    attempt(() => tell((reason && reason.message) || reason, reason, "", 0, 0)),
  );
}

export default guarded(errors);
