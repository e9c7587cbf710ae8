// Builds the scripts that the tracking API serves, and the package.
import { readdirSync } from "node:fs";
import { build } from "esbuild";

const shared = { bundle: true, minify: true, target: "es2021", legalComments: "none" };
// Names that only the tracker's own parts call each other by; none of a browser's.
const own = { mangleProps: /^(recall|remember|forget|putBack|schedule|leave|take|names)$/ };
const served = "../clickstream/tracking_api/static";
const banner = { js: "/* clickstream */" };
const modules = readdirSync("src/modules").filter((name) => name !== "found.ts").map((name) => `src/modules/${name}`);
await build({ ...shared, ...own, entryPoints: ["src/tag.ts"], format: "iife", outfile: `${served}/tracker.js`, banner });
await build({ ...shared, entryPoints: modules, format: "esm", outdir: `${served}/tracker`, banner });
await build({ ...shared, ...own, entryPoints: ["src/index.ts"], format: "esm", outfile: "dist/clickstream.js" });
await build({ ...shared, entryPoints: modules, format: "esm", outdir: "dist/modules" });
