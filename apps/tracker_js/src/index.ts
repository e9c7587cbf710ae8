/** As a package: `import { init } from "clickstream-tracker"`. */

import { createTracker, type Options, type Tracker } from "./tracker";

export type { Event, Options, Properties, Scalar, Tracker } from "./tracker";


/** Start a tracker. `api` is the address of the tracking API. */
export function init(options: Options): Tracker {
  const tracker = createTracker({ ...options, api: options.api.replace(/\/?$/, "/") });
  tracker.start();
  return tracker;
}
