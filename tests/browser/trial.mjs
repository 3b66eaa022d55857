// Triages a whole folder by keyboard, as a person who sees every planted defect: node trial.mjs URL FOLDER CHROMIUM BAD.json.
// BAD.json lists the pictures to reject. Screenshots of it, light and dark, at two sizes; what was measured as one JSON object.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { accessible, firstPaint, open, settled, text, times } from "./chromium.mjs";

const [url, folder, executablePath, list] = process.argv.slice(2);
const bad = new Set(JSON.parse(await readFile(list, "utf8")));
const { page, shot, close } = await open(executablePath, folder);
const measured = {};

/** What an art director sees first, at a size and in a colour scheme. */
async function look(name, viewport, colorScheme) {
  const p = await page({ viewport, colorScheme });
  await p.goto(url);
  await settled(p);
  await shot(p, `${name}-crop`);
  await accessible(p, `${name}: crop`);
  await p.keyboard.press("z");
  await settled(p);
  await shot(p, `${name}-whole`);
  await p.keyboard.press("?");
  await shot(p, `${name}-help`);
  await accessible(p, `${name}: help`);
  await p.keyboard.press("Escape");
  await p.keyboard.press("c");
  await p.waitForSelector(".grid img");
  await p.waitForTimeout(800);
  await shot(p, `${name}-sheet`);
  await accessible(p, `${name}: contact sheet`);
  const letters = p.locator(".pairs").first();
  if (await letters.count()) {
    await letters.scrollIntoViewIfNeeded();
    await p.waitForTimeout(800);
    await shot(p, `${name}-lettering`);
    await accessible(p, `${name}: lettering`);
  }
  await p.context().close();
}

try {
  await look("dark-1440", { width: 1440, height: 900 }, "dark");
  await look("light-1440", { width: 1440, height: 900 }, "light");
  await look("dark-1024", { width: 1024, height: 768 }, "dark");
  await look("light-1024", { width: 1024, height: 768 }, "light");

  const p = await page();
  await p.goto(url);
  await settled(p);
  measured.firstPaintMs = await firstPaint(p);
  const total = Number((await text(p, "#position")).split("/")[1]);
  const seen = [];
  for (let i = 0; i < total; i++) {
    const name = await text(p, "#name");
    seen.push(name);
    await p.keyboard.press(bad.has(name) ? "r" : "a");
    if (i + 1 < total) {
      await p.waitForFunction((n) => document.getElementById("name").textContent !== n, name);
      await settled(p);
      // A person needs a moment, which the coming pictures use.
      await p.waitForTimeout(60);
    }
  }
  assert.equal(new Set(seen).size, total, "every picture once");
  measured.nextMs = await times(p);
  measured.order = seen.flatMap((n, i) => (bad.has(n) ? [i + 1] : []));
  await p.waitForSelector("#sheet .summary");
  await p.waitForTimeout(800);
  await shot(p, "done");
  await accessible(p, "done");
  assert.match(await text(p, "#sheet .summary"), new RegExp(`^✓ ${total - bad.size} approved, ✕ ${bad.size} rejected, ↻ 0 to repair\\. All that had to be`));
  console.log(JSON.stringify(measured));
} finally {
  await close();
}
