// One image at a time. An answer is first kept in the browser, then by the server, and only then the next image comes;
// without a connection the answers wait here and the images loaded in advance go on.
"use strict";

const ATTRIBUTES = ["age", "gender", "ethnicity"];
const ADJUDICATED = "adjudicated";
const PREFIX = `review-${document.body.dataset.review}:`;
const QUEUE = `${PREFIX}queue:`;
const PATIENCE = 1500;
const DEADLINE = 5000;
const FIRST_RETRY = 250;
const LAST_RETRY = 5000;
const AHEAD = 6;

const find = (id) => document.getElementById(id);
const fieldsets = new Map([...document.querySelectorAll("fieldset")].map((set) => [set.dataset.attribute, set]));
const wait = (time) => new Promise((resolve) => setTimeout(resolve, time, null));
const tabs = new BroadcastChannel(PREFIX);

let state = null; // what the server said last
let line = []; // what comes after the current image
let current = null; // the image that is asked about
let choices = {};
let settling = false;
let busy = false;
let trail = []; // images answered on this page, for undo without a connection
let counter = 0;
let sending = null;
let retry = null;
let delay = FIRST_RETRY;
const pictures = new Map();

class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// ---- speaking with the server

async function ask(path, body) {
  const options = { signal: AbortSignal.timeout(DEADLINE), cache: "no-store" };
  if (body !== undefined) {
    Object.assign(options, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  }
  const reply = await fetch(path, options);
  if (reply.ok) return reply.json();
  const found = await reply.json().catch(() => ({}));
  if (reply.status >= 500) throw new Error(found.error || reply.statusText);
  throw new Refused(found.error || `The server refused this (${reply.status}).`, reply.status);
}

function trouble(text) {
  if (find("trouble").textContent !== text) find("trouble").textContent = text;
}

function failed(error) {
  if (error instanceof Refused) {
    trouble(error.message);
    if (error.status === 428) start();
  } else {
    trouble("The server does not answer. What you answer is kept in this browser and sent as soon as it does.");
  }
}

// ---- answers on their way

function queued() {
  const keys = [];
  for (let k = 0; k < localStorage.length; k += 1) keys.push(localStorage.key(k));
  return keys.filter((key) => key.startsWith(QUEUE)).sort();
}

function waiting() {
  return queued().map((key) => JSON.parse(localStorage.getItem(key) || "null")).filter(Boolean);
}

function keep(message) {
  counter += 1;
  const order = `${String(Date.now()).padStart(15, "0")}-${String(counter).padStart(6, "0")}`;
  localStorage.setItem(`${QUEUE}${order}-${message.id}`, JSON.stringify(message));
}

function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function send() {
  sending ??= drain().finally(() => {
    sending = null;
  });
  return sending;
}

async function drain() {
  let last = null;
  for (let [key] = queued(); key; [key] = queued()) {
    const message = JSON.parse(localStorage.getItem(key) || "null");
    try {
      if (message) last = await ask("/api/answers", message);
    } catch (error) {
      if (!(error instanceof Refused) || error.status === 401 || error.status === 428) {
        failed(error);
        later();
        return null;
      }
      trouble(`An answer was not taken: ${error.message}`);
      localStorage.removeItem(key);
      continue;
    }
    localStorage.removeItem(key);
    tabs.postMessage({ image: message?.image, annotator: message?.annotator });
    delay = FIRST_RETRY;
    if (find("trouble").textContent.startsWith("The server")) trouble("");
  }
  return last;
}

function later() {
  clearTimeout(retry);
  retry = setTimeout(catchUp, delay);
  delay = Math.min(2 * delay, LAST_RETRY);
}

// Sends what waits, and goes on where nothing was left to show.
async function catchUp() {
  if (state === null) return;
  try {
    const sent = await send();
    if (queued().length === 0) {
      accept(sent && sent.annotator === me() ? sent : await fresh());
      if (find("trouble").textContent.startsWith("The server")) trouble("");
      if (!current && !busy) await next();
    }
  } catch (error) {
    failed(error);
    later();
  }
  describe();
}

const fresh = () => ask(settling ? "/api/adjudication" : "/api/state");
const me = () => (settling ? ADJUDICATED : state?.annotator);

function accept(found) {
  if (!found || found.annotator !== me()) return;
  state = found;
  const gone = new Set(waiting().filter((message) => message.annotator === me()).map((message) => message.image));
  line = state.next.filter((item) => item.image !== current?.image && !gone.has(item.image));
}

// ---- pictures

function picture(image, view = "face") {
  const name = `${image}/${view}`;
  let found = pictures.get(name);
  if (!found) {
    const element = new Image();
    element.alt = view === "face" ? "The face to be described" : "The whole photo";
    element.src = `/images/${name}`;
    found = { element, ready: element.decode().then(() => true, () => false) };
    pictures.set(name, found);
  }
  return found;
}

// A picture that cannot be shown says why; one that the connection kept away is fetched again.
async function pictureOrReason(image, view) {
  for (;;) {
    const found = picture(image, view);
    if (await found.ready) return found.element;
    pictures.delete(`${image}/${view}`);
    try {
      const reply = await fetch(`/images/${image}/${view}`, { cache: "no-store", signal: AbortSignal.timeout(DEADLINE) });
      if (reply.status >= 400 && reply.status < 500) {
        const text = document.createElement("p");
        text.textContent = `${(await reply.json()).error} If nothing can be seen, answer “not a face / bad image”.`;
        return text;
      }
    } catch (error) {
      failed(error);
    }
    await wait(FIRST_RETRY);
  }
}

function prepare() {
  const wanted = new Set([current?.image, ...trail.slice(-2), ...line.slice(0, AHEAD).map((item) => item.image)]);
  for (const name of pictures.keys()) if (!wanted.has(Number(name.split("/")[0]))) pictures.delete(name);
  for (const item of line.slice(0, AHEAD)) picture(item.image);
}

// ---- one image

async function next() {
  current = line.shift() ?? null;
  if (current === null) {
    await nothingLeft();
    return;
  }
  const item = current;
  busy = true;
  const element = await pictureOrReason(item.image, "face");
  if (current !== item) return;
  choices = {};
  find("note").value = item.note;
  const draft = JSON.parse(localStorage.getItem(`${PREFIX}draft`) || "null");
  if (draft && draft.image === item.image && draft.annotator === me()) {
    choices = draft.choices;
    find("note").value = draft.note;
  }
  for (const [attribute, set] of fieldsets) {
    set.hidden = !item.ask.includes(attribute);
    const said = set.querySelector(".said");
    said.hidden = !item.said;
    said.textContent = (item.said || []).map((one) => `${one.name}: ${plain(one[attribute])}`).join(" · ");
  }
  view("work");
  press(find("whole"), false);
  find("frame").replaceChildren(element);
  busy = false;
  describe();
  mark();
  say(`${find("count").textContent}. ${question()?.querySelector("legend").textContent ?? ""}?`);
  requestAnimationFrame(() => setTimeout(shown));
}

function shown() {
  if (performance.getEntriesByName("answered").length > 0) {
    performance.measure("answer to image", "answered");
    performance.clearMarks("answered");
  }
  document.body.dataset.image = current?.image ?? "";
  // Only now: the pictures to come must not hold this one up.
  prepare();
}

const plain = (value) => (value ?? "no answer").replaceAll("_", " ");
const question = () => fieldsets.get(current?.ask.find((attribute) => !choices[attribute]));

function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

function mark() {
  for (const [attribute, set] of fieldsets) {
    set.classList.toggle("current", set === question());
    for (const button of set.querySelectorAll("button")) press(button, choices[attribute] === button.dataset.value);
  }
  find("back").disabled = !current || !current.ask.some((attribute) => choices[attribute]);
  const active = document.activeElement;
  if (question() && (active === document.body || active.closest("fieldset") || !active.offsetParent)) {
    question().focus({ preventScroll: true });
  }
}

function choose(attribute, value) {
  if (busy || !current) return;
  choices[attribute] = value;
  if (current.ask.every((name) => choices[name])) {
    give("answer", { ...choices });
    return;
  }
  draft();
  mark();
  say(`${plain(value)}. ${question().querySelector("legend").textContent}?`);
}

function draft() {
  const kept = { image: current.image, annotator: me(), choices, note: find("note").value };
  localStorage.setItem(`${PREFIX}draft`, JSON.stringify(kept));
}

function back() {
  const given = current?.ask.filter((attribute) => choices[attribute]) ?? [];
  if (busy || given.length === 0) return;
  delete choices[given.at(-1)];
  draft();
  mark();
  say(`${question().querySelector("legend").textContent}?`);
}

function noFace() {
  if (!busy && current) give("answer", Object.fromEntries(ATTRIBUTES.map((name) => [name, find("noface").dataset.value])));
}

async function give(kind, labels, image = current.image) {
  busy = true;
  performance.clearMarks("answered");
  performance.mark("answered");
  const note = kind === "undo" ? "" : find("note").value;
  const message = { id: newId(), annotator: me(), image, kind, labels, note, made: new Date().toISOString() };
  keep(message);
  localStorage.removeItem(`${PREFIX}draft`);
  if (kind === "answer") trail.push(image);
  const item = current;
  current = null;
  const found = await Promise.race([send(), wait(PATIENCE)]);
  if (found && found.annotator === me()) accept(found);
  else if (queued().length === 0) accept(await fresh().catch(() => null));
  else offline(kind, image, item);
  await next();
}

// Without the server: undo shows the image again, skip leaves it for the end, an answer leads to what is loaded.
function offline(kind, image, item) {
  const again = { image, note: "", ask: item?.ask ?? ATTRIBUTES };
  if (kind === "undo" && item) line.unshift(item);
  if (kind === "undo") line.unshift(again);
  if (kind === "skip") line.push(item);
  later();
}

function undo() {
  const image = trail.at(-1) ?? state?.last;
  if (busy || image === null || image === undefined) return;
  trail.pop();
  give("undo", {}, image);
}

function skip() {
  if (!busy && current && !settling) give("skip", {});
}

async function whole() {
  if (busy || !current) return;
  const item = current;
  const on = find("whole").getAttribute("aria-pressed") !== "true";
  press(find("whole"), on);
  const element = await pictureOrReason(item.image, on ? "whole" : "face");
  if (current === item && (find("whole").getAttribute("aria-pressed") === "true") === on) {
    find("frame").replaceChildren(element);
    say(element.alt ?? element.textContent);
  }
}

// ---- what is said beside it

function view(name) {
  for (const id of ["start", "work", "rest", "differences"]) find(id).hidden = id !== name;
  find("about").hidden = name === "start";
}

function say(text) {
  find("status").textContent = text;
}

function forecast(when) {
  const known = state.outlook.filter((one) => one[when] !== null);
  return known.map((one) => `${one.attribute} ± ${(100 * one[when]).toFixed(1)}`).join(", ") + (known.length ? " points" : "");
}

function describe() {
  if (!state?.annotator) return;
  const left = waiting().filter((message) => message.annotator === me());
  const done = Math.min(state.done + left.filter((message) => message.kind === "answer").length, state.total);
  find("who").textContent = settling ? "Settling differences" : `Annotator: ${state.annotator}`;
  find("count").textContent = `${settling ? "Difference" : "Image"} ${Math.min(done + 1, state.total)} of ${state.total}`;
  find("meter").max = Math.max(state.total, 1);
  find("meter").value = done;
  find("kept").textContent = left.length === 0 ? "All answers are kept." : `${left.length} waiting to be sent.`;
  find("undo").disabled = find("again").disabled = trail.length === 0 && state.last === null;
  find("skip").hidden = settling;
  const now = forecast("now");
  const then = forecast("then");
  const { done: seen, total: all } = state.outlook[0] ?? { done: 0, total: 0 };
  const parts = [now && seen < all ? `after the ${seen} images done so far ${now}` : "", then ? `after all ${all} ${then}` : ""];
  find("outlook").textContent = then ? `Widest interval expected ${parts.filter(Boolean).join("; ")}.` : "";
  if (find("progress").open) progress();
}

function rest(open) {
  const others = state.waiting_for.filter((name) => name !== state.annotator);
  const written = "Write the checked sheet with audit-labels review --export.";
  if (open) return ["Waiting for the server", "Your answers are kept in this browser; the page goes on as soon as the server answers."];
  if (settling) {
    const shown = "The model’s labels can be shown now. Once they are shown, no answer to these images can be changed.";
    return ["All differences are settled", state.model ? shown : written];
  }
  const title = "All your images are answered";
  if (state.adjudication) return [title, "Everybody has finished. Now the images on which you differ can be settled."];
  return [title, others.length > 0 ? `Thank you. Still at work: ${others.join(", ")}.` : `Thank you. ${written}`];
}

async function nothingLeft() {
  busy = false;
  if (queued().length === 0) {
    try {
      accept(await fresh());
    } catch (error) {
      failed(error);
      later();
    }
    if (line.length > 0) {
      await next();
      return;
    }
  }
  describe();
  const open = queued().length > 0;
  const [title, text] = rest(open);
  find("rest-title").textContent = title;
  find("rest-text").textContent = text;
  find("settle").hidden = open || settling || !state.adjudication;
  find("model").hidden = open || !settling || !state.model;
  find("again").hidden = open;
  view("rest");
  find("rest").focus({ preventScroll: true });
  say(find("rest-title").textContent);
  shown();
}

function cell(row, text, header = false) {
  const made = document.createElement(header ? "th" : "td");
  if (header) made.scope = header;
  made.textContent = text;
  row.append(made);
}

function tableOf(caption, heads, rows) {
  const box = document.createElement("div");
  box.className = "scroll";
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", caption);
  const table = document.createElement("table");
  table.createCaption().textContent = caption;
  const head = table.createTHead().insertRow();
  for (const text of heads) cell(head, text, "col");
  const body = table.createTBody();
  for (const texts of rows) {
    const row = body.insertRow();
    texts.forEach((text, k) => cell(row, text, k === 0 ? "row" : false));
  }
  box.append(table);
  return box;
}

async function progress() {
  try {
    const found = await ask("/api/progress");
    const people = found.people.map((one) => [one.name, `${one.done} of ${one.total}`]);
    find("people").replaceChildren(tableOf("Images answered", ["Annotator", "Images"], people));
    const kappa = (value) => (value === null ? "–" : value.toFixed(2));
    const rows = found.agreement.map((one) => [
      `${one.first} and ${one.second}: ${one.attribute}`,
      String(one.n),
      kappa(one.kappa),
      Object.entries(one.by_class).map(([name, value]) => `${plain(name)} ${kappa(value)}`).join(", "),
    ]);
    const caption = "Agreement beyond chance (Cohen’s κ: 1 is full agreement, 0 is chance), from ten images in common on";
    find("kappas").replaceChildren(...(rows.length === 0 ? [] : [tableOf(caption, ["People", "Images", "κ", "κ of each class"], rows)]));
  } catch (error) {
    failed(error);
  }
}

async function model() {
  try {
    const found = (await ask("/api/model", {})).differences;
    find("differences-title").textContent = `People and the model differ on ${found.length} image${found.length === 1 ? "" : "s"}`;
    find("gallery").replaceChildren(...found.map((one) => {
      const item = document.createElement("li");
      const image = new Image();
      image.loading = "lazy";
      image.alt = "A face on which people and the model differ";
      image.src = `/images/${one.image}/face`;
      item.append(image);
      for (const said of one.differences) {
        const text = document.createElement("p");
        text.textContent = `${said.attribute}: people ${plain(said.people)}, model ${plain(said.model)}`;
        item.append(text);
      }
      return item;
    }));
    view("differences");
    find("differences").focus({ preventScroll: true });
  } catch (error) {
    failed(error);
  }
}

// ---- beginning, and going on

function start() {
  state = null;
  current = null;
  settling = false;
  find("who").textContent = "";
  view("start");
  find("name").focus();
}

async function enter(found) {
  state = found;
  line = [];
  trail = [];
  current = null;
  if (!state.annotator) {
    start();
    return;
  }
  trouble("");
  await send();
  accept(queued().length === 0 ? await fresh() : found);
  await next();
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    failed(error);
    busy = false;
  }
}

async function settle() {
  settling = true;
  await guarded(async () => {
    await enter(await ask("/api/adjudication"));
  });
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target.matches("textarea, input")) {
    if (event.key === "Escape") (question() ?? document.body).focus();
    return;
  }
  if (find("work").hidden || !find("keys").checked) return;
  const key = event.key.toLowerCase();
  const commands = { u: undo, s: skip, w: whole, x: noFace, backspace: back, n: () => find("note").focus() };
  if (commands[key]) {
    event.preventDefault();
    commands[key]();
    return;
  }
  const button = question()?.querySelector(`button[data-key="${CSS.escape(key)}"]`);
  if (button && key.length === 1) {
    event.preventDefault();
    choose(question().dataset.attribute, button.dataset.value);
  }
}

document.addEventListener("keydown", onKey);
for (const [attribute, set] of fieldsets) {
  for (const button of set.querySelectorAll("button")) button.addEventListener("click", () => choose(attribute, button.dataset.value));
}
find("noface").addEventListener("click", noFace);
find("back").addEventListener("click", back);
find("undo").addEventListener("click", undo);
find("again").addEventListener("click", undo);
find("skip").addEventListener("click", skip);
find("whole").addEventListener("click", whole);
find("settle").addEventListener("click", settle);
find("model").addEventListener("click", model);
find("refresh").addEventListener("click", () => guarded(nothingLeft));
find("note").addEventListener("input", () => current && draft());
find("progress").addEventListener("toggle", describe);
find("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(async () => enter(await ask("/api/name", { name: find("name").value })));
});
find("leave").addEventListener("click", () => guarded(async () => enter(await ask("/api/name", { name: null }))));
find("invite").addEventListener("click", () => guarded(async () => {
  find("address").value = (await ask("/api/invitation", {})).address;
  find("address").hidden = find("address-label").hidden = false;
  find("address").select();
}));
tabs.addEventListener("message", (event) => {
  if (state === null || event.data.annotator !== me() || busy) return;
  line = line.filter((item) => item.image !== event.data.image);
  if (current?.image === event.data.image && Object.keys(choices).length === 0) {
    current = null;
    guarded(async () => {
      accept(await fresh());
      await next();
    });
  }
});
window.addEventListener("online", catchUp);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) catchUp();
});
guarded(async () => enter(await ask("/api/state")));
