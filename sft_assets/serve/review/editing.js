// The answer as a person would have it, and what is half-typed: kept till it is decided.

import * as kept from "./kept.js";
import { $, at, place, say } from "./page.js";
import { make } from "./view.js";

let saved = async () => {};

// Open the answer in place; `decide` is given the new one.
export function edit(decide) {
  saved = decide;
  if (at.editing) return at.editing.focus();
  const turn = document.querySelector(`[data-turn="${at.data.edited}"]`);
  if (at.data.answer === null || !turn) return say("This row has no answer to edit.");
  const area = make("textarea", {
    "aria-label": "The answer as it is to be", dir: "auto", spellcheck: "true",
    on: { input: () => { area.classList.remove("wrong"); later("edit", area.value); } },
  });
  area.value = at.draft?.edit ?? at.data.answer;
  at.editing = area;
  const asItWas = () => {
    area.value = at.data.answer;
    later("edit", area.value);
    area.focus();
  };
  const button = (values, click, ...label) => make("button", { type: "button", ...values, on: { click } }, ...label);
  const box = make("div", { class: "edit" }, area, make("div", { class: "row" },
    button({ class: "main", "aria-keyshortcuts": "Control+Enter" }, save, make("kbd", {}, "Ctrl Enter"), " Save"),
    button({ "aria-keyshortcuts": "Escape" }, leave, make("kbd", {}, "Esc"), " Leave"),
    button({}, asItWas, "As it was")));
  for (const text of turn.querySelectorAll(":scope > .text")) text.hidden = true;
  turn.append(box);
  area.focus();
  area.setSelectionRange(0, 0);
  area.scrollTop = 0;
  area.scrollIntoView({ block: "nearest" });
  return undefined;
}

const lines = (text) => text.replace(/\r\n?/g, "\n"); // what a textarea makes of them

export async function save() {
  const area = at.editing;
  if (!area || at.busy) return;
  const was = at.data.answer;
  if (!area.value.trim()) {
    area.classList.add("wrong");
    return say("An answer says something; d drops the row.");
  }
  if (area.value === lines(was)) {
    area.classList.add("wrong");
    return say("This is what it says already; Esc leaves it.");
  }
  const windows = was.includes("\r\n") && !/(^|[^\r])\n/.test(was);
  await flush();
  await saved(windows ? area.value.replaceAll("\n", "\r\n") : area.value);
}

export async function leave() {
  if (!at.editing) return;
  const area = at.editing;
  const turn = area.closest(".turn");
  at.editing = null;
  if (area.value === lines(at.data.answer)) later("edit", undefined);
  turn.querySelector(".edit").remove();
  for (const text of turn.querySelectorAll(":scope > .text")) text.hidden = false;
  say(at.draft?.edit === undefined ? "" : "What you typed is kept; e goes on with it.");
  $("question").focus({ preventScroll: true }); // before anything is waited for: the next key may decide
  await flush();
}

// What is half-typed is kept a moment after the last key.
let waiting = null;

export function later(field, value) {
  if (at.busy) return; // it is sent as it was, and belongs to no other item
  at.draft = { ...at.draft, ...place(), [field]: value };
  if (waiting) clearTimeout(waiting.timer);
  const work = { draft: at.draft, timer: setTimeout(() => flush(), 150) };
  waiting = work;
}

export async function flush() {
  const work = waiting;
  waiting = null;
  if (!work) return;
  clearTimeout(work.timer);
  await kept.put("draft", work.draft);
}
