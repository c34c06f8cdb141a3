// The map's behaviour. Every text of a row goes into the page by textContent: nothing here makes markup out of data.
//
// A row is its place in the columns: ids[7], excerpts[7], columns.x[7]; factors are codes, so that the topic of row 7 is
// factors.topic.names[columns.topic[7]]. `shown`: the rows that the filters let through; the selection is a part of them.
"use strict";
const $ = id => document.getElementById(id);
const make = (tag, text = "", values = {}) => Object.assign(document.createElement(tag), { textContent: text, ...values });
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

(async () => {
  const number = new Intl.NumberFormat("en");
  const rows_ = n => `${number.format(n)} ${n === 1 ? "row" : "rows"}`;
  const digits = (v, n) => (Number.isFinite(v) ? String(Number(v.toPrecision(n))) : "");
  const move = (element, x, y) => (element.style.transform = `translate(${x}px, ${y}px)`);

  if (!window.DecompressionStream) {
    $("message").textContent = "The map needs a browser of 2023 or later.";
    return;
  }
  const { plot, facts } = await unpack($("content").textContent);
  const { ids, excerpts, factors, scores, places } = facts;
  const everything = ids.map((_, i) => i);

  const view = (await Bokeh.embed.embed_item(plot, "plot")).roots[0];
  const { x_range, y_range, toolbar, renderers } = view.model;
  const [pan, , lasso, box] = toolbar.tools;
  const tools = { pan, lasso, box };
  const source = renderers[0].data_source;
  const choices = { ...factors, ...scores };
  const columns = Object.fromEntries(["x", "y", ...Object.keys(choices)].map(name => [name, source.get_column(name)]));
  const title = name => name.replace(/^score /, "");
  const named = (factor, i) => factors[factor].names[columns[factor][i]];
  const markOf = factors.state.names.map(name => (["kept", "review"].includes(name) ? name : "dropped"));
  const state = i => [named("state", i), named("reason", i)].filter(Boolean).join(": ");

  let shown = everything;
  let selected = [];
  let words = []; // of the search
  let selecting = false;
  let searched = false; // whether the selection is what the search found
  let current = -1; // the row in the panel
  let hovered = []; // the rows under the pointer

  // ------------------------------------------------------------------------------------------------------- the data

  async function unpack(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text());
  }

  // ----------------------------------------------------------------------------------- selection, filters and search

  function select(rows, bySearch = false) {
    selecting = true; // the change that this makes is not one of the lasso
    source.selected.indices = rows;
    selecting = false;
    searched = bySearch;
    selectionChanged();
  }

  function selectionChanged() {
    selected = [...Uint32Array.from(source.selected.indices).sort()]; // in the rows' order, however they were found
    $("count").textContent = selected.length
      ? `${rows_(selected.length)} selected of ${number.format(shown.length)} shown`
      : `${rows_(shown.length)} shown, none selected`;
    $("download").textContent = `Download ${number.format(selected.length)} row ${selected.length === 1 ? "id" : "ids"}`;
    for (const id of ["download", "zoom", "clear"]) $(id).disabled = !selected.length;
    $("clear").disabled &&= !$("search").value;
    table.list(selected.length ? selected : shown);
  }

  function filter() {
    const wanted = Object.keys(factors)
      .map(name => [columns[name], $(`filter-${name}`).value])
      .filter(([, value]) => value !== "")
      .map(([codes, value]) => [codes, Number(value)]);
    shown = wanted.length ? everything.filter(i => wanted.every(([codes, value]) => codes[i] === value)) : everything;
    $("filters-clear").disabled = !wanted.length;
    facts.marks.forEach((mark, m) => {
      renderers[m].view.filter.indices = shown.filter(i => markOf[columns.state[i]] === mark);
    });
    if (searched) search();
    else {
      const visible = new Set(shown);
      select(selected.filter(i => visible.has(i)));
    }
    drawLegend();
    moved();
  }

  let lowered; // made on the first search
  function search() {
    words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) {
      $("hits").textContent = "";
      return select([]);
    }
    lowered ??= excerpts.map(text => text.toLowerCase());
    const found = shown.filter(i => words.every(w => lowered[i].includes(w) || (w.length >= 8 && ids[i].startsWith(w))));
    $("hits").textContent = `${number.format(found.length)} ${found.length === 1 ? "hit" : "hits"}`;
    select(found, true);
  }

  // a text with the words of the search marked
  function marked(text) {
    const found = new DocumentFragment();
    const literal = words.map(w => w.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
    const pattern = literal.sort((a, b) => b.length - a.length).join("|");
    const parts = pattern ? text.split(new RegExp(`(${pattern})`, "iu")) : [text];
    parts.forEach((part, i) => found.append(i % 2 ? make("mark", part) : part));
    return found;
  }

  function download() {
    if (!selected.length) return;
    const url = URL.createObjectURL(new Blob([selected.map(i => ids[i] + "\n").join("")], { type: "text/plain" }));
    make("a", "", { href: url, download: `row_ids_${selected.length}.txt` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  // -------------------------------------------------------------------------------------------------- colour, legend

  function colour() {
    const by = $("colour").value;
    const { colours, range } = choices[by];
    const [low, high] = range ?? [-0.5, colours.length - 0.5];
    const transform = new Bokeh.Models.LinearColorMapper({ palette: colours, low, high, nan_color: facts.grey });
    const paint = { field: by, transform };
    restyle(glyph => (glyph.marker.value === "x" ? { line_color: paint } : { fill_color: paint }));
    drawLegend();
  }

  // change all points: those that are selected, those that are not, and the few that are drawn while the map is moving
  function restyle(values) {
    for (const [mark, renderer] of renderers.entries()) {
      const { glyph, selection_glyph, nonselection_glyph } = renderer;
      const moving = view.views.find_one(renderer).decimated_glyph.model; // grey, unless it is told
      const { fill_alpha, line_alpha, line_color } = glyph;
      moving.setv({ fill_alpha, line_alpha, line_color }, { silent: true });
      const style = values(glyph, mark);
      // every change draws everything again: only the last is not silent
      for (const other of [selection_glyph, nonselection_glyph, moving]) other.setv(style, { silent: true });
      glyph.setv(style);
    }
  }

  function drawLegend() {
    const by = $("colour").value;
    $("legend-title").textContent = title(by);
    $("legend").replaceChildren(...(by in factors ? names(by) : scale(by)));
  }

  function names(by) {
    const counts = new Uint32Array(factors[by].names.length);
    for (const i of shown) counts[columns[by][i]]++;
    return factors[by].names.map((name, code) => {
      const line = make("button", "", { className: counts[code] ? "" : "none", title: name });
      const only = $(`filter-${by}`).value === String(code);
      line.ariaPressed = only;
      line.append(swatch(factors[by].colours[code]), text(name || "none"), make("span", number.format(counts[code])));
      line.onclick = () => {
        $(`filter-${by}`).value = only ? "" : code;
        filter();
        $("legend").children[code].focus(); // the one that had it is gone
      };
      return line;
    });
  }

  function scale(by) {
    const bar = make("div", "", { className: "scale" });
    bar.style.background = `linear-gradient(to right, ${scores[by].colours.join()})`;
    const ends = make("div", "", { className: "ends" });
    ends.append(...scores[by].range.map(v => make("span", Number(v.toPrecision(3)))));
    const without = shown.filter(i => !Number.isFinite(columns[by][i])).length;
    const none = make("div", "", { className: "without" });
    none.append(swatch(facts.grey), make("span", `${rows_(without)} without`));
    return [bar, ends, none];
  }

  function swatch(colour) {
    const dot = make("span", "", { className: "swatch" });
    dot.style.setProperty("--colour", colour);
    return dot;
  }

  const text = value => make("span", value, { dir: "auto" });

  // ------------------------------------------------------------------------------------------------------- the view

  const mapped = mapView(x_range, y_range, $("map"));
  const fit = (rows = everything) => mapped.fit(rows.map(i => columns.x[i]), rows.map(i => columns.y[i]));

  function moved() {
    const inView = new Set(shown.map(i => columns.topic[i]));
    for (const label of labels) {
      [label.x, label.y] = mapped.pixel(...places[label.topic]);
      label.wanted = inView.has(label.topic);
    }
    placeLabels(labels, $("map"), 40);
    drawRing();
  }

  function drawRing() {
    const row = hovered.length ? hovered[0] : current;
    $("ring").hidden = row < 0;
    if (row >= 0) move($("ring"), ...mapped.pixel(columns.x[row], columns.y[row]));
  }

  // the shown rows nearest to a pixel, at most 9 pixels away: several where they are at one place, those that stay first
  function nearest(x, y) {
    const [px, py] = mapped.place(x, y);
    let least = (9 * mapped.unit()) ** 2;
    let found = [];
    for (const i of shown) {
      const distance = (columns.x[i] - px) ** 2 + (columns.y[i] - py) ** 2;
      if (distance > least) continue;
      if (distance < least) found = [];
      least = distance;
      found.push(i);
    }
    const dropped = i => markOf[columns.state[i]] === "dropped";
    return found.sort((i, j) => dropped(i) - dropped(j));
  }

  function hover(event) {
    const { left, top, width, height } = $("plot").getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    hovered = event.buttons ? [] : nearest(x, y);
    drawRing();
    $("card").hidden = !hovered.length;
    if (!hovered.length) return;
    const [row] = hovered;
    const by = $("colour").value in factors ? $("colour").value : "topic";
    const what = make("div", "", { className: "what" });
    what.append(swatch(factors[by].colours[columns[by][row]]), text(named("topic", row) || "no topic"));
    const where = make("p", [named("source", row), state(row)].join(" · "), { className: "soft", dir: "auto" });
    const excerpt = make("p", "", { dir: "auto" });
    excerpt.append(marked(excerpts[row]));
    const more = hovered.length > 1 ? `${rows_(hovered.length - 1)} more here: clicks go through them` : "";
    $("card").replaceChildren(what, where, excerpt, make("p", more, { className: "soft", hidden: !more }));
    const [w, h] = [$("card").offsetWidth, $("card").offsetHeight];
    const beside = (at, size, room) => Math.max(at + 16 + size > room ? at - 16 - size : at + 16, 4);
    move($("card"), beside(x, w, width), beside(y, h, height));
  }

  function useTool(name) {
    tools[name].active = true;
    for (const button of document.querySelectorAll("[data-tool]")) button.ariaPressed = button.dataset.tool === name;
  }

  // ------------------------------------------------------------------------------------------------------- the table

  const table = rowTable(
    [
      { name: "state", size: "wide", text: state },
      { name: "topic", size: "wide", text: i => named("topic", i) },
      { name: "source", size: "wide", text: i => named("source", i) },
      ...Object.keys(scores).map(name => ({
        name: title(name),
        size: "number",
        key: i => columns[name][i],
        text: i => digits(columns[name][i], 3),
      })),
      { name: "excerpt", size: "rest", key: i => excerpts[i], text: i => marked(excerpts[i]) },
    ],
    show,
  );

  // a row in full, ringed on the map; -1: none
  function show(row) {
    current = row;
    drawRing();
    table.mark(row);
    const soft = text => make("p", text, { className: "soft" });
    if (row < 0) return $("row").replaceChildren(soft("A click on a point or a line shows the row here."));
    const excerpt = make("p", "", { dir: "auto" });
    excerpt.append(marked(excerpts[row]));
    const properties = make("dl");
    for (const name of Object.keys(choices)) {
      const value = name in factors ? named(name, row) : digits(columns[name][row], 4);
      if (value) properties.append(make("dt", title(name)), make("dd", value, { dir: "auto" }));
    }
    properties.append(make("dt", "row"), make("dd", ids[row]));
    $("row").replaceChildren(excerpt, properties, soft(`The whole row and its life: sft explain ${ids[row]}`));
    $("row").scrollTop = 0;
  }

  // -------------------------------------------------------------------------------------------------- keys and clicks

  function clear() {
    $("search").value = "";
    words = [];
    $("hits").textContent = "";
    select([]);
    show(-1);
    if (document.activeElement === $("search")) $("map").focus();
  }

  function nextColour() {
    $("colour").selectedIndex = ($("colour").selectedIndex + 1) % $("colour").length;
    colour();
  }

  const keys = {
    "/": () => {
      $("search").focus();
      $("search").select();
    },
    "?": () => $("help").showModal(),
    "+": () => mapped.zoom(0.7),
    "=": () => mapped.zoom(0.7),
    "-": () => mapped.zoom(1 / 0.7),
    0: () => fit(),
    p: () => useTool("pan"),
    l: () => useTool("lasso"),
    b: () => useTool("box"),
    a: () => select(shown),
    z: () => selected.length && fit(selected),
    c: nextColour,
    d: download,
    ArrowLeft: () => mapped.shift(-0.12, 0),
    ArrowRight: () => mapped.shift(0.12, 0),
    ArrowUp: () => mapped.shift(0, 0.12),
    ArrowDown: () => mapped.shift(0, -0.12),
  };

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (event.key === "Escape") return clear();
    const typing = event.target.matches("input, select") || $("row").contains(event.target); // arrows scroll the row
    const steps = $("table").contains(event.target) ? { ArrowDown: () => table.step(1), ArrowUp: () => table.step(-1) } : {};
    const action = steps[event.key] ?? (typing ? null : keys[event.key]);
    if (!action) return;
    event.preventDefault();
    action();
  });

  function wait(action, milliseconds) {
    let timer;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(action, milliseconds);
    };
  }

  // ------------------------------------------------------------------------------------------------------- beginning

  for (const name of Object.keys(choices)) $("colour").append(make("option", title(name), { value: name }));
  for (const [name, { names, counts }] of Object.entries(factors)) {
    const field = make("label", name, { className: "field", hidden: names.length < 2 });
    const choice = make("select", "", { id: `filter-${name}`, onchange: filter });
    choice.append(make("option", "all", { value: "" }));
    names.forEach((value, code) => {
      choice.append(make("option", `${value || "none"} (${number.format(counts[code])})`, { value: code }));
    });
    field.append(choice);
    $("selects").append(field);
  }

  for (const [mark, sign] of Object.entries({ kept: "●", review: "◆", dropped: "✕" })) {
    const count = factors.state.counts.reduce((sum, n, code) => sum + (markOf[code] === mark ? n : 0), 0);
    const item = make("span", `${sign} `);
    item.append(make("b", number.format(count)), ` ${mark}`);
    $("marks").append(item);
  }

  const largest = Math.max(...factors.topic.counts, 1);
  const labels = factors.topic.names.flatMap((name, topic) => {
    if (!name) return [];
    const element = make("div", name, { dir: "auto" });
    element.style.fontSize = `${11 + 4 * Math.sqrt(factors.topic.counts[topic] / largest)}px`;
    element.style.visibility = "hidden";
    $("labels").append(element);
    return [{ topic, element }];
  });
  for (const label of labels) [label.width, label.height] = [label.element.offsetWidth, label.element.offsetHeight];

  // points grow as one comes nearer, but not at every step of the way
  let whole = 1;
  let grown = 1;
  const sizes = renderers.map(renderer => renderer.glyph.size.value);
  const grow = wait(() => {
    const factor = Math.round(2 * clamp((whole / mapped.unit()) ** 0.4, 1, 3)) / 2;
    if (factor === grown) return;
    grown = factor;
    restyle((_, mark) => ({ size: { value: sizes[mark] * grown } }));
  }, 200);

  let drawing = false;
  for (const range of [x_range, y_range]) {
    range.change.connect(() => {
      if (drawing) return;
      drawing = true;
      requestAnimationFrame(() => {
        drawing = false;
        moved();
        grow();
      });
    });
  }
  source.selected.properties.indices.change.connect(() => {
    if (selecting) return;
    searched = false;
    selectionChanged();
  });
  new ResizeObserver(mapped.keep).observe($("map"));

  view.canvas_view.events_el.removeAttribute("tabindex"); // the map around it has the focus
  let pressed = [0, 0];
  $("plot").addEventListener("mousemove", hover);
  $("plot").addEventListener("mouseleave", () => {
    hovered = [];
    $("card").hidden = true;
    drawRing();
  });
  $("plot").addEventListener("mousedown", event => (pressed = [event.clientX, event.clientY]));
  $("plot").addEventListener("click", event => {
    if (Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 4 || !hovered.length) return; // the end of a drag
    show(hovered[(hovered.indexOf(current) + 1) % hovered.length]);
  });
  $("search").addEventListener("input", wait(search, 120));
  $("search").addEventListener("keydown", event => event.key === "Enter" && selected.length && fit(selected));
  $("colour").addEventListener("change", colour);
  const clicks = {
    "select-all": keys.a,
    zoom: keys.z,
    clear,
    download,
    reset: keys[0],
    "zoom-in": keys["+"],
    "zoom-out": keys["-"],
    "help-open": keys["?"],
    "filters-clear": () => {
      for (const choice of $("selects").querySelectorAll("select")) choice.value = "";
      filter();
    },
  };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", () => action());
  for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => useTool(button.dataset.tool);

  fit();
  whole = mapped.unit();
  show(-1);
  colour();
  filter();
  $("message").textContent = ids.length ? "" : "There are no rows to show.";
  document.body.dataset.ready = "true";
})();
