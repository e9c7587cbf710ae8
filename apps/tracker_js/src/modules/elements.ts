/**
 * Events that the page's HTML declares: `<button data-clickstream-event="add_to_cart" data-clickstream-product-id="7">`
 * is an event `add_to_cart` with the property `product_id` for each click; a form's is for each submit.
 */

import { attempt, guarded } from "../safe";
import type { Properties, Tracker } from "../tracker";
import { found } from "./found";

const EVENT = "[data-clickstream-event]";
const PREFIX = "data-clickstream-";

function elements(tracker: Tracker): void {
  const send = (element: Element): void => {
    const properties: Properties = {};
    let type = "";
    for (const { name, value } of Array.from(element.attributes)) {
      if (name === PREFIX + "event") type = value;
      else if (name.startsWith(PREFIX)) properties[name.slice(PREFIX.length).replace(/-/g, "_")] = value;
    }
    if (type) tracker.track(type, properties);
  };
  const on = (name: string, wanted: (element: Element) => boolean): void =>
    addEventListener(
      name,
      (event) =>
        attempt(() => {
          const element = found(event, EVENT);
          if (element && wanted(element)) send(element);
        }),
      true,
    );
  on("click", (element) => element.tagName !== "FORM");
  on("submit", (element) => element.tagName === "FORM");
}

export default guarded(elements);
