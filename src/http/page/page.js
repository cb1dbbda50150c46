"use strict";
// Draws what /api/state tells, each second. Every text goes in by textContent: names of objects are input.

const SVG = "http://www.w3.org/2000/svg";
const SECOND = 1000;
const ROW = 24, PAD = 16, HEAD = 20, WIDEST = 26;
const STATES = {
  "ready": "ready", "last-resort": "last resort", "not-ready": "not ready",
  "terminating": "terminating", "elsewhere": "for others", "gone": "gone",
};

const at = (id) => document.getElementById(id);
const make = (name, classes, text) => {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
};
const draw = (name, attributes) => set(document.createElementNS(SVG, name), attributes);
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
  return element;
}
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  return element;
}

// Brings the children of an element in line with items, by key: what stays keeps its focus and its place.
function keep(parent, items, key, create, update) {
  const known = parent.known || (parent.known = new Map());
  const seen = new Set();
  let before = parent.firstChild;
  for (const item of items) {
    const name = key(item);
    if (seen.has(name)) continue;
    seen.add(name);
    let child = known.get(name);
    if (!child) known.set(name, (child = create(item)));
    if (child === before) before = before.nextSibling;
    else parent.insertBefore(child, before);
    update(child, item);
  }
  for (const [name, child] of known) {
    if (!seen.has(name)) { child.remove(); known.delete(name); }
  }
}

function few(number) {
  if (number >= 10000) return Math.round(number / 1000) + "k";
  return number >= 10 || number === 0 ? String(Math.round(number)) : number.toFixed(1);
}
const whole = (number) => (number >= 10000 ? few(number) : String(number));
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const percent = (share) => (share > 0 && share < 0.01 ? "<1" : Math.round(share * 100)) + "%";
const clip = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);
function age(then, now) {
  const seconds = Math.max(0, Math.round((now - Date.parse(then)) / SECOND));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}

let view = null, chosen = null, changes = [], started = null, since = 0, failures = 0, timer = null;

// ---- signs: each state has a shape besides its colour ----
function sign(state) {
  const shapes = {
    "ready": ["circle", { r: 5, class: "sign solid" }],
    "last-resort": ["path", { d: "M0 -6 L6 5 L-6 5 Z", class: "sign solid" }],
    "not-ready": ["path", { d: "M-5 -5 L5 5 M5 -5 L-5 5", class: "sign" }],
    "terminating": ["path", { d: "M0 -6 L6 0 L0 6 L-6 0 Z", class: "sign" }],
    "elsewhere": ["circle", { r: 5, class: "sign" }],
    "gone": ["path", { d: "M-5 0 L5 0", class: "sign" }],
  };
  const [name, attributes] = shapes[state] || shapes.elsewhere;
  return draw(name, attributes);
}

// ---- the picture ----
const width = () => Math.max(560, at("flows").clientWidth || 560);
function columns() {
  const all = width();
  return { left: 12, from: all * 0.33, box: all * 0.41, boxEnd: all * 0.6, to: all * 0.67, right: all - 12, all };
}
const rows = (service) => Math.max(service.frontends.length + (service.moreFrontends ? 1 : 0),
  service.endpoints.length + (service.moreEndpoints ? 1 : 0), 2);
const height = (service) => rows(service) * ROW + PAD * 2;

function shares(items, value, counts) {
  const sum = items.filter(counts).reduce((sum, item) => sum + value(item), 0);
  const number = items.filter(counts).length;
  return items.map((item) => (!counts(item) ? 0 : sum > 0 ? value(item) / sum : 1 / number));
}

function curve(x1, y1, x2, y2) {
  const middle = (x1 + x2) / 2;
  return `M${x1} ${y1} C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
}

// Where each line meets the Service's box: one beside the other, as wide as they are.
function places(widths, middle) {
  let y = middle - widths.reduce((sum, width) => sum + width, 0) / 2;
  return widths.map((width) => { const place = y + width / 2; y += width; return place; });
}

function band(service) {
  const group = draw("g", { class: "band", tabindex: 0, role: "button", "data-service": service.name });
  group.append(draw("rect", { class: "card", rx: 8 }), draw("line", { class: "rule" }), draw("g", { class: "lines" }),
    draw("rect", { class: "box", rx: 8 }), draw("text", { class: "title middle" }), draw("text", { class: "soft middle kind" }),
    draw("text", { class: "soft middle rate" }), draw("g", { class: "fronts" }), draw("g", { class: "ends" }));
  group.append(draw("title"));
  group.addEventListener("click", () => choose(service.name));
  group.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(service.name); }
  });
  return group;
}

function updateBand(group, service, top) {
  const x = columns(), tall = height(service), middle = tall / 2;
  const part = (selector) => group.querySelector(`:scope > ${selector}`);
  set(group, { transform: `translate(0 ${top})`, class: service.name === chosen ? "band chosen" : "band",
    "aria-label": spoken(service), "aria-pressed": service.name === chosen });
  set(part(".card"), { x: 2, y: 2, width: x.all - 4, height: tall - 4 });
  set(part(".rule"), { x1: 12, x2: x.all - 12, y1: tall, y2: tall });
  const dead = service.nothing || service.used === 0;
  const boxTop = Math.max(8, middle - 34);
  set(part(".box"), { x: x.box, y: boxTop, width: x.boxEnd - x.box, height: Math.min(68, tall - 16), class: dead ? "box dead" : "box" });
  const center = (x.box + x.boxEnd) / 2, room = Math.floor((x.boxEnd - x.box - 16) / 7.4);
  say(set(part(".title"), { x: center, y: middle - 16 }), clip(service.name, room));
  say(set(part(".kind"), { x: center, y: middle + 1 }), clip(`${service.kind} · ${service.used}/${service.known} used`, room + 2));
  const tracked = service.connections === undefined ? "" : ` · ${whole(service.connections)} tracked`;
  say(set(part(".rate"), { x: center, y: middle + 18 }), `${few(service.rate)} new/s${tracked}`);
  say(part("title"), spoken(service));
  updateLines(group, service, x, middle);
}

function updateLines(group, service, x, middle) {
  const lines = [];
  const live = (frontend) => !frontend.deadEnd;
  const measure = service.rate > 0 ? (frontend) => frontend.rate : (frontend) => frontend.served;
  const left = shares(service.frontends, measure, live);
  const shown = (endpoint) => ["ready", "last-resort"].includes(endpoint.state) || (endpoint.connections || 0) > 0;
  const right = shares(service.endpoints, (endpoint) => endpoint.connections || 0, shown);
  const wide = (share) => Math.max(1.5, share * WIDEST);
  const count = (list, more) => list.length + (more ? 1 : 0);
  const row = (index, number) => middle + (index - (number - 1) / 2) * ROW;
  const fronts = service.frontends.map((frontend, index) =>
    ({ ...frontend, y: row(index, count(service.frontends, service.moreFrontends)), share: left[index] }));
  const ends = service.endpoints.map((endpoint, index) =>
    ({ ...endpoint, y: row(index, count(service.endpoints, service.moreEndpoints)), share: right[index] }));
  const alive = fronts.filter(live), used = ends.filter(shown);
  const inPlaces = places(alive.map((frontend) => wide(frontend.share)), middle);
  alive.forEach((frontend, index) => lines.push({ key: "f" + frontend.frontend, wide: wide(frontend.share),
    moving: frontend.rate > 0, state: frontend.rate > 0 ? "" : "idle", d: curve(x.from, frontend.y, x.box, inPlaces[index]) }));
  fronts.filter((frontend) => frontend.deadEnd).forEach((frontend) => lines.push({ key: "f" + frontend.frontend, wide: 2,
    state: "dead", moving: false, cross: `M${x.box - 24} ${frontend.y - 5} l10 10 m0 -10 l-10 10`, d: curve(x.from, frontend.y, x.box - 28, frontend.y) }));
  const outPlaces = places(used.map((endpoint) => wide(endpoint.share)), middle);
  used.forEach((endpoint, index) => lines.push({ key: "e" + endpoint.protocol + endpoint.target, wide: wide(endpoint.share),
    moving: service.rate > 0 && (endpoint.state === "ready" || endpoint.state === "last-resort"),
    state: endpoint.state === "ready" ? (service.connections > 0 ? "" : "idle") : endpoint.state,
    d: curve(x.boxEnd, outPlaces[index], x.to, endpoint.y) }));
  keep(group.querySelector(":scope > .lines"), lines, (line) => line.key,
    () => { const pair = draw("g"); pair.append(draw("path"), draw("path")); return pair; },
    (pair, line) => {
      set(pair.firstChild, { class: "flow " + line.state, d: line.d, "stroke-width": line.wide.toFixed(1) });
      set(pair.lastChild, { class: line.cross ? "cross" : line.moving ? "moving" : "moving still", d: line.cross || line.d });
    });
  updateFronts(group.querySelector(":scope > .fronts"), fronts, service, x, row);
  updateEnds(group.querySelector(":scope > .ends"), ends, service, x, row, (endpoint) => shown(endpoint) && service.connections > 0);
}

function withMore(items, more, what) {
  return more ? [...items, { more: `and ${more} more ${what}` }] : items;
}

function updateFronts(parent, fronts, service, x, row) {
  const all = withMore(fronts, service.moreFrontends, "frontends");
  keep(parent, all, (frontend) => frontend.more || frontend.frontend,
    () => { const line = draw("g"); line.append(draw("text"), draw("text", { class: "soft end" })); return line; },
    (line, frontend) => {
      const y = frontend.more ? row(all.length - 1, all.length) : frontend.y;
      const note = frontend.more ? "" : frontend.deadEnd ? deadWord(frontend.words) : `${frontend.kind} ${few(frontend.rate)}/s`;
      say(set(line.firstChild, { x: x.left, y }), frontend.more || clip(frontend.frontend, Math.floor((x.from - x.left - note.length * 5.8 - 12) / 6.8)));
      say(set(line.lastChild, { x: x.from - 6, y, class: frontend.deadEnd ? "state end not-ready" : "soft end" }), note);
    });
}
const deadWord = (words) => "✕ " + words.split(":")[0];

function updateEnds(parent, ends, service, x, row, counted) {
  const all = withMore(ends, service.moreEndpoints, "endpoints");
  keep(parent, all, (endpoint) => endpoint.more || endpoint.protocol + endpoint.target + endpoint.state,
    (endpoint) => {
      const line = draw("g", { "data-endpoint": endpoint.target || "", "data-state": endpoint.state || "", class: endpoint.state || "" });
      const mark = draw("g");
      if (!endpoint.more) mark.append(sign(endpoint.state));
      line.append(mark, draw("text"), draw("text", { class: "state end" }));
      return line;
    },
    (line, endpoint) => {
      const y = endpoint.more ? row(all.length - 1, all.length) : endpoint.y;
      set(line.childNodes[0], { transform: `translate(${x.to + 8} ${y})` });
      const share = endpoint.more ? "" : counted(endpoint) ? `${percent(endpoint.share)} · ${whole(endpoint.connections)} tracked` : "";
      const state = endpoint.more ? "" : STATES[endpoint.state] || endpoint.state;
      const note = endpoint.state === "ready" && share ? share : share ? `${state} · ${share}` : state;
      const room = Math.floor((x.right - x.to - 26 - note.length * 5.8) / 6.8);
      const name = endpoint.pod ? `${endpoint.pod}  ${endpoint.target}` : endpoint.target || "";
      const text = endpoint.more || (name.length > room && endpoint.pod ? clip(endpoint.pod, room) : clip(name, room));
      say(set(line.childNodes[1], { x: x.to + 20, y }), text);
      say(set(line.childNodes[2], { x: x.right, y }), note);
    });
}

function spoken(service) {
  const dead = service.frontends.filter((frontend) => frontend.deadEnd).length;
  const nothing = service.nothing ? `nothing of it is in the kernel: ${service.nothing}; ` : "";
  return `Service ${service.name}, ${service.kind}: ${nothing}${service.used} of ${plural(service.known, "endpoint")} used, ` +
    `${few(service.rate)} new connections a second` + (dead ? `, ${plural(dead, "dead end")}` : "");
}

function updatePicture() {
  let top = 0;
  const tops = new Map();
  for (const service of view.services) { tops.set(service.name, top); top += height(service); }
  keep(at("flows"), view.services, (service) => service.name, band, (group, service) => updateBand(group, service, tops.get(service.name)));
  set(at("flows"), { height: Math.max(top, 90), viewBox: `0 0 ${width()} ${Math.max(top, 90)}` });
  const shown = view.services.length;
  say(at("count"), view.matching === 0 ? (view.total ? "No Service has this in its name." : view.busy ? "Not seen yet." : "No Services yet.") :
    shown < view.matching ? `The ${shown} busiest of ${view.matching} Services; Find shows others.` : plural(shown, "Service") + ".");
}

// ---- beside the picture ----
function choose(name) {
  chosen = chosen === name ? null : name;
  update();
}

function table(caption, headings, lines) {
  const made = make("table"), head = made.createTHead().insertRow();
  made.createCaption().textContent = caption;
  headings.forEach((heading) => { const cell = make("th", heading[1], heading[0]); cell.scope = "col"; head.append(cell); });
  const body = made.createTBody();
  for (const line of lines) {
    const row = body.insertRow();
    line.forEach((text, index) => { const cell = row.insertCell(); cell.textContent = text; cell.className = headings[index][1] || ""; });
  }
  return made;
}

function updateDetails() {
  const service = view.services.find((service) => service.name === chosen);
  say(at("chosen"), chosen || "No Service chosen");
  say(at("summary"), service ? spoken(service) + "." : chosen ? "It is not in the picture now." : "Choose one in the picture, by mouse or with Tab and Enter.");
  if (!service) return at("tables").replaceChildren();
  const open = (endpoint) => (endpoint.connections === undefined ? "-" : String(endpoint.connections));
  at("tables").replaceChildren(
    table("Frontends", [["dialled", "name"], ["what happens"], ["new", "number"], ["lost", "number"]],
      service.frontends.map((f) => [f.frontend, [f.kind, f.words].join(": "), String(f.served), String(f.unserved)])),
    table("Endpoints", [["endpoint", "name"], ["pod"], ["state"], ["tracked", "number"]],
      service.endpoints.map((e) => [e.target, [e.pod, e.node].filter(Boolean).join(" on "), e.words, open(e)])));
}

function updateDeadEnds() {
  say(at("dead-count"), view.deadEnds.length ? `(${view.deadEnds.length})` : "");
  const lines = view.deadEnds.length ? view.deadEnds : [{ none: "None: every frontend has an endpoint." }];
  keep(at("dead-ends"), lines, (line) => line.none || line.service + line.frontend, (line) => make("li", line.none ? "empty" : ""),
    (item, line) => say(item, line.none || `✕ ${line.service} at ${line.frontend}: ${line.words}` + (line.count ? ` · met by ${plural(line.count, "connection")}` : "")));
}

function changeItem(change) {
  const item = make("li", "fresh"), other = change.by.other;
  const time = make("time", "", new Date(change.at).toLocaleTimeString([], { hour12: false }));
  time.dateTime = change.at;
  item.append(time, " ", make("strong", "", change.subject));
  if (other) item.append(" ", make("span", "foreign", `⚠ by ${other}`));
  const what = make("ul");
  what.append(...change.what.map((line) => make("li", "", line)));
  item.append(what);
  return item;
}

function updateChanges() {
  const lines = changes.length ? changes : [{ number: "none" }];
  keep(at("changes"), lines, (change) => String(change.number),
    (change) => (change.subject ? changeItem(change) : make("li", "empty", "Nothing has changed since the agent started.")), () => {});
}

function updateHealth() {
  const agent = view.agent, now = Date.parse(view.health.currentTime), refused = Object.keys(agent.refused).length;
  say(at("node"), `on ${agent.node || "this node"} · ${agent.version}`);
  document.title = `Portolan on ${agent.node}`;
  const lines = [
    [!agent.failing && view.health.healthy, "rules", agent.lastPass ? "in the kernel" : "not written yet", "behind"],
    [!agent.sourceStale, "source", "heard", agent.sourceStale && `silent for ${age(agent.sourceStale, now)}`],
    [true, "verified", agent.verified ? `${age(agent.verified, now)} ago` : "not yet"],
    [refused === 0, "refused", "none", plural(refused, "Service")],
    [true, "up", age(agent.started, now)],
  ];
  keep(at("health"), lines, (line) => line[1], () => make("li"), (item, [good, what, yes, no]) => {
    item.className = good ? "good" : "bad";
    say(item, `${good ? "✓" : "✕"} ${what}: ${good ? yes : no}`);
  });
  const troubles = [];
  if (agent.failing) troubles.push(`Nothing can be brought in line for ${age(agent.failing.since, now)}: ${agent.failing.reason}`);
  if (agent.sourceStale) troubles.push(`The source of objects is silent for ${age(agent.sourceStale, now)}: ${agent.sourceError}. What is programmed stays.`);
  for (const [name, reason] of Object.entries(agent.refused)) troubles.push(`The kernel refuses ${name}: ${reason}. Its last good state stays.`);
  if (view.uncounted) troubles.push(`Connections cannot be counted: ${view.uncounted}.`);
  if (view.busy) troubles.push("The agent is busy; the picture is older, or still to come.");
  complain(troubles.join(" "));
}

function complain(text) {
  at("trouble").hidden = !text;
  say(at("trouble"), text);
}

function update() {
  if (!view) return;
  updateHealth();
  updatePicture();
  updateDetails();
  updateDeadEnds();
  updateChanges();
}

// ---- asking ----
async function ask() {
  clearTimeout(timer);
  if (!document.hidden) {
    const find = at("find").value.trim();
    try {
      const path = `api/state/${since}` + (find ? "/" + encodeURIComponent(find) : "");
      const answer = await fetch(path, { signal: AbortSignal.timeout(10 * SECOND) });
      if (!answer.ok) throw new Error(`code ${answer.status}: ${await answer.text()}`);
      take(await answer.json());
      failures = 0;
    } catch (error) {
      failures += 1;
      document.body.dataset.state = "away";
      complain(`The agent does not answer (${error.message}). What is shown is from before; the rules in the kernel stay.`);
    }
  }
  clearTimeout(timer);
  timer = setTimeout(ask, Math.min(SECOND * (1 + failures), 5 * SECOND));
}

function take(news) {
  if (started !== null && started !== news.agent.started) {
    // Another process: its changes count from 1 again.
    changes = [];
    since = 0;
    started = null;
    return;
  }
  started = news.agent.started;
  // A busy agent may have no picture of what is looked for: what was seen last stays.
  const last = news.busy && view ? { services: view.services, matching: view.matching, total: view.total, deadEnds: view.deadEnds } : {};
  view = { ...news, ...last };
  changes = [...news.changes.filter((change) => change.number > since).reverse(), ...changes].slice(0, 200);
  if (changes.length) since = Math.max(since, changes[0].number);
  document.body.dataset.state = "live";
  update();
}

function begin() {
  for (const [state, words] of Object.entries(STATES)) {
    const item = make("li", state), picture = draw("svg", { viewBox: "-9 -8 18 16", "aria-hidden": true });
    picture.append(sign(state));
    item.append(picture, " " + words);
    at("signs").append(item);
  }
  at("find").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 150); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== at("find")) { event.preventDefault(); at("find").focus(); }
    if (event.key === "Escape" && chosen) choose(chosen);
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  new ResizeObserver(() => { if (view) updatePicture(); }).observe(at("picture"));
  ask();
}
begin();
