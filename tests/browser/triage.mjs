// Drives the review page in a real Chromium: node triage.mjs URL FOLDER CHROMIUM. The folder gets screenshots.
// Any failed check ends it with an error; what was measured is printed as one JSON object.

import assert from "node:assert/strict";
import { accessible, firstPaint, open, reads, settled, text, times } from "./chromium.mjs";

const [url, folder, executablePath] = process.argv.slice(2);
const { page, shot, close } = await open(executablePath, folder);
const measured = {};

try {
  const p = await page();
  const start = performance.now();
  await p.goto(url);
  await p.waitForFunction(() => document.body.dataset.ready);
  measured.firstPaintMs = await firstPaint(p);
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
  await reads(p, "#zoom-text", /^100 %$/);
  await p.keyboard.press("h");
  await settled(p);
  await shot(p, "3-heat");
  await p.keyboard.press("z");
  await reads(p, "#zoom-text", /^Fit/);
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
  const names = [];
  for (let i = 0; i < 50; i++) {
    names.push(await text(p, "#name"));
    const key = "ARF"[i % 3];
    await p.keyboard.press(key);
    await settled(p);
    if (i === 4) await shot(p, "7-under-way");
    // A person needs a moment, which the next picture uses.
    await p.waitForTimeout(60);
  }
  assert.equal(new Set(names).size, 50, "fifty different pictures");
  measured.nextMs = await times(p);
  assert.match(await text(p, "#left"), /^50 of /);

  // Undo goes back to the picture and takes only its verdict.
  await p.keyboard.press("u");
  assert.equal(await text(p, "#name"), names[49]);
  assert.match(await text(p, "#left"), /^49 of /);
  assert.equal(await p.locator("#reject").getAttribute("aria-pressed"), "false");
  await p.keyboard.press("a");
  await p.waitForTimeout(300);

  // Reload keeps the state, and what can be undone.
  await p.reload();
  await settled(p);
  assert.match(await text(p, "#left"), /^50 of /);
  await p.keyboard.press("u");
  assert.equal(await text(p, "#name"), names[49]);
  assert.match(await text(p, "#left"), /^49 of /);
  await p.keyboard.press("a");
  await p.waitForTimeout(300);
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
  await close();
}
