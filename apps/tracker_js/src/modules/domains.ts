/**
 * One visitor on several domains of one owner: links to the others carry the visitor's id, for two minutes.
 *
 * What arrives is taken only from a page of one of the domains, and only by a browser that has no visitor yet.
 */

import { attempt, guarded } from "../safe";
import type { Options, Tracker } from "../tracker";
import { found } from "./found";

export const PARAMETER = "_cs";
const VALID_MS = 12e4;

const isOurs = (host: string, domains: string[]): boolean =>
  domains.some((domain) => host === domain || host.endsWith("." + domain));

/** The options with the visitor that came along, and without the parameter in what is recorded. */
export function arrived(options: Options, domains: string[]): Options {
  const visitor = attempt(() => {
    const [id, made] = (new URLSearchParams(location.search).get(PARAMETER) || "").split(".");
    const age = Date.now() - parseInt(made || "", 36);
    const welcome = Math.abs(age) < VALID_MS && isOurs(new URL(document.referrer).hostname, domains);
    return welcome && /^[\w-]{1,64}$/.test(id || "") ? id : undefined;
  }, undefined);
  return { ...options, visitor, excludeQuery: [...(options.excludeQuery || []), PARAMETER] };
}

function domains(tracker: Tracker, _: Options, others: string[]): void {
  const followed = (event: Event): void =>
    attempt(() => {
      const link = found<HTMLAnchorElement>(event, "a[href]");
      if (!link || link.hostname === location.hostname || !isOurs(link.hostname, others)) return;
      const url = new URL(link.href);
      const visitor = tracker.visitor();
      if (visitor) url.searchParams.set(PARAMETER, visitor + "." + Date.now().toString(36));
      link.href = url.href;
    });
  for (const name of ["mousedown", "touchstart", "keydown", "click"]) addEventListener(name, followed, true);
}

export default guarded(domains);
