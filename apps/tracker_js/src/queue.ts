/**
 * The events that wait for an answer: one entry of the storage an event, shared by the site's pages and tabs.
 *
 * A name sorts by age. A value is the event's JSON, after `TIME|` once it has been handed over: at that time, to a
 * request whose answer nobody may see, because its page is gone.
 */

import { tell, uuid } from "./safe";
import type { Storage } from "./storage";

const MARK = "event.";
const DAY_MS = 864e5;
/** 2023: a clock before that was never set. */
const SANE_MS = 17e11;
const MOST_EVENTS = 500;
/** Of the site's own storage, in characters. */
const MOST_CHARACTERS = 256 * 1024;
const BATCH_EVENTS = 50;
/** Browsers take 64 KiB of keepalive requests at once. */
const BATCH_BYTES = 48 * 1024;
/** A request whose answer was not seen for so long may be tried again. */
export const UNDER_WAY_MS = 3e4;

export const bytes = (text: string): number => new Blob([text]).size;

export interface Batch {
  names: string[];
  events: string[];
}

export type Queue = ReturnType<typeof createQueue>;

export function createQueue(storage: Storage) {
  /** This page's own events: when they were made, by a clock that nobody sets. */
  const made = new Map<string, number>();
  let count = 0;
  let waiting = 0;
  let characters = 0;

  const length = (name: string): number => (storage.get(name) || "").length;
  const names = (): string[] => storage.names().filter((name) => name.startsWith(MARK)).sort();

  const forget = (gone: string[]): void => {
    for (const name of gone) {
      made.delete(name);
      storage.remove(name);
    }
  };

  const giveUp = (gone: string[], why: string): void => {
    if (gone.length) tell(`${gone.length} events given up, ${why}`, true);
    forget(gone);
  };

  /** Count what is there, other tabs' events included, and give up the oldest of too many; the names that are left. */
  const measure = (): string[] => {
    const all = names();
    const lengths = all.map(length);
    characters = lengths.reduce((sum, each) => sum + each, 0);
    let gone = 0;
    while (all.length - gone > MOST_EVENTS || characters > MOST_CHARACTERS) characters -= lengths[gone++] as number;
    giveUp(all.slice(0, gone), "too many");
    waiting = all.length - gone;
    return all.slice(gone);
  };

  const add = (event: string): string => {
    const name = MARK + [Date.now(), String(count++).padStart(6, "0"), uuid().slice(0, 8)].join(".");
    made.set(name, performance.now());
    storage.set(name, event);
    waiting += 1;
    characters += event.length;
    if (waiting > MOST_EVENTS || characters > MOST_CHARACTERS) measure();
    return name;
  };

  /** Put another event in the place of one that has not been handed over. */
  const replace = (name: string, event: string): void => {
    if ((storage.get(name) || "").startsWith("{")) storage.set(name, event);
  };

  const isOld = (name: string): boolean => {
    const at = Number(name.split(".")[1]);
    const since = made.get(name);
    return since === undefined ? at > SANE_MS && Date.now() - at > DAY_MS : performance.now() - since > DAY_MS;
  };

  /** The oldest events that fit into one request and are not under way; marked as handed over now. */
  const take = (): Batch => {
    const batch: Batch = { names: [], events: [] };
    const now = Date.now();
    let size = 0;
    const all = measure();
    giveUp(all.filter(isOld), "older than a day");
    for (const name of all) {
      const value = storage.get(name) || "";
      const at = value.indexOf("{");
      const since = now - parseInt(value);
      if (at < 0 || (since >= 0 && since < UNDER_WAY_MS)) continue;
      const event = value.slice(at);
      size += bytes(event);
      if (batch.names.length === BATCH_EVENTS || (batch.names.length && size > BATCH_BYTES)) break;
      batch.names.push(name);
      batch.events.push(event);
      storage.set(name, now + "|" + event);
    }
    return batch;
  };

  /** The answer was seen, and they are to be sent again. */
  const putBack = (batch: Batch): void =>
    batch.names.forEach((name, at) => storage.get(name) && storage.set(name, batch.events[at] as string));

  return { add, replace, names, take, putBack, forget };
}
