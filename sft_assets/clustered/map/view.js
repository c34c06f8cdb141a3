// What part of the map is in sight. One unit of the data is as long up as it is across.
"use strict";
function mapView(x_range, y_range, element) {
  const unit = () => (y_range.end - y_range.start) / element.clientHeight; // of the data, for a pixel
  const middle = () => [(x_range.start + x_range.end) / 2, (y_range.start + y_range.end) / 2];

  // what is to be in the middle, and how much of the data a pixel is to be
  function look(x, y, unit) {
    const { clientWidth: width, clientHeight: height } = element;
    x_range.setv({ start: x - (unit * width) / 2, end: x + (unit * width) / 2 });
    y_range.setv({ start: y - (unit * height) / 2, end: y + (unit * height) / 2 });
  }

  // show all of these places
  function fit(xs, ys) {
    let [left, right, bottom, top] = xs.length ? [Infinity, -Infinity, Infinity, -Infinity] : [0, 0, 0, 0];
    for (const x of xs) [left, right] = [Math.min(left, x), Math.max(right, x)];
    for (const y of ys) [bottom, top] = [Math.min(bottom, y), Math.max(top, y)];
    const needed = Math.max((right - left) / element.clientWidth, (top - bottom) / element.clientHeight, 1e-3);
    look((left + right) / 2, (bottom + top) / 2, needed * 1.1);
  }

  return {
    fit,
    unit,
    keep: () => look(...middle(), unit()), // after the map became larger or smaller
    zoom: factor => look(...middle(), unit() * factor),
    shift(across, up) {
      const [x, y] = middle();
      look(x + across * (x_range.end - x_range.start), y + up * (y_range.end - y_range.start), unit());
    },
    pixel: (x, y) => [(x - x_range.start) / unit(), (y_range.end - y) / unit()],
    place: (x, y) => [x_range.start + x * unit(), y_range.end - y * unit()],
  };
}

// Write names where they do not cover each other, the first in the list first; at most `most` of them.
// labels: [{ element, width, height, x, y, wanted }, …], x and y in pixels.
function placeLabels(labels, room, most) {
  const taken = [];
  for (const { element, width, height, x, y, wanted } of labels) {
    const [left, top, right, bottom] = [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
    const inside = left > 0 && top > 0 && right < room.clientWidth && bottom < room.clientHeight;
    const free = taken.every(t => left > t.right || right < t.left || top > t.bottom || bottom < t.top);
    const visible = wanted && inside && free && taken.length < most;
    element.style.visibility = visible ? "visible" : "hidden";
    if (!visible) continue;
    element.style.transform = `translate(${left}px, ${top}px)`;
    taken.push({ left, top, right, bottom });
  }
}
