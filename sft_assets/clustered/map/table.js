// The table of rows. Only the lines that can be seen are in the page, so that there may be any number of rows.
//
//   const table = rowTable([{ name: "topic", size: "wide", text: row => … }, …], row => { … })
//   table.list([7, 3, 12])
//
// fields: the columns. text: a row's cell, as a string or a node; key: what a column is sorted by, where that is not its text.
// chosen: is called with the row whose line is clicked or stepped on.
"use strict";
function rowTable(fields, chosen) {
  const HEIGHT = 24; // of a line, in pixels: see page.css
  const [box, head, body] = ["table", "head", "body"].map(id => document.getElementById(id));
  let rows = [];
  let order = []; // the rows as they are sorted
  let sorting = { by: null, down: false };
  let current = -1;

  const keyOf = ({ text, key }, row) => (key ?? text)(row);

  function list(some) {
    rows = some;
    order = rows;
    const { by, down } = sorting;
    if (by) {
      const keys = new Map(rows.map(row => [row, keyOf(by, row)]));
      const none = key => key === "" || Number.isNaN(key); // rows without a value come last, whatever the direction
      const compare = (a, b) => none(a) - none(b) || (a < b ? -1 : a > b ? 1 : 0) * (down && !none(a) ? -1 : 1);
      order = [...rows].sort((a, b) => compare(keys.get(a), keys.get(b)) || a - b);
    }
    box.scrollTop = 0;
    draw();
  }

  function drawHead() {
    head.replaceChildren(...fields.map(field => {
      const active = sorting.by === field;
      const arrow = active ? (sorting.down ? " ↓" : " ↑") : "";
      const button = make("button", field.name + arrow, { title: `Sort by ${field.name}` });
      button.onclick = () => {
        // up, down, and as the rows came
        sorting = active && sorting.down ? { by: null, down: false } : { by: field, down: active };
        drawHead();
        list(rows);
        head.children[fields.indexOf(field)].firstChild.focus(); // the button that had it is gone
      };
      const cell = make("th", "", { scope: "col", className: field.size });
      cell.ariaSort = active ? (sorting.down ? "descending" : "ascending") : "none";
      cell.append(button);
      return cell;
    }));
  }

  // the lines in sight, and two empty ones that are as high as those above and below
  function draw() {
    const first = clamp(Math.floor(box.scrollTop / HEIGHT) - 5, 0, order.length);
    const last = Math.min(first + Math.ceil(box.clientHeight / HEIGHT) + 10, order.length);
    body.replaceChildren(space(first), ...order.slice(first, last).map(line), space(order.length - last));
  }

  function space(lines) {
    const row = make("tr", "", { className: "space", ariaHidden: true });
    const cell = make("td", "", { colSpan: fields.length });
    cell.style.height = `${lines * HEIGHT}px`;
    row.append(cell);
    return row;
  }

  function line(row) {
    const element = make("tr");
    element.ariaSelected = row === current;
    element.append(...fields.map(field => {
      const cell = make("td", "", { dir: "auto", className: field.size });
      cell.append(field.text(row));
      return cell;
    }));
    element.onclick = () => chosen(row);
    return element;
  }

  // mark the line of a row; -1: of none
  function mark(row) {
    current = row;
    draw();
  }

  // go to the line that is `by` lines away from the marked one
  function step(by) {
    if (!order.length) return;
    const at = clamp(order.indexOf(current) + by, 0, order.length - 1);
    const room = box.clientHeight - 2 * HEIGHT; // below the head
    box.scrollTop = clamp(box.scrollTop, at * HEIGHT - room, at * HEIGHT);
    chosen(order[at]);
  }

  box.addEventListener("scroll", draw);
  drawHead();
  return { list, mark, step };
}
