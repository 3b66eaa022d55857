"use strict";
// The picture: one canvas, one to three panes that show the same spot of source, result and repair. A place is looked at beside
// the source, the whole picture alone, as large as it goes, unless somebody says otherwise.
// Positions are in pixels of the result; zoom is screen pixels per pixel of the result, so 1 is 100 % on any screen.

/** Decoded pixels. An image element is decoded when it is first drawn, which the eye would have to wait for. */
async function pixels(url, options) {
  if (location.protocol === "file:") {
    const image = new Image();
    image.src = url;
    await image.decode();
    return image;
  }
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error(await answer.text());
  return createImageBitmap(await answer.blob());
}

/** Images by address: loaded once, the last used kept, what nobody waits for any more is called off. */
class Tiles {
  constructor(changed) {
    this.changed = changed;
    this.kept = new Map();
  }

  /** The image, if it is there; otherwise it is asked for, behind others if it is not needed `now`. */
  get(url, now = true) {
    let tile = this.kept.get(url);
    if (!tile) {
      tile = this.load(url, now);
    } else {
      this.kept.delete(url);
      this.kept.set(url, tile);
    }
    return tile.image;
  }

  failed(url) { return this.kept.get(url)?.failed ?? false; }

  load(url, now) {
    const stop = new AbortController();
    const tile = { image: null, failed: false, over: false, stop };
    this.kept.set(url, tile);
    const end = (image) => {
      if (tile.over) return image?.close?.();
      tile.over = true;
      tile.image = image;
      tile.failed = !image;
      this.changed();
    };
    pixels(url, { signal: stop.signal, priority: now ? "high" : "low" }).then(end, () => end(null));
    // 512 x 512 pixels each: a quarter of a gigabyte.
    while (this.kept.size > 256) {
      const [oldest, t] = this.kept.entries().next().value;
      if (!t.over) break;
      t.image?.close?.();
      this.kept.delete(oldest);
    }
    return tile;
  }

  /** Calls off loading what `wanted` does not hold. */
  keepOnly(wanted) {
    for (const [url, tile] of this.kept) {
      if (tile.over || wanted.has(url)) continue;
      tile.over = true;
      tile.stop.abort();
      this.kept.delete(url);
    }
  }
}

class View {
  /** `pieces(picture, side, area, zoom)` tells which images cover `area` = [x, y, w, h], those marked `coarse` first. */
  constructor(stage, pieces, moved) {
    this.stage = stage;
    this.canvas = stage.querySelector("canvas");
    this.labels = stage.querySelector("#labels");
    this.divider = stage.querySelector("#divider");
    this.map = document.getElementById("map");
    this.pieces = pieces;
    this.moved = moved;
    this.modes = { whole: "one", place: "side" };
    this.looking = "place";
    this.split = 0.5;
    this.turn = 0;
    this.marks = true;
    this.picture = null;
    this.idle = null;
    /** The name of a detector, for people. */
    this.named = (detector) => detector;
    this.tiles = new Tiles(() => this.draw());
    this.colours = getComputedStyle(document.documentElement);
    new ResizeObserver(() => this.resize()).observe(stage);
    this.listen();
    this.resize();
  }

  /**
   * Shows a picture: { width, height, sides: [{ id, label }], boxes: [[x, y, w, h]], flagged }, at a box or whole. The first
   * `flagged` boxes are findings, the others places to compare.
   */
  show(picture, box) {
    this.picture = picture;
    this.heat = null;
    this.turn = 0;
    this.canvas.dataset.settled = false;
    this.go(box);
    const wanted = this.panes().flatMap((pane) => this.covering(picture, pane));
    this.tiles.keepOnly(new Set(wanted.map((p) => p.url)));
  }

  clear() {
    this.picture = null;
    this.map.hidden = true;
    this.draw();
  }

  /** How the sides are laid out now: `one`, `side`, `swipe` or `blink`. */
  get mode() { return this.modes[this.looking]; }

  /** Moves to box number `box` at 100 %, or to the whole picture. */
  go(box) {
    if (!this.picture) return;
    this.box = box;
    this.turnTo(this.aim(this.picture, box));
  }

  fit() {
    if (this.picture) this.turnTo(this.aim(this.picture, -1));
  }

  turnTo(aim) {
    Object.assign(this, aim);
    this.settle();
    this.draw();
  }

  /** Where to look for a box of a picture, or for the whole of it, and how. */
  aim(picture, box) {
    const b = picture.boxes[box];
    const how = { looking: b ? "place" : "whole", stacked: this.stacks(picture, Boolean(b)) };
    if (b) return this.clamp(picture, { x: b[0] + b[2] / 2, y: b[1] + b[3] / 2, zoom: 1, fitted: false, ...how });
    return { x: picture.width / 2, y: picture.height / 2, zoom: this.fitting(picture, how), fitted: true, ...how };
  }

  fitting(picture, how = this) {
    const pane = this.panes(picture, 0, how)[0];
    const room = 24 * this.ratio;
    return Math.max(0.001, Math.min(1, (pane.w - room) / picture.width, (pane.h - room) / picture.height));
  }

  /** Whether sides lie better one over the other: a place is seen best in square panes, a whole picture where it is largest. */
  stacks(picture, place) {
    const [w, h] = [this.canvas.width, this.canvas.height];
    const n = picture.sides.length;
    const [width, height] = place ? [1, 1] : [picture.width, picture.height];
    const largest = (w, h) => Math.min(w / width, h / height);
    return largest(w, h / n) > largest(w / n, h);
  }

  /** Zooms by a factor, keeping the point under screen position (px, py) of a pane where it is. */
  zoomBy(factor, at) {
    this.zoomTo(this.zoom * factor, at);
  }

  zoomTo(zoom, at) {
    if (!this.picture) return;
    const least = Math.min(this.fitting(this.picture), 0.05);
    const next = Math.max(least, Math.min(16, zoom));
    const pane = this.paneAt(at) ?? this.panes()[0];
    const [dx, dy] = at ? [at[0] - pane.x - pane.w / 2, at[1] - pane.y - pane.h / 2] : [0, 0];
    this.x += dx / this.zoom - dx / next;
    this.y += dy / this.zoom - dy / next;
    this.zoom = next;
    this.fitted = false;
    this.clamp();
    this.draw();
  }

  /** Between the whole picture and 100 %. */
  toggleZoom(at) {
    if (!this.picture) return;
    const box = this.picture.boxes[this.box];
    if (this.fitted && !at && box) this.go(this.box);
    else if (this.fitted) this.look(at);
    else if (Math.abs(this.zoom - 1) > 1e-6) this.zoomTo(1, at);
    else this.fit();
  }

  /** To 100 % at a position on the screen, or in the middle. */
  look(at) {
    const pane = this.paneAt(at) ?? this.panes()[0];
    const [ox, oy] = this.origin(pane);
    const [x, y] = at ? [(at[0] - ox) / this.zoom, (at[1] - oy) / this.zoom] : [this.x, this.y];
    const how = { looking: "place", stacked: this.stacks(this.picture, true) };
    this.turnTo(this.clamp(this.picture, { x, y, zoom: 1, fitted: false, ...how }));
  }

  pan(dx, dy) {
    this.x -= dx / this.zoom;
    this.y -= dy / this.zoom;
    this.fitted = false;
    this.clamp();
    this.draw();
  }

  /** Keeps the picture over the pane: centred where it is smaller, without a gap where it is larger. */
  clamp(picture = this.picture, at = this) {
    if (!picture) return at;
    const pane = this.panes(picture, 0, at)[0];
    const along = (v, all, room) => (all <= room ? all / 2 : Math.max(room / 2, Math.min(all - room / 2, v)));
    at.x = along(at.x, picture.width, pane.w / at.zoom);
    at.y = along(at.y, picture.height, pane.h / at.zoom);
    return at;
  }

  setMode(mode) {
    this.modes[this.looking] = mode;
    this.turn = 0;
    this.settle();
    if (this.fitted) this.fit();
    this.clamp();
    this.draw();
  }

  /** Brings what belongs to a mode in line with it. */
  settle() {
    const several = (this.picture?.sides.length ?? 0) > 1;
    this.divider.hidden = this.mode !== "swipe" || !several;
    const blinks = this.mode === "blink" && several && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!blinks) this.blinking = clearInterval(this.blinking);
    else this.blinking ??= setInterval(() => { this.turn++; this.draw(); }, 700);
  }

  /** Puts the next side first; a blink then waits for the next call. */
  swap() {
    clearInterval(this.blinking);
    this.turn++;
    this.draw();
  }

  setSplit(split) {
    this.split = Math.max(0, Math.min(1, split));
    this.divider.setAttribute("aria-valuenow", Math.round(this.split * 100));
    this.draw();
  }

  resize() {
    this.ratio = window.devicePixelRatio || 1;
    const box = this.stage.getBoundingClientRect();
    [this.canvas.width, this.canvas.height] = [Math.max(1, Math.round(box.width * this.ratio)), Math.max(1, Math.round(box.height * this.ratio))];
    if (this.fitted) this.fit();
    this.clamp();
    this.paint();
  }

  /** The sides in the order they are shown. */
  order(picture, turn) {
    const sides = picture?.sides ?? [];
    return sides.map((_, i) => sides[(i + turn) % sides.length]);
  }

  /** Rectangles on the canvas, each with its side; `how` they lie there: { looking, stacked }. */
  panes(picture = this.picture, turn = this.turn, how = this) {
    const [w, h] = [this.canvas.width, this.canvas.height];
    const mode = this.modes[how.looking];
    // Alone, the result comes first.
    const first = mode === "one" ? Math.max(0, picture?.sides.findIndex((s) => s.id === "result") ?? 0) : 0;
    const sides = this.order(picture, turn + first);
    const whole = { x: 0, y: 0, w, h };
    if (sides.length < 2 || mode === "one") return [{ ...whole, side: sides[0], clip: whole }];
    if (mode === "swipe") {
      const at = Math.round(w * this.split);
      return [
        { ...whole, side: sides[0], clip: { x: 0, y: 0, w: at, h } },
        { ...whole, side: sides[1], clip: { x: at, y: 0, w: w - at, h } },
      ];
    }
    if (mode === "blink") return [{ ...whole, side: sides[0], clip: whole }];
    const gap = Math.round(2 * this.ratio);
    return sides.map((side, i) => {
      const cut = (all, k) => Math.round((all + gap) * k / sides.length);
      const pane = how.stacked
        ? { x: 0, w, y: cut(h, i), h: cut(h, i + 1) - gap - cut(h, i) }
        : { y: 0, h, x: cut(w, i), w: cut(w, i + 1) - gap - cut(w, i) };
      return { ...pane, side, clip: pane };
    });
  }

  paneAt(at) {
    return at && this.panes().find(({ clip: c }) => at[0] >= c.x && at[0] < c.x + c.w && at[1] >= c.y && at[1] < c.y + c.h);
  }

  /** Where a pane's picture begins on the canvas; whole screen pixels, so that 100 % is exact. */
  origin(pane, { x, y, zoom } = this) {
    return [Math.round(pane.x + pane.w / 2 - x * zoom), Math.round(pane.y + pane.h / 2 - y * zoom)];
  }

  /** The images that a pane needs. */
  covering(picture, pane, at = this, heat = this.heat) {
    const { clip } = pane;
    const [ox, oy] = this.origin(pane, at);
    const x = Math.max(0, (clip.x - ox) / at.zoom);
    const y = Math.max(0, (clip.y - oy) / at.zoom);
    const w = Math.min(picture.width, (clip.x + clip.w - ox) / at.zoom) - x;
    const h = Math.min(picture.height, (clip.y + clip.h - oy) / at.zoom) - y;
    if (!pane.side || !(w > 0 && h > 0)) return [];
    const list = this.pieces(picture, pane.side.id, [x, y, w, h], at.zoom);
    return heat && pane.side.id !== "source" ? list.concat(this.pieces(picture, `heat-${heat}`, [x, y, w, h], at.zoom)) : list;
  }

  /** Asks for what these pictures will need, each opened at its box, the first ones first, once nothing else is waited for. */
  prefetch(coming) {
    const urls = () => coming.flatMap(({ picture, box }) => {
      const aim = this.aim(picture, box);
      return this.panes(picture, 0, aim).flatMap((pane) => this.covering(picture, pane, aim, null).filter((p) => !p.coarse).map((p) => p.url));
    });
    const small = () => coming.flatMap(({ picture }) => this.small(picture)).map((p) => p.url);
    this.idle = () => [...urls(), ...small()].forEach((url) => this.tiles.get(url, false));
    this.draw();
  }

  /** The images that show the whole result at its smallest. */
  small(picture) {
    const all = this.pieces(picture, "result", [0, 0, picture.width, picture.height], 0.001);
    return all.filter((p) => p.w >= picture.width && p.h >= picture.height).slice(0, 1);
  }

  /** Where in the picture one is: the whole of it, small, with what the stage shows left bright. */
  overview() {
    this.map.hidden = this.fitted;
    if (this.fitted) return;
    const { width, height } = this.picture;
    const room = this.map.parentElement.clientWidth - 2 * parseFloat(getComputedStyle(this.map.parentElement).paddingLeft);
    const factor = Math.min(room / width, 180 / height) * this.ratio;
    const [w, h] = [Math.max(1, Math.round(width * factor)), Math.max(1, Math.round(height * factor))];
    if (this.map.width !== w || this.map.height !== h) {
      [this.map.width, this.map.height] = [w, h];
      [this.map.style.width, this.map.style.height] = [`${w / this.ratio}px`, `${h / this.ratio}px`];
    }
    const g = this.map.getContext("2d", { alpha: false });
    g.fillStyle = "#808080";
    g.fillRect(0, 0, w, h);
    g.imageSmoothingQuality = "high";
    for (const piece of this.small(this.picture)) {
      const image = this.tiles.get(piece.url);
      if (image) g.drawImage(image, 0, 0, w, h);
    }
    const pane = this.panes()[0];
    const along = (at, span, all) => [Math.max(0, at - span / 2), Math.min(all, at + span / 2)].map((v) => Math.round(v * factor));
    const [[x0, x1], [y0, y1]] = [along(this.x, pane.w / this.zoom, width), along(this.y, pane.h / this.zoom, height)];
    g.fillStyle = "rgb(0 0 0 / .5)";
    for (const r of [[0, 0, w, y0], [0, y1, w, h - y1], [0, y0, x0, y1 - y0], [x1, y0, w - x1, y1 - y0]]) g.fillRect(...r);
    g.lineWidth = this.ratio;
    g.strokeStyle = "#fff";
    g.strokeRect(x0 + 0.5, y0 + 0.5, x1 - x0 - 1, y1 - y0 - 1);
    const least = 4 * this.ratio;
    this.picture.boxes.slice(0, this.picture.flagged).forEach(([x, y, bw, bh]) => {
      const [mw, mh] = [Math.max(least, bw * factor), Math.max(least, bh * factor)];
      g.strokeStyle = "#ffc247";
      g.strokeRect((x + bw / 2) * factor - mw / 2, (y + bh / 2) * factor - mh / 2, mw, mh);
    });
  }

  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.paint();
    });
  }

  paint() {
    const g = this.canvas.getContext("2d", { alpha: false });
    g.fillStyle = this.colours.getPropertyValue("--stage").trim() || "#161616";
    g.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const panes = this.panes();
    this.label(panes);
    this.settled = true;
    if (!this.picture) return;
    let missing = 0;
    let broken = 0;
    for (const pane of panes) {
      g.save();
      g.beginPath();
      g.rect(pane.clip.x, pane.clip.y, pane.clip.w, pane.clip.h);
      g.clip();
      const [ox, oy] = this.origin(pane);
      const end = (o, n) => Math.round(o + n * this.zoom);
      g.fillStyle = "#808080";
      g.fillRect(ox, oy, end(ox, this.picture.width) - ox, end(oy, this.picture.height) - oy);
      g.imageSmoothingEnabled = this.zoom !== 1 && this.zoom < 1.99;
      g.imageSmoothingQuality = "high";
      // Coarse ones stand in until the fine ones are there.
      const pieces = this.covering(this.picture, pane);
      const fine = pieces.filter((p) => !p.coarse);
      for (const p of fine.every((p) => this.tiles.get(p.url)) ? fine : pieces) {
        const image = this.tiles.get(p.url);
        if (!image) {
          if (this.tiles.failed(p.url)) broken++;
          else if (!p.coarse) missing++;
          continue;
        }
        const [x, y] = [end(ox, p.x), end(oy, p.y)];
        g.drawImage(image, x, y, end(ox, p.x + p.w) - x, end(oy, p.y + p.h) - y);
      }
      if (this.marks) this.brackets(g, ox, oy);
      g.restore();
    }
    this.overview();
    this.settled = missing === 0;
    this.canvas.dataset.settled = this.settled;
    this.broken = broken > 0;
    if (this.settled && this.idle) {
      const idle = this.idle;
      this.idle = null;
      idle();
    }
    this.moved(this);
  }

  /** Corners round the findings, drawn outside of them, so that they hide nothing. */
  brackets(g, ox, oy) {
    const r = this.ratio;
    this.picture.boxes.forEach(([x, y, w, h], i) => {
      const current = i === this.box;
      const out = 5 * r;
      const [x0, y0] = [ox + x * this.zoom - out, oy + y * this.zoom - out];
      const [x1, y1] = [ox + (x + w) * this.zoom + out, oy + (y + h) * this.zoom + out];
      const arm = Math.min(16 * r, (x1 - x0) / 3, (y1 - y0) / 3);
      const path = new Path2D();
      for (const [cx, cy, dx, dy] of [[x0, y0, 1, 1], [x1, y0, -1, 1], [x0, y1, 1, -1], [x1, y1, -1, -1]]) {
        path.moveTo(cx + dx * arm, cy);
        path.lineTo(cx, cy);
        path.lineTo(cx, cy + dy * arm);
      }
      const found = i < this.picture.flagged;
      g.setLineDash(found ? [] : [3 * r, 3 * r]);
      g.lineWidth = (current ? 4 : 3) * r;
      g.strokeStyle = "rgb(0 0 0 / .55)";
      g.stroke(path);
      g.lineWidth = (current ? 2 : 1) * r;
      g.strokeStyle = !current ? "#ffffff" : found ? "#ffc247" : "#8cc4ff";
      g.stroke(path);
    });
  }

  label(panes) {
    const swipe = this.mode === "swipe" && panes.length > 1;
    const heat = (side) => (this.heat && side?.id !== "source" ? ` · heat: ${this.named(this.heat)}` : "");
    const spots = panes.map((p, i) => [(p.side?.label ?? "") + heat(p.side), swipe ? (i === 0 ? 0.12 : 0.88) : (p.x + p.w / 2) / this.canvas.width, swipe ? 10 : p.y / this.ratio + 10]);
    const key = JSON.stringify([spots, swipe && this.split]);
    if (key === this.labelled) return;
    this.labelled = key;
    this.labels.replaceChildren(...spots.filter(([text]) => text).map(([text, x, y]) => {
      const span = document.createElement("span");
      span.textContent = text;
      span.style.left = `${x * 100}%`;
      span.style.top = `${y}px`;
      return span;
    }));
    this.divider.hidden = !swipe;
    this.divider.style.left = `${this.split * 100}%`;
  }

  listen() {
    const pointers = new Map();
    const spot = (e) => {
      const box = this.canvas.getBoundingClientRect();
      return [(e.clientX - box.left) * this.ratio, (e.clientY - box.top) * this.ratio];
    };
    this.canvas.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      this.canvas.setPointerCapture(e.pointerId);
      pointers.set(e.pointerId, spot(e));
    });
    this.canvas.addEventListener("pointermove", (e) => {
      const before = pointers.get(e.pointerId);
      if (!before) return;
      const now = spot(e);
      if (pointers.size === 2) {
        const other = [...pointers].find(([id]) => id !== e.pointerId)[1];
        const far = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
        this.zoomBy(far(now) / far(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
      } else {
        this.pan(now[0] - before[0], now[1] - before[1]);
      }
      pointers.set(e.pointerId, now);
    });
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, (e) => pointers.delete(e.pointerId));
    this.canvas.addEventListener("dblclick", (e) => this.toggleZoom(spot(e)));
    this.canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      const lines = e.deltaMode === 1 ? 33 : 1;
      this.zoomBy(2 ** (-e.deltaY * lines * (e.ctrlKey ? 0.01 : 0.0022)), spot(e));
    }, { passive: false });
    const travel = (e) => {
      const box = this.map.getBoundingClientRect();
      this.x = ((e.clientX - box.left) / box.width) * this.picture.width;
      this.y = ((e.clientY - box.top) / box.height) * this.picture.height;
      this.clamp();
      this.draw();
    };
    this.map.addEventListener("pointerdown", (e) => {
      this.map.setPointerCapture(e.pointerId);
      travel(e);
    });
    this.map.addEventListener("pointermove", (e) => { if (this.map.hasPointerCapture(e.pointerId)) travel(e); });
    this.divider.addEventListener("pointerdown", (e) => this.divider.setPointerCapture(e.pointerId));
    this.divider.addEventListener("pointermove", (e) => {
      if (!this.divider.hasPointerCapture(e.pointerId)) return;
      const box = this.stage.getBoundingClientRect();
      this.setSplit((e.clientX - box.left) / box.width);
    });
    this.divider.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[e.key];
      if (step === undefined) return;
      e.preventDefault();
      e.stopPropagation();
      this.setSplit(this.split + step);
    });
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.draw());
  }
}
