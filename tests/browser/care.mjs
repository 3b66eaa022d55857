// What a person must not lose, in a real Chromium: node care.mjs URL FOLDER CHROMIUM. The folder gets screenshots.

import assert from "node:assert/strict";
import { accessible, open, reads, settled, text } from "./chromium.mjs";

const [url, folder, executablePath] = process.argv.slice(2);
const { page, shot, close } = await open(executablePath, folder);
const focused = (p) => p.evaluate(() => document.activeElement.id || (document.activeElement.closest("#sheet .grid") ? "card" : document.activeElement.tagName));

try {
  // What the numbers count, and a file that is there twice.
  const p = await page({ viewport: { width: 1400, height: 900 } });
  await p.goto(url);
  await settled(p);
  const [, all] = (await text(p, "#left")).match(/^0 of (\d+) to look at decided · 31 pictures in all$/);
  const decided = (tab, n) => reads(tab, "#left", new RegExp(`^${n} of ${all} to look at`));
  assert.match(await text(p, "#position"), /^1 \/ 31$/);
  assert.match(await text(p, "#state"), /Same file as portraits\/copy\.png/);

  // Buttons stand where they stand, whatever is shown.
  const gap = () => p.evaluate(() => document.querySelector(".segments").getBoundingClientRect().left - document.getElementById("undo").getBoundingClientRect().right);
  const width = await p.evaluate(() => document.getElementById("heat").offsetWidth);
  const shown = [];
  for (let i = 0; i < 3; i++) {
    await p.keyboard.press("h");
    await settled(p);
    shown.push((await p.locator("#labels span").allInnerTexts()).find((t) => t.includes("heat: ")));
    assert.ok((await gap()) >= 0, `${shown.at(-1)}: ${await gap()}`);
    assert.equal(await p.evaluate(() => document.getElementById("heat").offsetWidth), width);
    if (i === 1) await shot(p, "care-heat");
  }
  assert.deepEqual(shown.map((s) => s.split("heat: ")[1]).sort(), ["Checkerboard", "Hallucination", "Micro-noise"]);
  assert.equal(await p.locator("#heat").getAttribute("aria-pressed"), "true");
  await accessible(p, "heat");

  // A note that was typed a moment ago outlives a reload, and one that is being typed the end of the page.
  await p.keyboard.press("m");
  await p.keyboard.type("hands");
  await p.reload();
  await settled(p);
  assert.equal(await p.locator("#note").inputValue(), "hands");
  await p.keyboard.press("m");
  await p.keyboard.type(", both");
  await p.goto("about:blank");
  await p.goto(url);
  await settled(p);
  assert.match(await p.locator("#note").inputValue(), /, both/);

  // A verdict on one is a verdict on both.
  await p.keyboard.press("a");
  await reads(p, "#stamp", /Approved, also portraits\/copy\.png/);
  await decided(p, 2);
  await p.keyboard.press("u");
  await decided(p, 0);
  await p.keyboard.press("a");
  await settled(p);

  // The keyboard stays where the eye is.
  await p.keyboard.press("c");
  await p.waitForSelector(".grid img");
  assert.equal(await focused(p), "card");
  await p.keyboard.press("Tab");
  await p.keyboard.press("Enter");
  await settled(p);
  assert.equal(await focused(p), "canvas");
  await shot(p, "care-back");
  await p.context().close();

  // The longest line of the header fits a telephone.
  const small = await page({ viewport: { width: 390, height: 800 } });
  await small.goto(url);
  await settled(small);
  await small.evaluate(() => { document.getElementById("left").textContent += ", under a minute left · 12345 pictures in all"; });
  assert.equal(await small.evaluate(() => document.documentElement.scrollWidth), 390);
  await small.context().close();

  // Two tabs: the second one hears of the first before it overrules it.
  const expected = /409/;
  const [a, b] = [await page({ expected }), await page({ expected })];
  for (const tab of [a, b]) {
    await tab.goto(url);
    await settled(tab);
  }
  const name = await text(a, "#name");
  assert.equal(await text(b, "#name"), name);
  await a.keyboard.press("r");
  await settled(a);
  await a.waitForTimeout(300);
  await b.keyboard.press("a");
  await reads(b, "#stamp", /^Another tab rejected .*: press again to change it$/);
  assert.equal(await text(b, "#name"), name);
  assert.equal(await b.locator("#reject").getAttribute("aria-pressed"), "true");
  await shot(b, "care-another-tab");
  await b.keyboard.press("f");
  await b.waitForTimeout(300);
  await b.reload();
  await settled(b);
  await decided(b, 3);
} finally {
  await close();
}
