"use strict";
// The review: which picture, what was decided, what comes next. The picture itself is view.js.

const $ = (id) => document.getElementById(id);
const make = (tag, props = {}, ...children) => {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k.includes("-") || k === "role" || k === "for") e.setAttribute(k, v);
    else e[k] = v;
  }
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== "" && c !== false));
  return e;
};
const DECISIONS = { approved: ["✓", "Approved"], rejected: ["✕", "Rejected"], repair: ["↻", "Repair"] };
const NAMES = { hallucination: "Hallucination", micro_noise: "Micro-noise", colour_shift: "Colour shift", pixel_blob: "Pixel blob", gan: "GAN artefact" };
const title = (detector) => NAMES[detector] ?? detector.charAt(0).toUpperCase() + detector.slice(1).replaceAll("_", " ");
const plural = (n, one, many = one + "s") => `${n} ${n === 1 ? one : many}`;

// Where pictures and verdicts come from: the server, or the folder this page lies in.
const server = {
  token: location.pathname.split("/")[1],
  list: async () => (await fetch("api/list", { cache: "no-store" })).json(),
  thumb: (p) => `thumb/${p.id}/${p.version}`,
  pieces(p, side, [x, y, w, h], zoom) {
    const size = 512;
    const coarsest = Math.max(0, Math.ceil(Math.log2(Math.max(p.width, p.height) / size)));
    const fine = Math.min(coarsest, Math.max(0, Math.floor(-Math.log2(zoom) + 1e-9)));
    const list = [];
    for (const level of fine === coarsest ? [fine] : [coarsest, fine]) {
      const span = size * 2 ** level;
      for (let r = Math.floor(y / span); r * span < y + h; r++) {
        for (let c = Math.floor(x / span); c * span < x + w; c++) {
          const [tw, th] = [Math.min(span, p.width - c * span), Math.min(span, p.height - r * span)];
          list.push({ url: `tile/${p.id}/${p.version}/${side}/${level}/${c}/${r}`, x: c * span, y: r * span, w: tw, h: th, coarse: level !== fine });
        }
      }
    }
    return list;
  },
  async save(ids, said) {
    const answer = await fetch("api/verdict", {
      method: "POST",
      priority: "high",
      headers: { "Content-Type": "application/json", "X-Lastmile-Token": this.token },
      body: JSON.stringify({ ids, ...said }),
    });
    if (answer.status === 409) throw new Differs(await answer.json());
    if (!answer.ok) throw new Error(await answer.text());
  },
  /** As the page goes away: nobody waits for the answer. */
  last(ids, said) {
    fetch("api/verdict", {
      method: "POST",
      keepalive: true,
      headers: { "Content-Type": "application/json", "X-Lastmile-Token": this.token },
      body: JSON.stringify({ ids, ...said }),
    }).catch(() => {});
  },
};

/** Something else was decided meanwhile, in another tab: [{ id, decision }]. */
class Differs extends Error {
  constructor(standing) {
    super("decided elsewhere");
    this.standing = standing;
  }
}

const folder = {
  key: "lastmile-review",
  async list() {
    const data = window.REVIEW;
    this.key = `lastmile-review ${data.seal}`;
    const kept = this.kept();
    for (const p of data.pictures) Object.assign(p.entry, kept[p.sha256] ?? {});
    this.all = data.pictures;
    return data;
  },
  kept() { return JSON.parse(localStorage.getItem(this.key) ?? "{}"); },
  thumb: (p) => `pictures/${p.id}-thumb.jpg`,
  pieces: (p, side, [x, y, w, h]) => (p.pieces[side] ?? []).filter((i) => i.x < x + w && i.x + i.w > x && i.y < y + h && i.y + i.h > y),
  // What another tab decided about other pictures stays.
  async save(ids) { this.last(ids); },
  last(ids) {
    const kept = this.kept();
    for (const id of ids) kept[this.all[id].sha256] = this.all[id].entry;
    localStorage.setItem(this.key, JSON.stringify(kept));
  },
  /** What `lastmile apply` reads. */
  verdicts() {
    const pictures = Object.fromEntries(this.all.filter((p) => p.entry.opened || p.entry.decision).map((p) => [p.sha256, p.entry]));
    return JSON.stringify({ verdicts: "lastmile", version: 1, pictures: { ...pictures, ...this.kept() } }, null, 2);
  },
};

const store = window.REVIEW ? folder : server;
let data, view, pictures;
let order = []; // ids, as filtered
let at = 0; // position in it
let shown = null; // id on the stage
let since = 0; // when it came there
let pace = []; // seconds per verdict in this sitting
let undo = [];
let sheetOpen = false;
let [shownMode, shownWhole] = [null, null]; // what the buttons say

// Saving: in order, one at a time, kept until it worked.
const unsaved = [];
let saving = false;
async function save(ids, said) {
  unsaved.push([ids, said]);
  if (saving) return;
  saving = true;
  while (unsaved.length) {
    try {
      await store.save(...unsaved[0]);
      unsaved.shift();
      $("trouble").hidden = true;
    } catch (e) {
      if (e instanceof Differs) {
        unsaved.shift();
        elsewhere(e.standing);
        continue;
      }
      $("trouble").textContent = `${plural(unsaved.length, "change")} not saved yet: ${e.message}. Trying again; keep this page open.`;
      $("trouble").hidden = false;
      await new Promise((r) => setTimeout(r, 1500));
    }
  }
  saving = false;
}
addEventListener("beforeunload", (e) => {
  writeDown();
  if (unsaved.length && !window.REVIEW) e.preventDefault();
});
// What is on its way may never arrive now; said once more it changes nothing, but the time spent counts once.
addEventListener("pagehide", () => {
  writeDown();
  const words = new Map();
  for (const [ids, { seconds, ...said }] of unsaved) {
    for (const id of ids) {
      const before = words.get(id);
      const word = { ...before, ...said };
      // Of two decisions the first may have arrived.
      if (before && "decision" in before && "decision" in said) delete word.believed;
      words.set(id, word);
    }
  }
  const groups = new Map();
  for (const [id, word] of words) {
    const key = JSON.stringify(word);
    groups.set(key, [...(groups.get(key) ?? []), id]);
  }
  for (const [word, ids] of groups) store.last(ids, JSON.parse(word));
});
document.addEventListener("visibilitychange", () => { if (document.hidden) writeDown(); });

/** Another tab had the last word: it stands until somebody who knows it says otherwise. */
function elsewhere(standing) {
  for (const { id, decision } of standing) pictures[id].entry.decision = decision;
  const ids = new Set(standing.map((s) => s.id));
  undo = undo.filter((u) => !u.before.some(([id]) => ids.has(id)));
  keepUndo();
  const [{ id, decision }] = standing;
  const word = decision ? { approved: "approved", rejected: "rejected", repair: "wants repaired" }[decision] : "took back";
  const text = `Another tab ${word} ${standing.length === 1 ? file(pictures[id].title) : `${file(pictures[id].title)} and ${standing.length - 1} more`}: press again to change it`;
  if (sheetOpen) openSheet();
  else if (order.includes(id)) open(order.indexOf(id));
  flash(text, 5000);
  say(text);
}

/** Notes that are typed are saved when the typing pauses, and at the latest when the hand leaves the field or the page. */
const noting = new Map();
function note(p) {
  clearTimeout(noting.get(p));
  noting.set(p, setTimeout(() => writeDown(p), 300));
}
function writeDown(only) {
  for (const [p, timer] of [...noting]) {
    if (only && p !== only) continue;
    clearTimeout(timer);
    noting.delete(p);
    save([p.id], { note: p.entry.note });
  }
}

const current = () => (shown === null ? null : pictures[shown]);
const say = (text) => { $("live").textContent = text; };
const file = (name) => name.split("/").pop();
/** A name as people write it: the journal has per cent signs for what is no text. */
function readable(name) {
  try { return decodeURIComponent(name); } catch { return name; }
}

/** What the view needs to know of a picture. */
function scene(p) {
  const sides = [];
  if (p.source) sides.push({ id: "source", label: data.compare ? "A" : "Source, enlarged" });
  sides.push({ id: "result", label: data.compare ? "B" : "Result" });
  if (p.repair) sides.push({ id: "repair", label: "Repair" });
  return Object.assign(Object.create(p), { sides, boxes: places(p).map((f) => f.box), flagged: p.report?.findings.length ?? 0 });
}

/** What is looked at closely: the findings, then lettering, which is compared with the source whatever was found. */
function places(p) {
  const letters = p.source ? p.report?.text_like ?? [] : [];
  return [...(p.report?.findings ?? []), ...letters.map((box) => ({ box, letters: true }))];
}
const called = (place) => (place.letters ? "Lettering" : title(place.detector));
const told = (place) => (place.letters ? "Looks like text: compare it with the source." : sentence(place.note));
/** As a sentence: a number stays with its unit. */
const sentence = (note) => (note.charAt(0).toUpperCase() + note.slice(1)).replace(/(\d) (?=[%a-z])/g, "$1\u00a0");
const firstBox = (p) => (places(p).length ? 0 : -1);

/** Puts the picture at a position of the order on the stage. */
function open(position, box) {
  if (!order.length) return empty();
  at = Math.max(0, Math.min(order.length - 1, position));
  const p = pictures[order[at]];
  closeSheet();
  $("empty").hidden = true;
  if (p.id !== shown) {
    shown = p.id;
    since = performance.now();
    if (!p.entry.opened && !data.compare) {
      p.entry.opened = true;
      save([p.id], { opened: true });
    }
  }
  const broken = !p.width;
  if (broken) {
    view.clear();
    $("empty").textContent = "This picture cannot be read: the file is damaged.";
    $("empty").hidden = false;
  } else {
    view.show(scene(p), box ?? firstBox(p));
    view.prefetch(coming().map((next) => ({ picture: scene(next), box: firstBox(next) })));
  }
  describe(p);
  sessionStorage.setItem("shown", p.sha256);
}

/** The pictures that a verdict or N leads to, the likelier first. */
function coming() {
  const open = (id) => !decided(pictures[id]) && id !== shown;
  const after = order.slice(at + 1);
  const list = [after.find(open), after[0], after.filter(open)[1], order.slice(0, at).find(open)];
  return [...new Set(list)].filter((id) => id !== undefined && pictures[id].width).slice(0, 3).map((id) => pictures[id]);
}

function empty() {
  closeSheet();
  shown = null;
  view.clear();
  $("empty").textContent = "No picture is like that. “Show all” in the filter brings them back.";
  $("empty").hidden = false;
  $("name").textContent = "";
  $("facts").textContent = "";
  $("state").replaceChildren();
  $("findings").replaceChildren();
  bar();
}

/** Other pictures that are the same file: they share its verdict and note. */
const twins = (p) => (data.compare ? [] : p.twins.filter((t) => t !== p));
const names = (list) => (list.length > 2 ? `${list[0].title} and ${list.length - 1} more` : list.map((t) => t.title).join(" and "));

/** Sizes, networks, generator. */
function facts(p) {
  const list = [`${p.source ? `${p.source[0]} × ${p.source[1]} → ` : ""}${p.width} × ${p.height}`];
  if (p.source && p.width) list[0] += `, ${Number((p.width / p.source[0]).toFixed(2))}×`;
  if (p.model) list.push(p.model === "none" ? "resampled without a network" : p.model);
  if (p.generator) list.push(p.generator);
  $("facts").replaceChildren(...list.flatMap((f, i) => (i ? [make("br"), f] : [f])));
}

/** The column beside the picture. */
function describe(p) {
  // The folder may end a line; the file's name is what counts.
  const cut = p.title.lastIndexOf("/") + 1;
  $("name").replaceChildren(make("span", { className: "quiet", textContent: p.title.slice(0, cut) }), make("wbr"), p.title.slice(cut));
  facts(p);
  const chips = [];
  if (p.entry.decision) chips.push([p.entry.decision, DECISIONS[p.entry.decision][1]]);
  if (p.report && !data.compare) chips.push([p.report.verdict, { reject: "Inspection suggests reject", review: "Worth a look", pass: "Passed inspection" }[p.report.verdict]]);
  if (p.before) chips.push(["quiet", `Made again; before: ${DECISIONS[p.before][1].toLowerCase()}`]);
  if (!p.source && !data.compare) chips.push(["quiet", "Source not found"]);
  if (twins(p).length) chips.push(["quiet", `Same file as ${names(twins(p))}`]);
  $("state").replaceChildren(...chips.map(([kind, text]) => make("span", { className: `chip ${kind}`, textContent: text })));

  const findings = p.report?.findings ?? [];
  const letters = places(p).slice(findings.length);
  $("findings").parentElement.hidden = data.compare;
  $("no-findings").hidden = findings.length > 0;
  $("no-findings").textContent = p.report ? "Nothing was flagged." : "Not inspected.";
  const item = (f, i) => make("li", {}, make("button", { type: "button", className: "place", onclick: () => goFinding(i) },
    make("span", { className: "number", textContent: i + 1 }),
    make("span", { className: "what" }, called(f),
      f.letters ? make("span", { textContent: `${f.box[2]} × ${f.box[3]}`, title: "pixels" }) : make("span", { textContent: f.severity.toFixed(2), title: "severity, 0 to 1" })),
    !f.letters && f.note && make("span", { className: "note", textContent: sentence(f.note.replace(/; already in the source:.*$/, "")) }),
    f.origin === "source" && make("span", { className: "origin", textContent: "Already in the source: render it again, upscaling did not cause it." })));
  $("findings").replaceChildren(...findings.map(item));
  $("letters").replaceChildren(...letters.map((f, i) => item(f, findings.length + i)));
  $("letters").parentElement.hidden = letters.length === 0;
  const scores = Object.entries(p.report?.detectors ?? {}).sort((a, b) => b[1] - a[1]);
  $("scores-box").hidden = scores.length === 0;
  $("scores").tBodies[0].replaceChildren(...scores.map(([d, s]) => make("tr", {},
    make("th", { scope: "row", textContent: title(d) }),
    make("td", { textContent: p.report.not_applicable.includes(d) ? "does not apply" : s.toFixed(2) }))));
  $("note").value = p.entry.note;
  $("note").parentElement.hidden = data.compare;
  $("heat").hidden = p.heat.length === 0;
  $("fix-text").textContent = p.repair ? "Take repair" : "Repair";
  marks();
  bar();
  const also = letters.length ? ` ${plural(letters.length, "place")} with lettering.` : "";
  const what = (findings.length ? `${plural(findings.length, "finding")}. First: ${title(findings[0].detector)}. ${findings[0].note}` : $("no-findings").textContent) + also;
  const decided = p.entry.decision ? `${DECISIONS[p.entry.decision][1]}.` : "";
  $("canvas").setAttribute("aria-label", `${p.source ? "Source and result" : "Result"} of ${p.title}`);
  say(`${p.title}, ${at + 1} of ${order.length}. ${data.compare ? "" : what} ${decided}`);
}

/** The column beside the picture, shown or put away. */
function about(on = $("about").hidden) {
  $("about").hidden = !on;
  say(on ? "" : "Picture alone");
}

/** Which finding and which buttons are on. */
function marks() {
  if (!view) return;
  const p = current();
  document.querySelectorAll("button.place").forEach((b, i) => b.setAttribute("aria-current", i === view.box && !view.fitted));
  for (const [id, decision] of [["approve", "approved"], ["reject", "rejected"], ["fix", "repair"]]) {
    $(id).setAttribute("aria-pressed", p?.entry.decision === decision);
    $(id).disabled = !p;
  }
  $("heat").setAttribute("aria-pressed", Boolean(view.heat));
  document.querySelectorAll("[data-mode]").forEach((b) => {
    b.setAttribute("aria-pressed", b.dataset.mode === view.mode);
    b.disabled = (view.picture?.sides.length ?? 0) < 2;
  });
  $("undo").disabled = undo.length === 0;
  $("tools").dataset.undo = undo.length > 0;
}

const decided = (p) => Boolean(p.entry.decision);
const close = () => data.queue.sample.slice(0, data.queue.close);
const drawn = () => data.queue.sample.slice(data.queue.close);
const toDo = () => [...data.queue.flagged, ...data.queue.sample];

/** Position, progress, time left. */
function bar() {
  $("position").textContent = order.length ? `${at + 1} / ${order.length}` : "";
  $("previous").disabled = at <= 0;
  $("next").disabled = at >= order.length - 1;
  if (data.compare) return;
  const queue = toDo();
  const all = queue.length || pictures.length;
  const done = queue.filter((id) => decided(pictures[id])).length;
  $("bar").style.width = `${(100 * done) / all}%`;
  const progress = $("progress");
  progress.setAttribute("aria-valuenow", done);
  progress.setAttribute("aria-valuemax", all);
  // Those that passed and were not drawn are approved at a glance: they are no part of the work.
  let text = all === pictures.length ? `${done} of ${all} decided` : `${done} of ${all} to look at decided`;
  if (pace.length >= 3 && done < all) {
    const typical = [...pace].sort((a, b) => a - b)[Math.floor(pace.length / 2)];
    const seconds = typical * (all - done);
    text += seconds < 55 ? ", under a minute left" : `, ${Math.round(seconds / 60)} min left`;
  }
  if (all !== pictures.length) text += ` · ${pictures.length} pictures in all`;
  $("left").textContent = text;
  progress.setAttribute("aria-valuetext", text);
}

/** A verdict on the picture on the stage; the same again takes it back. */
function decide(decision) {
  const p = current();
  if (!p || data.compare) return;
  const seconds = Math.min(600, (performance.now() - since) / 1000);
  const believed = p.entry.decision;
  const also = twins(p).length ? `, also ${names(twins(p))}` : "";
  remember([[p.id, believed]], shown);
  p.entry.decision = decision;
  p.entry.seconds += seconds;
  pace = [...pace, seconds].slice(-15);
  save([p.id], { decision, believed, seconds });
  say(`${DECISIONS[decision][1]}: ${file(p.title)}${also}.`);
  flash(`${DECISIONS[decision].join(" ")}${also}`, also ? 3000 : undefined);
  const rest = (from, to) => order.slice(from, to).findIndex((id) => !decided(pictures[id]));
  const later = rest(at + 1, order.length);
  const earlier = rest(0, at);
  if (later >= 0) {
    const next = at + 1 + later;
    const [was, is] = [p.id, order[next]].map((id) => [data.queue.flagged, close(), drawn()].findIndex((list) => list.includes(id)));
    if (was === 0 && is === 1) flash("The flagged ones are done. Now those that passed by little.", 3500);
    else if (was >= 0 && was < is) flash(`${was === 0 ? "The flagged ones are done. " : ""}Now some that passed, drawn by lot.`, 3500);
    open(next);
  } else if (earlier >= 0) {
    open(earlier);
  } else {
    describe(p);
    openSheet(true);
  }
}

function remember(before, id) {
  undo = [...undo, { before, id }].slice(-500);
  keepUndo();
}

// Across reloads pictures are known by their content: numbers may mean others then, and other reviews keep theirs in the same place.
function keepUndo() {
  const sha = (id) => pictures[id].sha256;
  const steps = undo.map((u) => ({ id: sha(u.id), before: u.before.map(([id, d]) => [sha(id), d]) }));
  sessionStorage.setItem(`undo ${data.title}`, JSON.stringify(steps));
}

function readUndo() {
  const ids = new Map(pictures.map((p) => [p.sha256, p.id]));
  const steps = JSON.parse(sessionStorage.getItem(`undo ${data.title}`) ?? "[]");
  const known = steps.filter((u) => ids.has(u.id) && u.before.every(([sha]) => ids.has(sha)));
  undo = known.map((u) => ({ id: ids.get(u.id), before: u.before.map(([sha, d]) => [ids.get(sha), d]) }));
}

function takeBack() {
  const last = undo.pop();
  if (!last) return;
  keepUndo();
  // One file may stand under several names, with one decision.
  const steps = last.before.map(([id, decision]) => ({ id, decision, believed: pictures[id].entry.decision }));
  const groups = new Map();
  for (const { id, decision, believed } of steps) {
    pictures[id].entry.decision = decision;
    const key = `${decision} ${believed}`;
    const group = groups.get(key) ?? { ids: [], decision, believed };
    group.ids.push(id);
    groups.set(key, group);
  }
  for (const { ids, decision, believed } of groups.values()) save(ids, { decision, believed });
  flash("Undone");
  if (last.before.length > 1) return openSheet();
  if (!order.includes(last.id)) clearFilter();
  open(order.indexOf(last.id));
  say(`Undone. ${pictures[last.id].title}`);
}

let flashing;
function flash(text, ms = 900) {
  clearTimeout(flashing);
  $("stamp").textContent = text;
  $("stamp").hidden = false;
  flashing = setTimeout(() => { $("stamp").hidden = true; }, ms);
}

function goFinding(i) {
  const f = current() && places(current())[i];
  if (!f) return;
  view.go(i);
  marks();
  say(`${f.letters ? "" : `Finding ${i + 1}: `}${called(f)}. ${told(f)}`);
}

function nextHeat() {
  const p = current();
  if (!p?.heat.length) return;
  const here = p.report?.findings[view.box]?.detector;
  // What is looked at first, then what scored most; not what had nothing to measure.
  const score = (d) => p.report?.detectors[d] ?? 0;
  const useful = p.heat.filter((d) => d === view.heat || !p.report?.not_applicable.includes(d));
  const list = useful.sort((a, b) => (b === here) - (a === here) || score(b) - score(a));
  view.heat = list[list.indexOf(view.heat) + 1] ?? null;
  view.draw();
  marks();
  say(view.heat ? `Heat map: ${title(view.heat)}` : "Heat map off");
}

function setMode(mode) {
  view.setMode(mode);
  marks();
  say(`View: ${{ one: "one at a time", side: "side by side", swipe: "swipe", blink: "blink" }[mode]}`);
}

// Contact sheet: at the picture one comes from, or `atTop`, where it says what was decided.
function openSheet(atTop = false) {
  sheetOpen = true;
  document.body.dataset.sheet = "";
  $("viewer").hidden = true;
  $("sheet").hidden = false;
  $("sheet-open").setAttribute("aria-pressed", true);
  sheet();
  const here = focusCard();
  if (atTop) $("sheet").scrollTop = 0;
  else here?.scrollIntoView({ block: "center" });
}

/** Gives the keyboard to the picture one comes from, without moving the sheet. */
function focusCard() {
  const here = $("sheet").querySelector("[aria-current=true]") ?? $("sheet").querySelector(".grid button");
  here?.focus({ preventScroll: true });
  return here;
}

function closeSheet() {
  if (!sheetOpen) return;
  sheetOpen = false;
  delete document.body.dataset.sheet;
  $("viewer").hidden = false;
  $("sheet").hidden = true;
  $("sheet-open").setAttribute("aria-pressed", false);
  view.resize();
  $("canvas").focus({ preventScroll: true });
}

function sheet() {
  const visible = new Set(order);
  const parts = [];
  const tally = (d) => pictures.filter((p) => p.entry.decision === d).length;
  if (!data.compare) {
    const open = toDo().filter((id) => !decided(pictures[id])).length;
    const undecided = pictures.filter((p) => !decided(p)).length;
    const counted = [["approved", "approved"], ["rejected", "rejected"], ["repair", "to repair"]].map(([d, words]) =>
      make("span", { className: d }, make("i", { textContent: DECISIONS[d][0], "aria-hidden": "true" }), ` ${tally(d)} ${words}`, undecided || d !== "repair" ? ", " : ". "));
    if (undecided) counted.push(make("span", { textContent: `${undecided} undecided. ` }));
    parts.push(make("p", { className: "summary" }, ...counted, open === 0 ? make("span", { className: "done", textContent: "All that had to be looked at is decided. " }) : ""));
    const next = make("p", { className: "lead" });
    if (window.REVIEW) next.append(make("button", { type: "button", textContent: "Save verdicts.json", onclick: download }), "Send that file back, and it is carried out there.");
    else next.append("Next, in the terminal: ", make("code", { textContent: data.next }));
    parts.push(next);
  }
  const section = (name, lead, ids, bulk) => {
    ids = ids.filter((id) => visible.has(id));
    if (!ids.length) return;
    parts.push(make("h2", { textContent: `${name} ` }, make("span", { className: "quiet", textContent: ids.length })));
    const left = ids.filter((id) => !decided(pictures[id]));
    const line = make("p", { className: "lead" }, lead);
    if (bulk && left.length) line.append(make("button", { type: "button", textContent: `Approve ${left.length === ids.length ? "all" : "the other"} ${left.length}`, onclick: () => approveAll(left) }));
    parts.push(line, make("ul", { className: "grid" }, ...ids.map(card)));
  };
  const inspected = (id) => pictures[id].report;
  if (data.compare) section("Pairs", "", data.queue.flagged);
  else {
    section("Flagged", "The worst first.", data.queue.flagged.filter(inspected));
    section("Not inspected", "Nothing is known about these.", data.queue.flagged.filter((id) => !inspected(id)), true);
    section("Close calls", "Passed by little; the highest scores first.", close());
    section("Drawn by lot", "Passed inspection; looked at all the same.", drawn());
    section("Passed", "A glance at each is what is left; the highest scores first.", data.queue.rest, true);
    const lettered = data.queue.rest.filter((id) => visible.has(id) && pictures[id].source && pictures[id].report?.text_like?.length);
    if (lettered.length) {
      parts.push(make("h2", { textContent: "Lettering in them " }, make("span", { className: "quiet", textContent: lettered.length })),
        make("p", { className: "lead", textContent: "At 100 %, source and result: a wrong letter passes every other check." }),
        make("ul", { className: "pairs" }, ...lettered.flatMap((id) => pictures[id].report.text_like.slice(0, 3).map((box, i) => pair(pictures[id], box, i)))));
    }
  }
  if (!visible.size) parts.push(make("p", { className: "summary", textContent: "No picture is like that. “Show all” in the filter brings them back." }));
  // All cells have the shape that most pictures have, so that rows and columns line up.
  const shapes = order.map((id) => pictures[id].width / pictures[id].height || 1).sort((a, b) => a - b);
  $("sheet").style.setProperty("--cell", Math.max(0.66, Math.min(1.9, shapes[shapes.length >> 1] ?? 1.5)));
  $("sheet").replaceChildren(...parts);
}

function card(id) {
  const p = pictures[id];
  const d = p.entry.decision;
  const status = d ? DECISIONS[d][1] : p.entry.opened ? "undecided" : "not reviewed";
  const worst = p.report?.findings[0];
  const found = worst ? `${title(worst.detector)} ${worst.severity.toFixed(2)}` : "";
  const unseen = data.compare || p.entry.opened ? "" : d ? "not opened" : "not reviewed";
  const below = [found, unseen].filter(Boolean).join(" · ");
  const frame = make("span", { className: "frame" },
    make("img", { loading: "lazy", decoding: "async", alt: "", src: store.thumb(p) }),
    d && make("span", { className: `mark ${d}`, textContent: DECISIONS[d][0], "aria-hidden": "true" }));
  const button = make("button", { type: "button", title: p.title, onclick: () => open(order.indexOf(id)) },
    frame,
    make("span", { className: "caption" },
      make("span", { textContent: file(p.title) }), make("span", { textContent: below || "\u00a0" }), d && make("b", { className: "sr", textContent: status })));
  if (id === shown) button.setAttribute("aria-current", "true");
  return make("li", {}, button);
}

/** Source and result of one place, side by side at 100 %; drawn when it comes into sight. */
function pair(p, box, i) {
  const side = (id, label) => make("span", { className: "frame" }, make("canvas", { width: 1, height: 1, className: id }), make("span", { className: "tag", textContent: label }));
  const button = make("button", { type: "button", title: p.title, onclick: () => open(order.indexOf(p.id), (p.report.findings.length ?? 0) + i) },
    make("span", { className: "two" }, side("source", "Source"), side("result", "Result")),
    make("span", { className: "caption", textContent: file(p.title) }));
  button.draw = () => {
    for (const canvas of button.querySelectorAll("canvas")) {
      const room = canvas.getBoundingClientRect();
      const ratio = devicePixelRatio || 1;
      [canvas.width, canvas.height] = [room.width * ratio, room.height * ratio];
      const along = (at, size, all, span) => Math.round(Math.max(0, Math.min(all - span, at + size / 2 - span / 2)));
      const [w, h] = [Math.min(canvas.width, p.width), Math.min(canvas.height, p.height)];
      const [x, y] = [along(box[0], box[2], p.width, w), along(box[1], box[3], p.height, h)];
      const g = canvas.getContext("2d");
      // Coarse ones first, so that the exact ones end on top.
      (async () => {
        for (const piece of store.pieces(p, canvas.className, [x, y, w, h], 1)) {
          const image = await pixels(piece.url).catch(() => null);
          if (image) g.drawImage(image, piece.x - x, piece.y - y, piece.w, piece.h);
          image?.close?.();
        }
      })();
    }
  };
  seen.observe(button);
  return make("li", {}, button);
}
const seen = new IntersectionObserver((entries) => {
  for (const e of entries.filter((e) => e.isIntersecting)) {
    seen.unobserve(e.target);
    e.target.draw();
  }
}, { rootMargin: "200px" });

function approveAll(ids) {
  remember(ids.map((id) => [id, pictures[id].entry.decision]), ids[0]);
  for (const id of ids) pictures[id].entry.decision = "approved";
  save(ids, { decision: "approved", believed: null });
  say(`${plural(ids.length, "picture")} approved.`);
  marks();
  bar();
  sheet();
  focusCard();
}

function download() {
  const url = URL.createObjectURL(new Blob([folder.verdicts()], { type: "application/json" }));
  make("a", { href: url, download: "verdicts.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Filter
const filters = ["name", "detector", "suggestion", "decision", "generator"];
function refilter() {
  const want = Object.fromEntries(filters.map((f) => [f, $(`f-${f}`).value]));
  const fits = (id) => {
    const p = pictures[id];
    return p.title.toLowerCase().includes(want.name.toLowerCase())
      && (!want.detector || p.report?.findings.some((f) => f.detector === want.detector))
      && (!want.suggestion || (p.report?.verdict ?? "none") === want.suggestion)
      && (!want.decision || (want.decision === "unopened" ? !p.entry.opened : (p.entry.decision ?? "none") === want.decision))
      && (!want.generator || p.generator === want.generator);
  };
  order = [...data.queue.flagged, ...data.queue.sample, ...data.queue.rest].filter(fits);
  const used = filters.filter((f) => want[f]).length;
  $("filter-count").textContent = used ? ` · ${order.length}` : "";
  const was = order.indexOf(shown);
  if (sheetOpen) {
    at = Math.max(0, was);
    bar();
    sheet();
  } else if (was >= 0) {
    at = was;
    bar();
  } else {
    open(0);
  }
}

function clearFilter() {
  for (const f of filters) $(`f-${f}`).value = "";
  refilter();
}

function toggleFilter(on = $("filters").hidden) {
  $("filters").hidden = !on;
  $("filter-open").setAttribute("aria-expanded", on);
  (on ? $("f-name") : $("filter-open")).focus();
}

/** Generators are read from the files, which takes a while; the list fills as they come. */
async function generators() {
  const known = new Set();
  for (let from = 0; from < pictures.length;) {
    const names = window.REVIEW ? pictures.map((p) => p.generator ?? "") : await (await fetch(`api/generators/${from}`)).json();
    names.forEach((name, i) => { pictures[from + i].generator = name; });
    from += Math.max(1, names.length);
    for (const name of names) if (name) known.add(name);
  }
  $("f-generator").append(...[...known].sort().map((n) => make("option", { value: n, textContent: n })));
  $("f-generator").parentElement.hidden = known.size === 0;
  if (current()) facts(current());
}

// Keys
const keys = {
  a: () => decide("approved"), r: () => decide("rejected"), f: () => decide("repair"), u: takeBack,
  n: () => open(at + 1), p: () => open(at - 1),
  h: nextHeat, z: () => view.toggleZoom(),
  v: () => setMode({ side: "swipe", swipe: "blink", blink: "one", one: "side" }[view.mode]),
  b: () => { view.marks = !view.marks; view.draw(); say(view.marks ? "Marks on" : "Marks off"); },
  " ": () => view.swap(),
  c: () => (sheetOpen ? open(Math.max(0, order.indexOf(shown))) : openSheet()),
  m: () => { about(true); $("note").focus(); },
  i: () => about(),
  "/": () => toggleFilter(true), "?": () => $("help").showModal(),
  "+": () => view.zoomBy(Math.SQRT2), "=": () => view.zoomBy(Math.SQRT2), "-": () => view.zoomBy(Math.SQRT1_2), "0": () => view.fit(),
  arrowleft: () => view.pan(60, 0), arrowright: () => view.pan(-60, 0), arrowup: () => view.pan(0, 60), arrowdown: () => view.pan(0, -60),
};
const onSheet = new Set(["u", "c", "/", "?"]);

addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || $("help").open) return;
  const typing = e.target.matches("input, textarea, select");
  if (e.key === "Escape") {
    if (typing) e.target.blur();
    else if (!$("filters").hidden) toggleFilter(false);
    else if (sheetOpen) keys.c();
    return;
  }
  if (typing) return;
  const key = e.key.toLowerCase();
  // Space and Enter belong to the button that has the focus.
  if (key === " " && e.target.matches("button, summary")) return;
  if (sheetOpen && !onSheet.has(key)) return;
  const act = /^[1-9]$/.test(key) ? () => goFinding(Number(key) - 1) : keys[key];
  if (!act || (e.repeat && "arfu".includes(key))) return;
  e.preventDefault();
  act();
});

for (const [id, act] of [["approve", keys.a], ["reject", keys.r], ["fix", keys.f], ["undo", keys.u], ["next", keys.n], ["previous", keys.p], ["heat", keys.h], ["zoom", keys.z],
  ["sheet-open", keys.c], ["help-open", keys["?"]], ["filter-open", () => toggleFilter()], ["f-clear", clearFilter]]) $(id).addEventListener("click", act);
document.querySelectorAll("[data-mode]").forEach((b) => b.addEventListener("click", () => setMode(b.dataset.mode)));
for (const f of filters) $(`f-${f}`).addEventListener("input", refilter);
$("filters").addEventListener("submit", (e) => e.preventDefault());
$("note").addEventListener("input", () => {
  const p = current();
  if (!p) return;
  p.entry.note = $("note").value;
  note(p);
});
$("note").addEventListener("blur", () => writeDown());

/** What moved: the zoom that is shown, and whether a finding is still looked at. */
function moved() {
  if (view.mode !== shownMode || view.fitted !== shownWhole) {
    [shownMode, shownWhole] = [view.mode, view.fitted];
    marks();
  }
  const percent = view.zoom * 100;
  const text = view.fitted ? `Fit ${Math.round(percent)} %` : `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
  if ($("zoom-text").textContent !== text) $("zoom-text").textContent = text;
  if (view.broken && $("stamp").hidden) flash("A part of this picture could not be read", 2500);
}

async function start() {
  data = await store.list();
  pictures = data.pictures;
  const files = new Map();
  for (const p of pictures) {
    p.title = readable(p.name);
    p.twins = files.get(p.sha256) ?? [];
    p.twins.push(p);
    files.set(p.sha256, p.twins);
    p.entry = p.twins[0].entry;
  }
  readUndo();
  $("title").textContent = data.title;
  document.title = `${data.title}: ${data.compare ? "compare" : "review"}`;
  const detectors = [...new Set(pictures.flatMap((p) => (p.report?.findings ?? []).map((f) => f.detector)))].sort();
  $("f-detector").append(...detectors.map((d) => make("option", { value: d, textContent: title(d) })));
  if (data.compare) for (const e of [$("progress"), document.querySelector(".verdict"), ...["detector", "suggestion", "decision"].map((f) => $(`f-${f}`).parentElement)]) e.hidden = true;
  $("notices").replaceChildren(...data.notices.map((notice) => make("p", { className: "notice" },
    ...notice.split("`").map((part, i) => (i % 2 ? make("code", { textContent: part }) : part)))));
  view = new View($("stage"), store.pieces, moved);
  view.named = title;
  if (data.compare) view.modes.whole = "side";
  order = [...data.queue.flagged, ...data.queue.sample, ...data.queue.rest];
  // Where one was, else the first without a verdict.
  const was = order.findIndex((id) => pictures[id].sha256 === sessionStorage.getItem("shown"));
  const first = toDo().findIndex((id) => !decided(pictures[id]));
  if (!data.compare && was < 0 && first < 0 && pictures.some(decided)) {
    shown = null;
    openSheet();
    marks();
    bar();
  } else {
    open(was >= 0 ? was : Math.max(0, first));
  }
  document.body.dataset.ready = "true";
  generators();
}
start().catch((e) => {
  $("trouble").textContent = `The review could not be read: ${e.message}`;
  $("trouble").hidden = false;
});
