// An item on the screen. Text of the data is only ever the text of a node: no markup is made of it.

const STATES = new Set(["combined", "deduped", "decontaminated", "scored", "clustered", "augmented"]);
const CUT = 6000; // characters of a text that are shown at first

export function make(tag, values = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, work] of Object.entries(value)) node.addEventListener(event, work);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const count = (number) => number.toLocaleString("en");

const words = (name) => name.replaceAll("_", " ");

// What the pipeline did, from `about`: "deduped near_duplicate", "review mojibake", "kept".
function done({ verdict, state, about }) {
  const [head, ...rest] = about.split(" ");
  const where = STATES.has(head) ? head : state;
  const reason = words((head === where || head === "review" ? rest : [head, ...rest]).join(" "));
  const did = { dropped: "Dropped", kept: "Kept", review: "Kept, and marked for review" }[verdict];
  return `${did} in ${where}${reason && reason !== "kept" ? `: ${reason}` : ""}`;
}

export function item(data, at) {
  const facts = [["row", data.row_id.slice(0, 8)]];
  if (data.source) facts.push(["source", data.source]);
  if (data.generated) facts.push(["written by", "a model"]);
  return [
    make("p", { class: "place" }, make("b", {}, `${count(at.place)} of ${count(at.of)}`), ` ${done(data)}`),
    make("h1", { tabindex: "-1", id: "question" }, data.question),
    make("p", { class: "soft" }, `You are asked because ${data.why_asked}.`),
    make("dl", { class: "facts" }, ...[...facts, ...data.signals].map(([name, value]) => make(
      "div", {}, make("dt", {}, words(name)), make("dd", { dir: "auto" }, value)))),
    data.shared.length ? side({ title: "In both", turns: data.shared }, 0, "shared") : null,
    make("div", { class: data.sides.length > 1 ? "sides two" : "sides" },
      ...data.sides.map((one, n) => side(one, n ? null : data.shared.length, n ? "other" : "own"))),
    data.compares ? make("p", { class: "soft legend" }, make("span", { class: "differs" }, "like this"),
      ": words that the other text has not") : null,
    data.tools ? make("details", {}, make("summary", {}, "Tools that it may call"), text(data.tools)) : null,
  ].filter(Boolean);
}

function side({ title, turns }, first, kind) {
  return make("section", { class: `side ${kind}`, "aria-label": title },
    make("h2", {}, title),
    ...turns.map((turn, n) => one(turn, first === null ? null : first + n)),
    turns.length ? null : make("p", { class: "soft" }, "The same, and nothing more."));
}

function one(turn, number) {
  const whys = [...new Set(turn.pieces.map((piece) => piece.mark).filter(Boolean))];
  return make("div", { class: `turn ${turn.role}`, "data-turn": number === null ? null : String(number) },
    turn.role ? make("h3", {}, turn.role, turn.name ? " " : null, turn.name ? text(turn.name, "span") : null) : null,
    turn.reasoning ? make("details", {}, make("summary", {}, "Reasoning"), text(turn.reasoning)) : null,
    turn.pieces.length || !turn.tool_calls ? text(turn.pieces) : null,
    turn.tool_calls ? make("details", { open: true }, make("summary", {}, "Calls"), text(turn.tool_calls)) : null,
    whys.length ? make("p", { class: "soft marks" }, make("mark", {}, "marked"), `: ${whys.join("; ")}`) : null);
}

function text(pieces, tag = "div") {
  const node = make(tag, { class: "text", dir: "auto" });
  const size = pieces.reduce((sum, piece) => sum + piece.text.length, 0);
  if (!size) node.append(make("span", { class: "soft" }, "(nothing)"));
  const { shown, rest } = cut(pieces, size);
  node.append(...shown.map(span));
  if (!rest.length) return node;
  const places = rest.filter((piece) => piece.mark !== undefined || piece.differs).length;
  const more = make("button", { type: "button", class: "more", on: { click: () => {
    more.replaceWith(...rest.map(span));
  } } }, `Show all ${count(size)} characters${places ? `, ${count(places)} marked places among them` : ""}`);
  node.append(more);
  return node;
}

function cut(pieces, size) {
  if (size <= CUT * 1.2) return { shown: pieces, rest: [] };
  const shown = [], rest = [];
  let left = CUT;
  for (const piece of pieces) {
    if (left <= 0) rest.push(piece);
    else if (piece.text.length <= left) shown.push(piece);
    else {
      const end = /[\uD800-\uDBFF]/.test(piece.text[left - 1]) ? left - 1 : left; // never through a character
      shown.push({ ...piece, text: piece.text.slice(0, end) });
      rest.push({ ...piece, text: piece.text.slice(end) });
    }
    left -= piece.text.length;
  }
  return { shown, rest };
}

function span(piece) {
  const kinds = [piece.hidden && "hidden", piece.differs && "differs"].filter(Boolean).join(" ");
  if (piece.mark !== undefined) return make("mark", { class: kinds || null, title: piece.mark || null }, piece.text);
  return kinds ? make("span", { class: kinds, title: piece.hidden ? "a character that is not to be seen" : null }, piece.text)
    : document.createTextNode(piece.text);
}
