/** Clicks on links that leave the site, and on files. */

import { clean } from "../page";
import { attempt, guarded } from "../safe";
import type { Options, Tracker } from "../tracker";
import { found } from "./found";

const FILE =
  /\.(7z|avi|csv|dmg|docx?|epub|exe|gz|iso|jar|key|mkv|mov|mp[34]|mpe?g|msi|numbers|od[pst]|pages|pdf|pkg|pptx?|rar|rtf|tar|tgz|txt|wav|wmv|xlsx?|zip)$/i;

function links(tracker: Tracker, options: Options): void {
  const clicked = (event: MouseEvent): void =>
    attempt(() => {
      const link = found<HTMLAnchorElement>(event, "a[href]");
      if (event.button > 1 || !link || !/^https?:$/.test(link.protocol)) return;
      const url = clean(link.href, options);
      if (link.hasAttribute("download") || FILE.test(link.pathname)) tracker.track("download", { url });
      else if (link.host !== location.host) tracker.track("outbound_link", { url });
    });
  addEventListener("click", clicked, true);
  addEventListener("auxclick", clicked, true); // the middle button
}

export default guarded(links);
