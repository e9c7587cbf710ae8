/** Nothing of the tracker may throw into the page: whatever a browser, a sandbox or another script takes away. */

/** What `f` gives, or `otherwise` when it throws. */
export function attempt(f: () => unknown): void;
export function attempt<T>(f: () => T, otherwise: T): T;
export function attempt<T>(f: () => T, otherwise?: T): T | undefined {
  try {
    return f();
  } catch {
    return otherwise;
  }
}

/** The same, which throws nothing: where there is no page, as on a server, it does nothing. */
export function guarded<T extends unknown[]>(f: (...given: T) => void): (...given: T) => void {
  return (...given) => attempt(() => f(...given));
}

const told = new Set<string>();

/** One line for the developer in the console, once a page for each text unless it must be said `again`. */
export function tell(text: string, again?: boolean): void {
  if (told.has(text) && !again) return;
  told.add(text);
  attempt(() => console.warn("clickstream: " + text));
}

/** A random UUID, version 4; also without a secure context, and at worst from Math.random. */
export function uuid(): string {
  const digit = (): string => {
    const byte = attempt(() => crypto.getRandomValues(new Uint8Array(1))[0] as number, Math.random() * 256);
    return (byte & 15).toString(16);
  };
  return attempt(() => crypto.randomUUID(), "") || "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, digit);
}
