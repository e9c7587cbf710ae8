/** Submitted forms: which, and where to; never what was filled in. */

import { clean } from "../page";
import { attempt, guarded } from "../safe";
import type { Options, Tracker } from "../tracker";

function forms(tracker: Tracker, options: Options): void {
  addEventListener(
    "submit",
    (event) =>
      attempt(() => {
        const form = event.target as HTMLFormElement;
        // Not form.id or form.action: a field of that name hides them.
        const given = (name: string): string => form.getAttribute(name) || "";
        const action = clean(new URL(given("action"), document.baseURI).href.split("#")[0] as string, options);
        tracker.track("form_submit", { form: given("id") || given("name"), action });
      }),
    true,
  );
}

export default guarded(forms);
