// What the page knows and what it says: the parts of it share this.

export const DECISIONS = [
  { decision: "keep", key: "k", label: "Keep" },
  { decision: "drop", key: "d", label: "Drop" },
  { decision: "edit", key: "e", label: "Edit the answer" },
  { decision: "prefer_a", key: "a", label: "A is better" },
  { decision: "prefer_b", key: "b", label: "B is better" },
  { decision: "tie", key: "t", label: "Equally good" },
  { decision: "review", key: "r", label: "Mark for review" },
  { decision: "skip", key: "s", label: "Skip" },
];
export const SAID = {
  keep: "keep", drop: "drop", edit: "edited", prefer_a: "A is better", prefer_b: "B is better", tie: "equally good",
  review: "marked for review", skip: "skipped",
};
export const KEYS = [
  ...DECISIONS.map(({ key, label }) => [key, label]),
  ["Ctrl + Enter", "in the edited answer: save it"], ["Esc", "leave the edited answer or the why; what you typed is kept"],
  ["w", "say why, in a line, before you decide"], ["u", "undo: what you said of this item, else what you said last"],
  ["← →", "the item before, the item after"], ["j", "the next item that you have not answered"], ["?", "this help"],
];

export const $ = (id) => document.getElementById(id);
export const at = {
  state: null, queue: "", reviewer: "", items: [], order: [], // items: {number, asked, decision}
  index: -1, data: null, // the item that is shown
  busy: true, editing: null, draft: null, asked: 0, fresh: false, sending: false,
  wantsWhy: false, sent: new Map(), // what was typed for a decision, by number: who comes back to it finds it there
};

export const current = () => at.items[at.index];

export const place = () => ({ queue: at.queue, reviewer: at.reviewer, number: current().number });

// While it is sent, one stays where one is; while an item is fetched, nothing is decided.
export function busy(is, sending = false) {
  at.busy = is;
  at.sending = sending;
  if (!is) at.wantsWhy = false;
  $("queue").disabled = $("who").disabled = sending;
  document.body.dataset.busy = is ? "yes" : "no";
}

export function say(text) {
  $("said").textContent = text;
}

export function announce(text) { // it stays while the next item comes
  at.fresh = true;
  say(text);
}
