/* The products as line drawings on a 48 × 48 field: SVG paths, so that no font or image file decides how the shop looks. */
"use strict";

const DRAWINGS = {
  "item-1": "M17 9 8 14l4 8 4-2v20h16V20l4 2 4-8-9-5a7 7 0 0 1-14 0ZM24 16v24M24 22h.1M24 28h.1M24 34h.1",
  "item-2": "M18 7h11v17l7 8a6 6 0 0 1-8 8L18 31V7ZM18 13h11M18 31c4 0 6-2 6-6M36 32c-3 1-5 3-5 8",
  "item-3": "M18 8 9 13l-2 25h7V22M30 8l9 5 2 25h-7V22M18 8l6 6 6-6M14 22v19h20V22M24 14v27M17 31h4M27 31h4",
  "item-4": "M10 32c0-14 6-19 14-19s14 5 14 19M8 32h32v8H8ZM16 32v8M24 32v8M32 32v8M24 13a4 4 0 1 0-.1 0M17 29c0-7 2-11 7-15M31 29c0-7-2-11-7-15",
  "item-5": "M11 15h22v22a4 4 0 0 1-4 4H15a4 4 0 0 1-4-4ZM33 19h3a5 5 0 0 1 5 5v3a5 5 0 0 1-5 5h-3M11 20h22M18 6c-2 2 2 3 0 5M26 6c-2 2 2 3 0 5",
  "item-6": "M8 16h23v20H8ZM31 22h9a4 4 0 0 1 0 8h-9M39 26h.1M13 21c5-2 8 2 13 0M13 27c5-2 8 2 13 0M13 32c5-2 8 2 13 0",
  "item-7": "M19 12a13 13 0 1 0 .1 0ZM19 17a8 8 0 1 0 .1 0ZM30 16l11-9 2 3-10 9",
  "item-8": "M14 22c0-5 4-7 9-7s9 2 9 7l3 18H11ZM16 15h14M21 15v-3h4v3M34 27h4c5 0 5 10-2 10M12 33C7 31 9 22 4 20",
  "item-9": "M12 41h20M22 41V26L15 14M15 14l9-6 14 12-15 9ZM31 24c3 0 5-1 5-4",
  "item-10": "M8 12h32v20H8ZM8 32v7M13 32v7M18 32v7M24 32v7M30 32v7M35 32v7M40 32v7M8 18h32M8 23h32M16 12v20M32 12v20",
  "item-11": "M12 28h24v5H12ZM14 33l3 9h14l3-9M24 28V15M24 20c-9 0-11-5-11-11 8 0 11 4 11 11ZM24 17c0-6 3-9 10-9 0 7-4 10-10 10",
  "item-12": "M15 22h18v20H15ZM15 27c4 4 6-2 9 1s6 2 9-1M24 22v-4M24 18c-5-4-1-8 0-12 1 4 5 8 0 12Z",
  "item-13": "M13 18h22v20a4 4 0 0 1-4 4H17a4 4 0 0 1-4-4ZM15 18V9h18v9M13 12h22M18 27h12v9H18ZM18 31h12M13 26H9v11h4M35 26h4v11h-4M20 9V6h8v3",
  "item-14": "M11 8h26v32H11ZM16 8v32M27 17a6 6 0 1 0 .1 0ZM21 23h12M27 17c-4 4-4 8 0 12M27 17c4 4 4 8 0 12M21 35h12",
  "item-15": "M7 26h20v15H7ZM21 26V15h20v20H27M7 31h20M21 20h20M14 35h6M28 25h6M12 26V11h15v4M12 15h9",
  "item-16": "M17 17h14v21a4 4 0 0 1-4 4h-6a4 4 0 0 1-4-4ZM17 17c0-4 2-4 2-8h10c0 4 2 4 2 8M18 5h12v4H18ZM17 24h14M17 34h14",
};
const MARKS = {
  basket: "M8 20h32l-4 20H12ZM15 20l7-12M33 20l-7-12M18 26v8M24 26v8M30 26v8",
  sprout: "M24 42V22M24 30c-12 0-14-7-14-14 10 0 14 5 14 14ZM24 24c0-8 4-12 14-12 0 9-5 13-14 13M14 42h20",
  compass: "M24 6a18 18 0 1 0 .1 0ZM31 17l-4 10-10 4 4-10ZM24 24h.1",
};

function drawing(path) {
  const name = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(name, "svg");
  svg.setAttribute("viewBox", "0 0 48 48");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(name, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}
