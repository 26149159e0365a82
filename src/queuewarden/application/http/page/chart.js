// Small charts of numbers over time: lines told apart by dashes as well as colour, and the same as a table.

import { draw, list, make, mark, now, say } from "./dom.js";
import { clock, count, moment } from "./text.js";

const HEIGHT = 112;
const EDGE = { left: 38, right: 6, top: 8, bottom: 18 };
const ROWS = 20;

let number = 0;

// A chart of `series` ({name, field, line}): `element`, and `update(points)` to paint it.
export class Chart {
  #series;
  #title;
  #points = [];
  #svg;
  #desc;
  #plot;
  #width = 320;
  #readout;
  #table;
  #body;
  #values;

  constructor(title, series) {
    this.#series = series;
    this.#title = title;
    const id = `chart-${(number += 1)}`;
    this.#desc = draw("desc", { id: `${id}-desc` });
    this.#plot = draw("g");
    this.#svg = draw(
      "svg",
      {
        class: "chart",
        role: "img",
        "aria-labelledby": `${id}-title ${id}-desc`,
        height: HEIGHT,
        width: "100%",
      },
      draw("title", { id: `${id}-title`, text: title }),
      this.#desc,
      this.#plot,
    );
    this.#values = new Map(series.map(({ field }) => [field, make("b", { class: "num" })]));
    const legend = series.map(({ name, field, line }) =>
      make("li", {}, swatch(line), make("span", { text: name }), this.#values.get(field)),
    );
    this.#readout = make("p", { class: "readout num", "aria-hidden": "true" });
    this.#body = make("tbody");
    const heads = ["Time", ...series.map(({ name }) => name)].map((text) =>
      make("th", { scope: "col", text }),
    );
    this.#table = make(
      "details",
      { on: { toggle: () => this.#tabulate() } },
      make("summary", { text: "As a table" }),
      make(
        "table",
        {},
        make("caption", { text: title }),
        make("thead", {}, make("tr", {}, ...heads)),
        this.#body,
      ),
    );
    this.element = make(
      "div",
      { class: "charted" },
      make("h4", { text: title.split(",")[0] }),
      make("ul", { class: "legend" }, ...legend),
      this.#svg,
      this.#readout,
      this.#table,
    );
    this.#svg.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.#svg.addEventListener("pointerleave", () => this.#point(null));
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width > 0 && Math.abs(contentRect.width - this.#width) >= 1) {
        this.#width = contentRect.width;
        this.#paint();
      }
    }).observe(this.#svg);
  }

  update(points, current) {
    for (const { field } of this.#series) say(this.#values.get(field), count(current?.[field]));
    if (points === this.#points) return;
    this.#points = points;
    this.#paint();
    this.#tabulate();
  }

  #paint() {
    const known = this.#points
      .map((point) => ({ ...point, time: moment(point.at) }))
      .filter(({ time }) => time !== null);
    mark(this.#svg, "viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    say(this.#desc, this.#told(known));
    if (known.length === 0) {
      this.#plot.replaceChildren(
        draw("text", { x: EDGE.left, y: HEIGHT / 2, class: "axis", text: "No points yet" }),
      );
      return;
    }
    const first = known[0].time;
    const last = Math.max(known.at(-1).time, first + 60_000);
    const most = Math.max(1, ...known.flatMap((point) => this.#series.map(({ field }) => point[field] ?? 0)));
    const top = ceiling(most);
    const x = (time) =>
      EDGE.left + ((time - first) / (last - first)) * (this.#width - EDGE.left - EDGE.right);
    const y = (value) => HEIGHT - EDGE.bottom - (value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
    const marks = top === 1 ? [0, 1] : [0, top / 2, top];
    this.#plot.replaceChildren(
      ...marks.flatMap((value) => [
        draw("path", { class: "grid", d: `M${EDGE.left} ${y(value)}H${this.#width - EDGE.right}` }),
        draw("text", {
          class: "axis",
          x: EDGE.left - 6,
          y: y(value) + 4,
          "text-anchor": "end",
          text: short(value),
        }),
      ]),
      draw("text", { class: "axis", x: EDGE.left, y: HEIGHT - 3, text: clock(first).slice(0, 5) }),
      draw("text", {
        class: "axis",
        x: this.#width - EDGE.right,
        y: HEIGHT - 3,
        "text-anchor": "end",
        text: clock(last).slice(0, 5),
      }),
      ...this.#series.map(({ field, line }) =>
        draw("path", { class: `line ${line}`, d: path(known, field, x, y) }),
      ),
      draw("path", { class: "cursor", d: "" }),
    );
  }

  #told(known) {
    if (known.length === 0) return "No points yet.";
    const { time } = known[0];
    const each = this.#series.map(({ name, field }) => {
      const values = known.map((point) => point[field]).filter(Number.isFinite);
      if (values.length === 0) return `${name} unknown`;
      return `${name} from ${count(Math.min(...values))} to ${count(Math.max(...values))}`;
    });
    return `Since ${clock(time)}: ${each.join(", ")}. The numbers stand in the table below.`;
  }

  #point(offset) {
    const cursor = this.#plot.lastElementChild;
    const known = this.#points;
    if (offset === null || known.length === 0) {
      say(this.#readout, "");
      if (cursor?.classList.contains("cursor")) cursor.setAttribute("d", "");
      return;
    }
    const first = moment(known[0].at);
    const last = Math.max(moment(known.at(-1).at), first + 60_000);
    const wide = this.#width - EDGE.left - EDGE.right;
    const wanted = first + ((offset - EDGE.left) / wide) * (last - first);
    const nearest = known.reduce((best, point) =>
      Math.abs(moment(point.at) - wanted) < Math.abs(moment(best.at) - wanted) ? point : best,
    );
    const place = EDGE.left + ((moment(nearest.at) - first) / (last - first)) * wide;
    cursor.setAttribute("d", `M${place} ${EDGE.top}V${HEIGHT - EDGE.bottom}`);
    const told = this.#series.map(({ name, field }) => `${name} ${count(nearest[field])}`);
    say(this.#readout, `${clock(moment(nearest.at))}: ${told.join(", ")}`);
  }

  #tabulate() {
    if (!this.#table.open) return;
    list(
      this.#body,
      this.#points.slice(-ROWS).reverse(),
      ({ at }) => at,
      (point) =>
        make(
          "tr",
          {},
          make("th", { scope: "row", class: "num", text: clock(moment(point.at) ?? now()) }),
          ...this.#series.map(({ field }) => make("td", { class: "num", text: count(point[field]) })),
        ),
    );
  }
}

function swatch(line) {
  return draw(
    "svg",
    { viewBox: "0 0 24 8", width: 24, height: 8, "aria-hidden": "true" },
    draw("path", { class: `line ${line}`, d: "M0 4H24" }),
  );
}

// A line that stops where a number is unknown.
function path(points, field, x, y) {
  let drawn = "";
  let pen = false;
  for (const [place, point] of points.entries()) {
    const value = point[field];
    if (!Number.isFinite(value)) {
      pen = false;
      continue;
    }
    const spot = `${x(point.time).toFixed(1)} ${y(value).toFixed(1)}`;
    const alone = !pen && !Number.isFinite(points[place + 1]?.[field]);
    drawn += pen ? `L${spot}` : `M${spot}`;
    if (alone) drawn += "h2";
    pen = true;
  }
  return drawn;
}

// The next round number whose half is whole, too.
function ceiling(value) {
  if (value <= 2) return Math.ceil(value);
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 4, 6, 8, 10].find((one) => one * power >= value);
  return step * power;
}

function short(value) {
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1e4 ? `${value / 1e3} k` : count(value);
}
