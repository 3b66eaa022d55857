// A real Chromium for the tests of the review page: what all of them share.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A browser; screenshots go to `folder`. */
export async function open(executablePath, folder) {
  const browser = await chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  return {
    close: () => browser.close(),
    /** A page that fails the test on any error but `expected` ones; 1440 x 900, dark, unless told. */
    async page({ expected, ...options } = {}) {
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "dark", ...options });
      const p = await context.newPage();
      p.on("pageerror", (e) => { throw e; });
      p.on("console", (m) => { if (m.type() === "error" && !expected?.test(m.text())) throw new Error(`console: ${m.text()}`); });
      await p.addInitScript(stopwatch);
      return p;
    },
    shot: (p, name) => p.screenshot({ path: `${folder}/${name}.png` }),
  };
}

/** Times from a key that gives a verdict to the end of the frame in which the next picture stands complete. */
function stopwatch() {
  window.nextTimes = [];
  addEventListener("keydown", (e) => {
    if (!"arf".includes(e.key.toLowerCase()) || e.target.matches("textarea, input")) return;
    const name = document.getElementById("name");
    const before = name.textContent;
    const check = () => {
      const canvas = document.getElementById("canvas");
      if (name.textContent !== before && canvas.dataset.settled === "true") window.nextTimes.push(performance.now() - e.timeStamp);
      else if (performance.now() - e.timeStamp < 10_000) requestAnimationFrame(() => setTimeout(check));
    };
    requestAnimationFrame(() => setTimeout(check));
  }, true);
}

/** Median, 95th percentile and worst of the times so far, ms. */
export async function times(p) {
  const all = (await p.evaluate(() => window.nextTimes)).sort((a, b) => a - b).map(Math.round);
  const at = (q) => all[Math.min(all.length - 1, Math.floor(all.length * q))];
  return { n: all.length, median: at(0.5), p95: at(0.95), worst: all.at(-1) };
}

export const firstPaint = async (p) => Math.round(await p.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
export const text = (p, id) => p.locator(id).innerText();

/** The picture stands complete; what a key asked for is drawn in the next frame, so that one is let go by first. */
export async function settled(p) {
  await p.evaluate(() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go))));
  await p.waitForFunction(() => document.body.dataset.ready && document.getElementById("canvas").dataset.settled === "true");
}

/** Waits until an element's text is as it should be. */
export const reads = (p, id, expected) =>
  p.waitForFunction(([id, source]) => new RegExp(source).test(document.querySelector(id).textContent.trim()), [id, expected.source]);

export async function accessible(p, where) {
  // The page's own policy forbids inline scripts; the check comes in through the debugger.
  await p.evaluate(axe);
  const found = await p.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const told = found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(" ")}`);
  assert.deepEqual(told, [], where);
}
