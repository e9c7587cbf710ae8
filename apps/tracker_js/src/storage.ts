/** Where things are kept: localStorage; where that is forbidden or full memory, and a cookie for what must last. */

import { attempt } from "./safe";

export type Storage = ReturnType<typeof createStorage>;

/**
 * `prefix` keeps several keys and the site's own entries apart. With a `domain` ids are cookies of that domain. While
 * `persist` is false everything lives as long as the page.
 */
export function createStorage(prefix: string, domain: string, persist: () => boolean) {
  /** What could not be stored; newer than what is. */
  const memory = new Map<string, string>();
  const cookie = (name: string) => encodeURIComponent(prefix + name) + "=";

  const get = (name: string): string | null =>
    memory.get(name) ?? attempt(() => localStorage.getItem(prefix + name), null);

  const set = (name: string, value: string): boolean => {
    const stored = persist() && attempt(() => (localStorage.setItem(prefix + name, value), true), false);
    if (stored) memory.delete(name);
    else memory.set(name, value);
    return stored;
  };

  const remove = (name: string): void => {
    memory.delete(name);
    attempt(() => localStorage.removeItem(prefix + name));
  };

  const names = (): string[] => {
    const stored = attempt(() => Object.keys(localStorage), []).filter((name) => name.startsWith(prefix));
    return [...new Set([...stored.map((name) => name.slice(prefix.length)), ...memory.keys()])];
  };

  const baked = (name: string): string | null =>
    attempt(() => {
      const found = document.cookie.split("; ").find((each) => each.startsWith(cookie(name)));
      return found ? decodeURIComponent(found.slice(cookie(name).length)) : null;
    }, null);

  const bake = (name: string, value: string, seconds: number): void =>
    attempt(() => {
      const secure = location.protocol === "https:" ? ";Secure" : "";
      const where = domain ? ";domain=" + domain : "";
      document.cookie =
        cookie(name) + encodeURIComponent(value) + ";path=/;SameSite=Lax;max-age=" + seconds + secure + where;
    });

  /** An id of the visitor: shared with the domain's other hosts, or kept where localStorage does not keep it. */
  const recall = (name: string): string | null => (domain ? memory.get(name) : get(name)) || baked(name);

  const remember = (name: string, value: string): string => {
    if ((!set(name, value) || domain) && persist()) bake(name, value, 3e7);
    return value;
  };

  const forget = (name: string): void => {
    remove(name);
    if (baked(name) !== null) bake(name, "", 0);
  };

  return { get, set, remove, names, recall, remember, forget };
}
