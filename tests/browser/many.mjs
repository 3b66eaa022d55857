// How a large folder opens and how fast its next picture comes: node many.mjs URL FOLDER CHROMIUM. One JSON object.

import { firstPaint, open, settled, text, times } from "./chromium.mjs";

const [url, folder, executablePath] = process.argv.slice(2);
const { page, shot, close } = await open(executablePath, folder);
try {
  const p = await page();
  const start = performance.now();
  await p.goto(url);
  await settled(p);
  const measured = { pictures: await text(p, "#position"), firstPictureMs: Math.round(performance.now() - start), firstPaintMs: await firstPaint(p) };
  for (let i = 0; i < 30; i++) {
    const name = await text(p, "#name");
    await p.keyboard.press("ar"[i % 2]);
    await p.waitForFunction((n) => document.getElementById("name").textContent !== n, name);
    await settled(p);
    await p.waitForTimeout(250);
  }
  measured.nextMs = await times(p);
  await p.keyboard.press("c");
  await p.waitForSelector(".grid img");
  await p.waitForTimeout(800);
  await shot(p, "many-sheet");
  console.log(JSON.stringify(measured));
} finally {
  await close();
}
