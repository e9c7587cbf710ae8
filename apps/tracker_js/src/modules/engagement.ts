/**
 * How long a page was looked at and how far it was read: an event `engagement` when the page is left or hidden.
 *
 * A second counts when the page is visible, has the focus, and its visitor did something within the last half minute.
 * `engaged_seconds` are those since the event before, so that they add up; `scroll_percent` is how far was ever seen.
 */

import { attempt, guarded } from "../safe";
import type { Tracker } from "../tracker";

const IDLE_MS = 3e4;
const INPUT = ["pointerdown", "pointermove", "keydown", "scroll", "touchstart", "wheel"];

function engagement(tracker: Tracker): void {
  let page = tracker.address();
  let acted = performance.now();
  let seconds = 0;
  let depth = 0;
  let told = 0;

  const measure = (): void => {
    const whole = document.documentElement.scrollHeight;
    depth = Math.max(depth, Math.min(100, Math.round(((scrollY + innerHeight) / whole) * 100)));
  };
  const send = (): void => {
    if (seconds || depth > told) tracker.track("engagement", { engaged_seconds: seconds, scroll_percent: depth }, page);
    seconds = 0;
    told = depth;
  };
  /** In a single-page application the next page begins. */
  const look = (): void => {
    const now = tracker.address();
    if (now === page) return;
    send();
    page = now;
    depth = told = 0;
  };
  const tick = (): void => {
    look();
    if (document.visibilityState !== "visible") return;
    measure();
    if (document.hasFocus() && performance.now() - acted < IDLE_MS) seconds += 1;
  };

  for (const name of INPUT) addEventListener(name, () => (acted = performance.now()), { capture: true, passive: true });
  // On the window and capturing: before the tracker hands over what it has.
  addEventListener("visibilitychange", () => document.visibilityState === "hidden" && attempt(send), true);
  addEventListener("pagehide", () => attempt(send), true);
  setInterval(() => attempt(tick), 1000);
}

export default guarded(engagement);
