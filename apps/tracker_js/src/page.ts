/** What is said of the page: its address and referrer without what is not to be told, its title, the screen. */

import { attempt } from "./safe";

export interface PageOptions {
  /** `#/route` is a page of its own. */
  hashRouting?: boolean;
  /** Patterns of paths that are not tracked, `*` for any run of characters. */
  exclude?: string[];
  /** Names of query parameters that are taken out of addresses. */
  excludeQuery?: string[];
}

const LONGEST = 2048;

/** The address of the page; of a document without one (srcdoc), of the page that it lies in. */
export function address(options: PageOptions): string {
  const own = /^(https?|file):/.test(location.protocol) ? location.href : document.baseURI;
  const shown = /^(https?|file):/.test(own) ? own : document.referrer;
  return clean(options.hashRouting ? shown : (shown.split("#")[0] as string), options);
}

export function clean(url: string, options: PageOptions): string {
  const names = options.excludeQuery || [];
  if (!names.length || !url.includes("?")) return url.slice(0, LONGEST);
  return attempt(() => {
    const parsed = new URL(url);
    for (const name of names) parsed.searchParams.delete(name);
    return parsed.href;
  }, url.split("?")[0] as string).slice(0, LONGEST);
}

export function isExcluded(url: string, options: PageOptions): boolean {
  const path = attempt(() => new URL(url).pathname, "");
  return (options.exclude || []).some((pattern) => {
    const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp("^" + parts.join(".*") + "$").test(path);
  });
}

/** The title, cut between characters. */
export const title = (): string => [...document.title].slice(0, 1024).join("");

/** The screen, the language and the time zone of the visitor's browser. */
export function surroundings(): Record<string, string> {
  return attempt<Record<string, string>>(
    () => ({
      screen: `${screen.width}x${screen.height}`,
      language: navigator.language,
      time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    }),
    {},
  );
}
