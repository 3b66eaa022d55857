// Drives the review page in a real Chromium: node triage.mjs URL FOLDER CHROMIUM. The folder gets screenshots.
// Any failed check ends it with an error; what was measured is printed as one JSON object.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const [url, folder, executablePath] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const measured = {};

async function page(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "dark", ...options });
  const p = await context.newPage();
  p.on("pageerror", (e) => { throw e; });
  p.on("console", (m) => { if (m.type() === "error") throw new Error(`console: ${m.text()}`); });
  return p;
}
const settled = (p) => p.waitForFunction(() => document.body.dataset.ready && document.getElementById("canvas").dataset.settled === "true");
const text = (p, id) => p.locator(id).innerText();
const shot = (p, name) => p.screenshot({ path: `${folder}/${name}.png` });
async function accessible(p, where) {
  // The page's own policy forbids inline scripts; the check comes in through the debugger.
  await p.evaluate(axe);
  const found = await p.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const told = found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(" ")}`);
  assert.deepEqual(told, [], where);
}

try {
  const p = await page();
  const start = performance.now();
  await p.goto(url);
  await p.waitForFunction(() => document.body.dataset.ready);
  measured.firstPaintMs = Math.round(await p.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
  await settled(p);
  measured.firstPictureMs = Math.round(performance.now() - start);
  assert.match(await text(p, "#position"), /^1 \/ /);
  assert.equal(await p.locator("#findings li").count(), 2);
  await shot(p, "1-review-dark");
  await accessible(p, "review, dark");

  // Looking.
  await p.keyboard.press("v");
  assert.ok(await p.locator("#divider").isVisible());
  await p.locator("#divider").focus();
  await p.keyboard.press("ArrowLeft");
  assert.equal(await p.locator("#divider").getAttribute("aria-valuenow"), "48");
  await settled(p);
  await shot(p, "2-swipe");
  await accessible(p, "swipe");
  await p.locator("#canvas").focus();
  await p.keyboard.press("v");
  await p.keyboard.press("Space");
  await settled(p);
  assert.equal(await p.locator("#labels span").count(), 1);
  await p.keyboard.press("v");
  await p.keyboard.press("2");
  assert.equal(await p.locator("#findings [aria-current=true] .number").innerText(), "2");
  assert.equal((await text(p, "#zoom-text")).trim(), "100 %");
  await p.keyboard.press("h");
  await settled(p);
  await shot(p, "3-heat");
  await p.keyboard.press("z");
  assert.match(await text(p, "#zoom-text"), /^Fit/);
  await settled(p);
  await shot(p, "4-fit");
  await p.keyboard.press("/");
  await shot(p, "5-filter");
  await accessible(p, "filter");
  await p.locator("#f-detector").selectOption("micro_noise");
  assert.match(await text(p, "#position"), /^1 \/ 25$/);
  await p.locator("#f-clear").click();
  await p.keyboard.press("Escape");
  await p.locator("#canvas").focus();
  await p.keyboard.press("?");
  await shot(p, "6-help");
  await accessible(p, "help");
  await p.keyboard.press("Escape");

  // A note is text: letters in it are no commands.
  await p.keyboard.press("m");
  await p.keyboard.type("hand again, finger");
  await p.keyboard.press("Escape");
  assert.equal(await p.locator("#note").inputValue(), "hand again, finger");

  // Fifty pictures by keyboard alone.
  const times = [];
  const names = [];
  for (let i = 0; i < 50; i++) {
    names.push(await text(p, "#name"));
    const key = "ARF"[i % 3];
    const before = performance.now();
    await p.keyboard.press(key);
    await settled(p);
    times.push(performance.now() - before);
    if (i === 4) await shot(p, "7-under-way");
    // A person needs a moment, which the next picture uses.
    await p.waitForTimeout(60);
  }
  assert.equal(new Set(names).size, 50, "fifty different pictures");
  times.sort((a, b) => a - b);
  measured.nextMs = { median: Math.round(times[25]), worst: Math.round(times[49]) };
  assert.match(await text(p, "#left"), /^50 of /);

  // Undo goes back to the picture and takes only its verdict.
  await p.keyboard.press("u");
  assert.equal(await text(p, "#name"), names[49]);
  assert.match(await text(p, "#left"), /^49 of /);
  assert.equal(await p.locator("#reject").getAttribute("aria-pressed"), "false");
  await p.keyboard.press("a");
  await p.waitForTimeout(300);

  // Reload keeps the state.
  await p.reload();
  await settled(p);
  assert.match(await text(p, "#left"), /^50 of /);
  await p.keyboard.press("c");
  await p.waitForSelector(".grid img");
  await p.waitForTimeout(600);
  await shot(p, "8-contact-sheet");
  await accessible(p, "contact sheet");
  const marks = async (kind) => p.locator(`.grid .mark.${kind}`).count();
  assert.deepEqual([await marks("approved"), await marks("rejected"), await marks("repair")], [18, 16, 16]);
  assert.ok((await p.getByText("not reviewed").count()) > 0);
  await p.getByRole("button", { name: /^Approve all \d+$/ }).last().click();
  await p.waitForTimeout(300);
  assert.equal(await p.getByText("not opened").count() > 0, true);

  // Light, and a narrow window.
  const light = await page({ colorScheme: "light" });
  await light.goto(url);
  await settled(light);
  await shot(light, "9-review-light");
  await accessible(light, "review, light");
  await light.keyboard.press("c");
  await light.waitForSelector(".grid img");
  await light.waitForTimeout(600);
  await shot(light, "10-contact-sheet-light");
  await accessible(light, "contact sheet, light");
  const narrow = await page({ viewport: { width: 480, height: 900 } });
  await narrow.goto(url);
  await settled(narrow);
  await shot(narrow, "11-narrow");
  await accessible(narrow, "narrow");
  console.log(JSON.stringify(measured));
} finally {
  await browser.close();
}
