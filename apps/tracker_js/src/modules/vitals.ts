/**
 * Core Web Vitals of a page that was loaded: one event `web_vitals` when it is first hidden or left.
 *
 * Milliseconds from the navigation, or from when a prerendered page was shown; what the browser does not measure is
 * absent. Definitions: https://web.dev/articles/vitals (`inp_ms` is the slowest interaction).
 */

import { attempt, guarded } from "../safe";
import type { Properties, Tracker } from "../tracker";

type Entry = PerformanceEntry & {
  value: number;
  hadRecentInput: boolean;
  interactionId?: number;
  responseStart: number;
  activationStart?: number;
};

function vitals(tracker: Tracker): void {
  const page = tracker.address();
  const found: Properties = {};
  const navigation = attempt(() => performance.getEntriesByType("navigation")[0] as Entry, undefined);
  const since = (ms: number): number => Math.max(0, Math.round(ms - (navigation?.activationStart || 0)));
  const observers: PerformanceObserver[] = [];
  const read = (entries: Entry[], each: (entry: Entry) => void): void => entries.forEach(each);
  const observe = (type: string, each: (entry: Entry) => void): void =>
    attempt(() => {
      const observer = new PerformanceObserver((list) => read(list.getEntries() as Entry[], each));
      observer.observe({ type, buffered: true, durationThreshold: 40 } as PerformanceObserverInit);
      observers.push(observer);
      unread.push(() => read(observer.takeRecords() as Entry[], each));
    });
  const unread: Array<() => void> = [];

  if (navigation) found.ttfb_ms = since(navigation.responseStart);
  observe("paint", (entry) => {
    if (entry.name === "first-contentful-paint") found.fcp_ms = since(entry.startTime);
  });
  observe("largest-contentful-paint", (entry) => (found.lcp_ms = since(entry.startTime)));
  observe("event", (entry) => {
    if (entry.interactionId) found.inp_ms = Math.max(Number(found.inp_ms || 0), Math.round(entry.duration));
  });
  // Shifts less than a second apart, within five seconds, are one; the worst of these counts.
  let sum = 0;
  let first = 0;
  let last = 0;
  observe("layout-shift", (entry) => {
    if (entry.hadRecentInput) return;
    const together = entry.startTime - last < 1000 && entry.startTime - first < 5000;
    sum = together ? sum + entry.value : entry.value;
    if (!together) first = entry.startTime;
    last = entry.startTime;
    found.cls = Math.max(Number(found.cls || 0), Math.round(sum * 1e4) / 1e4);
  });

  const send = (): void => {
    if (!observers.length) return;
    unread.forEach((each) => attempt(each));
    observers.forEach((each) => each.disconnect());
    observers.length = 0;
    tracker.track("web_vitals", found, page);
  };
  // On the window and capturing: before the tracker hands over what it has.
  addEventListener("visibilitychange", () => document.visibilityState === "hidden" && attempt(send), true);
  addEventListener("pagehide", () => attempt(send), true);
}

export default guarded(vitals);
