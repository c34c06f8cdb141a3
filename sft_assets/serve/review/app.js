// What a key does. A decision is sent, and confirmed by the server, before the next item is shown; till then this browser
// keeps it.

import { edit, flush, later, leave, save } from "./editing.js";
import * as kept from "./kept.js";
import { $, DECISIONS, KEYS, SAID, announce, at, busy, current, place, say } from "./page.js";
import { ask, banner, once } from "./server.js";
import { count, item as drawn, make } from "./view.js";

const fetched = new Map(); // items that were asked for, by their address

// ------------------------------------------------------------------------------------------------------------- beginning

async function begin() {
  const asked = new URLSearchParams(location.search);
  at.queue = asked.get("queue") ?? "";
  at.reviewer = asked.get("reviewer") ?? await remembered();
  await open();
}

const remembered = async () => (await kept.get("name", {}))?.name ?? "";

async function open() {
  busy(true);
  at.data = null;
  at.sent.clear();
  if (!await look()) return;
  if (!at.state.queues.length) {
    $("none").querySelector("pre").textContent = at.state.commands.export;
    only("none");
    return;
  }
  if (!at.reviewer) {
    await welcome();
    return;
  }
  await kept.put("name", { name: at.reviewer });
  history.replaceState(null, "", `/review?${new URLSearchParams({ queue: at.queue, reviewer: at.reviewer })}`);
  $("who").textContent = at.reviewer;
  $("queue").replaceChildren(...options(at.queue));
  await sendWhatIsLeft();
  await next(-1);
}

const stateOf = ({ queue, reviewer }) => `/review/state?${new URLSearchParams({ queue, reviewer })}`;

// What stands now. False: it cannot be known, and the page says so.
async function look() {
  try {
    at.state = await ask(stateOf(at));
  } catch (error) {
    if (at.queue) { // an address of long ago, or of another folder
      at.queue = "";
      const found = await look();
      if (found) announce(error.message);
      return found;
    }
    banner(error.message);
    return false;
  }
  at.queue = at.state.queue ?? "";
  at.reviewer = at.state.reviewer;
  at.items = at.state.items;
  at.order = at.state.order;
  return true;
}

function options(chosen) {
  const day = (time) => new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return at.state.queues.map(({ name, time, items }) => make("option", { value: name, selected: name === chosen },
    `${time ? day(time) : name}, ${count(items)} items`));
}

async function welcome() {
  $("start-queue").replaceChildren(...options(at.queue));
  $("names").replaceChildren(...at.state.reviewers.map((name) => make("option", { value: name })));
  $("name").value = at.reviewer || await remembered();
  only("start");
  $("name").focus();
}

function only(section) {
  for (const id of ["start", "none", "item", "done"]) $(id).hidden = id !== section;
  const working = section === "item" || section === "done";
  document.querySelector("footer").hidden = !working;
  for (const id of ["queues", "who", "progress", "help-open"]) $(id).hidden = !working;
  document.body.dataset.shows = section;
}

// Decisions of a time when the server was away, or that the browser did not live to see confirmed; whoever made them.
async function sendWhatIsLeft() {
  const known = new Set(at.state.queues.map(({ name }) => name));
  const left = (await kept.all("unsent")).filter(({ queue }) => known.has(queue)).sort((a, b) => a.time - b.time);
  if (!left.length || at.state.read_only) return;
  const told = [];
  for (const record of left) {
    const { number } = record;
    try {
      const { items } = await ask(stateOf(record));
      if (isLater(items.find((one) => one.number === number), record)) await kept.remove("unsent", record);
      else {
        await deliver(record);
        told.push(record.decision === "undo" ? `Item ${number}: taken back.` : `What you said of item ${number} arrived.`);
      }
    } catch (error) {
      told.push(`Item ${number}: ${error.message}`);
    }
  }
  await look();
  announce(told.join(" "));
}

// Whether what the server has is this decision, or one that was made after it (in another browser).
function isLater(there, { decision, time }) {
  const second = Math.floor(time / 1000), theirs = there?.time ? Date.parse(there.time) / 1000 : 0;
  return theirs > second || (theirs === second && there.decision === decision);
}

// ---------------------------------------------------------------------------------------------------------- going about

async function next(from) {
  const open_ = at.items.map((_, n) => (from + 1 + n) % at.items.length).find((n) => !at.items[n].decision);
  await (open_ === undefined ? finish() : show(open_));
}

async function show(index) {
  const asked = ++at.asked;
  busy(true);
  flush();
  at.index = index;
  let data;
  try {
    data = await fetchedItem(at.items[index].number);
  } catch (error) {
    if (asked === at.asked) {
      at.data = at.editing = null;
      only("item");
      $("item").replaceChildren(make("p", { role: "alert" }, error.message));
      busy(false);
    }
    return;
  }
  const draft = await kept.get("draft", place());
  if (asked !== at.asked) return;
  at.data = data;
  at.editing = null;
  at.draft = draft ?? null;
  $("item").replaceChildren(...drawn(data, { place: index + 1, of: at.items.length }));
  $("why").value = at.draft?.why || at.sent.get(data.number)?.why || "";
  only("item");
  buttons();
  progress();
  scrollTo(0, 0);
  $(at.wantsWhy && !at.state.read_only ? "why" : "question").focus({ preventScroll: true });
  busy(false);
  document.body.dataset.number = data.number;
  const after = at.items.find((one, n) => n > index && !one.decision);
  if (!after || fetched.has(addressOf(after.number))) return;
  const address = addressOf(after.number); // so that it is there when it is wanted
  once(address).then((found) => fetched.set(address, found), () => {});
}

const addressOf = (number) => `/review/item?${new URLSearchParams({ queue: at.queue, number })}`;

async function fetchedItem(number) {
  const address = addressOf(number);
  if (fetched.size > 30) fetched.clear();
  const found = fetched.get(address) ?? await ask(address);
  fetched.set(address, found);
  return found;
}

async function move(step) {
  if (at.sending) return;
  const to = document.body.dataset.shows === "done" ? (step < 0 ? at.items.length - 1 : 0) : at.index + step;
  if (to < 0 || to >= at.items.length) return say(step < 0 ? "This is the first item." : "This is the last item.");
  await show(to);
}

async function nextOpen() {
  if (!at.sending) await next(at.index);
}

function progress() {
  const answered = at.items.filter(({ decision }) => decision).length;
  $("bar").max = Math.max(1, at.items.length);
  $("bar").value = answered;
  $("count").textContent = `${count(answered)} of ${count(at.items.length)}`;
  const left = new Map();
  for (const { asked, decision } of at.items) if (!decision) left.set(asked, (left.get(asked) ?? 0) + 1);
  $("left").replaceChildren(...(left.size ? ["left:"] : []), ...[...left].map(
    ([asked, n]) => make("span", { title: at.state.asked[asked] }, `${asked} ${count(n)}`)));
  document.title = `${count(answered)} of ${count(at.items.length)}, review of ${at.state.folder}`;
}

function buttons() {
  const mine = current()?.decision;
  const fixed = at.state.read_only;
  const shown = document.body.dataset.shows === "item" && at.data;
  $("decide").replaceChildren(...(shown ? DECISIONS.filter(({ decision }) => at.data.choices.includes(decision)) : []).map(
    ({ decision, key, label }) => make("button", {
      type: "button", "data-decision": decision, disabled: fixed, "aria-pressed": String(mine === decision),
      "aria-keyshortcuts": key, on: { click: () => press(decision) },
    }, make("kbd", {}, key), ` ${label}`, effect(decision))));
  $("why-line").hidden = !shown || fixed;
  const actions = [
    ["u", "Undo", takeBack, fixed || !at.order.length],
    ["←", "Previous", () => move(-1), false], ["→", "Next", () => move(1), false],
    ["j", "Next open", nextOpen, false],
  ];
  $("move").replaceChildren(...actions.map(([key, label, work, disabled]) => make("button", {
    type: "button", class: /[a-z]/.test(key) ? "letter" : "arrow", disabled, "aria-label": label, on: { click: work },
    "aria-keyshortcuts": { "←": "ArrowLeft", "→": "ArrowRight" }[key] ?? key,
  }, make("kbd", {}, key), make("span", {}, ` ${label}`))));
  if (!shown) return;
  if (mine) say(`You said: ${SAID[mine] ?? mine}. Another key says otherwise, u takes it back.`);
  else if (fixed) say("This server is read-only: it takes no decision.");
  else if (at.draft?.edit !== undefined) say("You began to edit this answer; e goes on with it.");
  else if (!at.fresh) say("");
  at.fresh = false;
}

// What a decision does here, where the label alone does not tell.
function effect(decision) {
  const out = at.data.verdict === "dropped";
  const keep = out ? "bring it back" : at.data.choices.includes("prefer_b") ? "A is better" : "leave it in";
  const text = { keep, drop: out ? "leave it out" : "take it out" }[decision];
  return text ? make("small", {}, ` ${text}`) : null;
}

// ------------------------------------------------------------------------------------------------------------- deciding

function press(decision) {
  if (at.busy || !at.data || document.body.dataset.shows !== "item") return undefined;
  if (at.state.read_only) return say("This server is read-only: it takes no decision.");
  if (!at.data.choices.includes(decision)) return say(`"${SAID[decision]}" is no answer to this question.`);
  return decision === "edit" ? edit((answer) => decide("edit", answer)) : decide(decision);
}

async function decide(decision, answer = null) {
  if (at.busy) return;
  busy(true, true);
  say("");
  const index = at.index;
  const record = { ...place(), decision, why: $("why").value.trim(), answer, time: Date.now() };
  $("decide").querySelector(`[data-decision="${decision}"]`)?.setAttribute("aria-pressed", "true");
  try {
    await flush();
    await kept.put("unsent", record);
    await deliver(record);
  } catch (error) {
    busy(false);
    buttons();
    say(`Not recorded: ${error.message}`);
    return;
  }
  mark(record.number, decision);
  at.sent.set(record.number, { why: record.why, ...(answer === null ? {} : { edit: answer }) });
  announce(`${count(index + 1)}: ${SAID[decision]}.`);
  await next(index);
}

// Send what this browser keeps, a decision or that one is taken back, until the server has it; then the browser need not.
async function deliver(record) {
  const { queue, number, reviewer, decision, why, answer } = record;
  if (decision === "undo") {
    try {
      await ask("/review/undo", { queue, number, reviewer }, "What you said is taken back as soon as it does.");
    } finally {
      await kept.remove("unsent", record);
    }
    return;
  }
  try {
    await ask("/review/decide", { queue, number, reviewer, decision, why, answer },
      `Your decision about item ${number} is kept in this browser and sent as soon as it does.`);
  } catch (error) {
    await keepDraft(record, { why, ...(answer === null ? {} : { edit: answer }) });
    await kept.remove("unsent", record);
    throw error;
  }
  const draft = await kept.get("draft", record);
  if (draft && decision !== "edit" && draft.edit !== undefined) await kept.put("draft", { ...draft, why: "" });
  else if (draft) await kept.remove("draft", record);
  await kept.remove("unsent", record);
}

async function keepDraft({ queue, reviewer, number }, values) {
  const before = await kept.get("draft", { queue, reviewer, number });
  await kept.put("draft", { ...before, ...values, queue, reviewer, number });
}

function mark(number, decision) {
  const one = at.items.find((found) => found.number === number);
  if (one) one.decision = decision;
  at.order = at.order.filter((found) => found !== number);
  if (decision) at.order.push(number);
}

async function takeBack() {
  if (at.busy) return;
  if (at.state.read_only) return say("This server is read-only: it takes no decision.");
  const here = document.body.dataset.shows === "item" ? current() : null;
  const number = here?.decision ? here.number : at.order.at(-1);
  if (number === undefined) return say("There is nothing that you said of this queue.");
  busy(true, true);
  const index = at.items.findIndex((one) => one.number === number);
  const was = at.items[index]?.decision;
  const record = { queue: at.queue, reviewer: at.reviewer, number, decision: "undo", time: Date.now() };
  try {
    await flush();
    await kept.put("unsent", record);
    await deliver(record);
    if (at.sent.has(number) && !await kept.get("draft", record)) await keepDraft(record, at.sent.get(number));
  } catch (error) {
    busy(false);
    return say(`Not taken back: ${error.message}`);
  }
  mark(number, null);
  announce(`Taken back: ${SAID[was] ?? "what you said"}.`);
  await (index < 0 ? next(-1) : show(index));
}

// ------------------------------------------------------------------------------------------------------------------ done

async function finish() {
  const asked = ++at.asked;
  busy(true);
  at.data = at.editing = null;
  at.index = -1;
  const tally = new Map();
  for (const { decision } of at.items) if (decision) tally.set(decision, (tally.get(decision) ?? 0) + 1);
  const said = [...tally].map(([decision, n]) => `${SAID[decision]} ${count(n)}`).join(", ");
  const heading = make("h1", { tabindex: "-1", id: "question" }, at.items.length ? "That was all" : "Nothing to do");
  const step = make("div", {});
  $("item").replaceChildren();
  $("done").replaceChildren(heading, make("p", {}, at.items.length
    ? `You have answered all ${count(at.items.length)} items of this queue: ${said}.`
    : `No item of this queue is for ${at.reviewer}.`), step);
  only("done");
  buttons();
  progress();
  heading.focus({ preventScroll: true });
  busy(false);
  const { stale, command } = await once("/review/next").catch(() => ({ stale: null, command: "sft run" }));
  if (asked !== at.asked) return;
  const lead = stale === null ? "What was decided is applied by the next run:"
    : stale.length ? `What was decided is to be applied in ${stale.join(" and ")}, and what follows is made anew:`
      : null;
  step.replaceChildren(
    ...(lead ? [make("p", {}, lead), make("pre", {}, command)]
      : [make("p", {}, "All that was decided so far is in the dataset, or agrees with it: there is nothing to run.")]),
    make("p", {}, "How often people and pipeline agree:"), make("pre", {}, at.state.commands.results),
    make("p", { class: "soft" }, "The arrow keys go through your answers once more, u takes the last one back."));
}

// ----------------------------------------------------------------------------------------------------------------- events

const latin = ({ key, code }) => (/^[\x20-\x7e]$/.test(key) || key.length > 1 ? key.toLowerCase() // by place on other keyboards
  : code.startsWith("Key") ? code.slice(3).toLowerCase() : key);

document.addEventListener("keydown", (event) => {
  if (event.isComposing || $("help").open) return;
  const inText = event.target.matches("input, textarea, select");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target === at.editing) {
    event.preventDefault();
    if (!event.repeat) save();
    return;
  }
  if (event.target === $("why") && (event.key === "Enter" || event.key === "Escape")) {
    event.preventDefault();
    flush();
    (at.editing ?? $("question"))?.focus({ preventScroll: true });
    return;
  }
  if (event.key === "Escape" && at.editing) {
    event.preventDefault();
    leave();
    return;
  }
  if (inText || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("footer").hidden) return;
  const key = latin(event);
  const decision = DECISIONS.find((one) => one.key === key)?.decision;
  const work = decision ? () => press(decision) : {
    u: takeBack, w: sayWhy, j: nextOpen, arrowleft: () => move(-1),
    arrowright: () => move(1), "?": () => $("help").showModal(),
  }[key];
  if (!work) return;
  event.preventDefault();
  if (event.repeat && !key.startsWith("arrow")) return; // a key that is held decides once
  if (at.editing && decision) return say("You are editing: Ctrl + Enter saves, Esc leaves.");
  work();
});

// Pressed before the next item is there, it is for that one: what is typed then may not be taken for keys that decide.
function sayWhy() {
  if (at.busy) at.wantsWhy = true;
  else if (!$("why-line").hidden) $("why").focus();
}

$("why").addEventListener("input", () => { if (at.data) later("why", $("why").value); });
$("help-open").addEventListener("click", () => $("help").showModal());
$("who").addEventListener("click", async () => { await flush(); await welcome(); });
$("queue").addEventListener("change", async () => {
  await flush();
  at.queue = $("queue").value;
  $("queue").blur();
  await open();
});
$("start").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  at.queue = $("start-queue").value;
  at.reviewer = $("name").value.trim();
  if (at.reviewer) await open();
});
addEventListener("pagehide", () => flush());

// Another tab may have gone on meanwhile.
document.addEventListener("visibilitychange", async () => {
  if (document.visibilityState !== "visible" || at.busy || !at.reviewer || !at.data) return;
  const { queue, reviewer } = at;
  const found = await once(stateOf({ queue, reviewer })).catch(() => null);
  if (!found || at.busy || queue !== at.queue || reviewer !== at.reviewer) return;
  at.items = found.items;
  at.order = found.order;
  if (at.data) buttons();
  progress();
});

$("help").querySelector("dl").replaceChildren(...KEYS.map(([key, what]) => make("div", {},
  make("dt", {}, ...key.split(" ").map((part) => (part === "+" ? " + " : make("kbd", {}, part)))), make("dd", {}, what))));
begin();
