/**
 * For the developer's console (`data-debug`): each event as it is recorded, and what the pipeline says of it.
 *
 * `/v1/validate` stores nothing. The tracker counts an event for the limits of its key, and so does this.
 */

import { attempt } from "../safe";
import type { Event, Options } from "../tracker";

interface Verdict {
  error?: { code: string; path: string; message: string; hint: string };
  enriched?: { fields: Record<string, unknown>; funnel_steps: Array<{ funnel: string; step: number; name: string }> };
  refused_by_enricher?: { code: string; message: string };
}

const say = (level: "info" | "warn", text: string, ...more: unknown[]): void =>
  attempt(() => console[level](`clickstream: ${text}`, ...more));

/** What a developer reads of a verdict, and whether the event is good. */
function read(verdict: Verdict): [good: boolean, text: string, found?: unknown] {
  const wrong = verdict.error || verdict.refused_by_enricher;
  if (wrong) {
    const { code, path, message, hint } = wrong as NonNullable<Verdict["error"]>;
    return [false, [code, path, message, hint].filter(Boolean).join(" · ")];
  }
  const steps = (verdict.enriched?.funnel_steps || []).map((s) => `${s.funnel} step ${s.step} (${s.name})`);
  return [true, ["accepted", ...steps].join(", "), verdict.enriched?.fields];
}

async function judge(event: Event, options: Options): Promise<void> {
  const what = `${event.type} ${event.page}`;
  try {
    const response = await fetch(`${options.api}v1/validate?key=${encodeURIComponent(options.key)}`, {
      method: "POST",
      body: JSON.stringify(event),
      headers: { "Content-Type": "text/plain" },
      credentials: "omit",
    });
    const answer = await response.json();
    if (!answer.events) return say("warn", `${what} would be refused: ${response.status}`, answer);
    for (const verdict of answer.events) {
      const [good, text, found] = read(verdict);
      say(good ? "info" : "warn", `${what}: ${text}`, ...(found ? [found] : []));
    }
  } catch (error) {
    say("warn", `${what}: the API cannot be asked what it makes of it`, error);
  }
}

/** The options with a `beforeSend` that shows what the page's own one leaves. */
export function arrived(options: Options): Options {
  say("info", `debugging ${options.key} at ${options.api}; signals ${options.ignoreSignals ? "ignored" : "honoured"}`);
  const beforeSend = (event: Event): Event | null => {
    const kept = options.beforeSend ? attempt(() => options.beforeSend!(event), event) : event;
    say("info", kept ? `recorded ${kept.type}` : `beforeSend dropped ${event.type}`, kept || event);
    if (kept) void judge(kept, options);
    return kept;
  };
  return { ...options, beforeSend };
}

/** Everything is done before the tracker begins. */
export default function debug(): void {}
