// Holds pages against axe-core in Chromium, folds opened, light at 1280 and dark at 400 pixels; 1 where one has a violation,
// is wider than the screen, or cuts something off.
//
//     npm install axe-core puppeteer-core && node axe.mjs report.html...     in a folder of its own; CHROMIUM names the browser
//
// A view of a long page takes axe a minute or more on a busy machine: it asks of each text what lies behind it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve(process.cwd(), "package.json"));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const VIEWS = [[1280, "light"], [400, "dark"]];
const PATIENCE = 20 * 60 * 1000;

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"], protocolTimeout: PATIENCE });
let bad = 0;
for (const file of process.argv.slice(2)) {
  for (const [width, scheme] of VIEWS) {
    const page = await browser.newPage();
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.goto(`file://${resolve(file)}`);
    await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
    await page.evaluate(axe);
    const begun = Date.now();
    const { violations, incomplete, passes } = await page.evaluate(() => axe.run({ resultTypes: ["violations", "incomplete"] }));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    const cut = await page.evaluate(() => [...document.querySelectorAll("body *")].filter((one) =>
      getComputedStyle(one).overflowX === "hidden" && one.scrollWidth > one.clientWidth + 1).map((one) => one.className || one.tagName));
    bad += violations.length + (wide > width ? 1 : 0) + cut.length;
    console.log(`${file} ${width} ${scheme}: ${violations.length} violations, ${incomplete.length} rules undecided, ${passes.length} passed, `
      + `${wide > width ? `WIDER than the screen (${wide})` : "as wide as the screen"}, ${Math.round((Date.now() - begun) / 1000)} s`);
    if (cut.length) console.log(`  cut off: ${cut.slice(0, 5).join(", ")}`);
    for (const one of violations) console.log(`  ${one.id}: ${one.help}: ${one.nodes.length} x ${one.nodes[0].html.slice(0, 160)}`);
    for (const one of incomplete) console.log(`  undecided ${one.id}: ${one.nodes.length} x ${one.nodes[0].any.concat(one.nodes[0].all)[0]?.message ?? ""}`);
    await page.close();
  }
}
await browser.close();
process.exit(bad ? 1 : 0);
