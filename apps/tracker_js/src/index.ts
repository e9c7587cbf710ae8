/** As a package: `import { init } from "clickstream-tracker"`. */

import { createTracker, type Options, type Tracker } from "./tracker";

export type { Event, Options, Properties, Scalar, Tracker } from "./tracker";

const known = new Map<string, Tracker>();

/**
 * Start a tracker. `api` is the address of the tracking API. The same key and address again, as when React mounts
 * twice, give the tracker that runs already, with its own options.
 */
export function init(options: Options): Tracker {
  const api = options.api.replace(/\/?$/, "/");
  const name = `${api} ${options.key}`;
  const running = known.get(name);
  if (running) return running;
  const tracker = createTracker({ ...options, api });
  known.set(name, tracker);
  tracker.start();
  return tracker;
}
