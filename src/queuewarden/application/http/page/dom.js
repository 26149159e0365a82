// Elements without markup: whatever a database says becomes text, never HTML.

import { absolute, lasting, moment, plain, relative } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

const SHAPES = {
  up: "M3 8.5 6.5 12 13 4.5",
  down: "M4 4l8 8M12 4l-8 8",
  starting: "M8 3v5l3 2",
  warning: "M8 2 15 14H1zM8 6.5v3.5M8 12v.2",
  critical: "M5 1.5h6l3.5 3.5v6L11 14.5H5L1.5 11V5zM8 4.5v4.5M8 11.3v.2",
  info: "M8 7v5M8 4v.2",
  brake: "M5.5 3v10M10.5 3v10",
};

export const byId = (id) => document.getElementById(id);

// An element: attributes as given, `text` as its text, `on` as its listeners; nullish children are left out.
export function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "text") element.textContent = plain(value, 2000);
    else if (name === "on")
      for (const [kind, run] of Object.entries(value)) element.addEventListener(kind, run);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function draw(tag, given = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "text") element.textContent = plain(value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function icon(name) {
  return draw(
    "svg",
    { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true", focusable: "false", "data-icon": name },
    draw("path", { d: SHAPES[name] ?? SHAPES.info }),
  );
}

export function setIcon(element, name) {
  if (element.dataset.icon === name) return;
  element.dataset.icon = name;
  element.firstChild.setAttribute("d", SHAPES[name] ?? SHAPES.info);
}

// Writes only what differs, so that selections and screen readers are left in peace.
export function say(element, value, most) {
  const text = plain(value, most);
  if (element.textContent !== text) element.textContent = text;
}

// The same, where commands stand between backticks.
export function sayWithCode(element, value) {
  const parts = plain(value).split("`");
  if (element.textContent === parts.join("")) return;
  element.replaceChildren(...parts.map((text, place) => (place % 2 ? make("code", { text }) : text)));
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// A moment as "12 s ago" (or, `lasts`, "for 12 s"), with the moment itself in its title; see `tick`.
export function ago(value, { lasts = false } = {}) {
  const element = make("time", { class: "num", "data-lasts": lasts });
  setAgo(element, value);
  return element;
}

let skew = 0;

// The daemon's clock less this machine's, in milliseconds.
export function setSkew(milliseconds) {
  skew = milliseconds;
}

export const now = () => Date.now() + skew;

export function setAgo(element, value) {
  const time = moment(value);
  if (time === null) {
    element.removeAttribute("datetime");
    element.removeAttribute("title");
  } else if (element.getAttribute("datetime") !== value) {
    element.setAttribute("datetime", value);
    element.title = absolute(time);
  }
  say(element, worded(element, time));
}

const worded = (element, time) => ("lasts" in element.dataset ? lasting : relative)(time, now());

export function tick() {
  for (const element of document.querySelectorAll("time[datetime]")) {
    say(element, worded(element, moment(element.getAttribute("datetime"))));
  }
}

// Keeps one child for each item, in their order; an element that stays keeps its focus.
export function list(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = known.get(name);
    if (element === undefined) {
      element = create(item);
      element.dataset.key = name;
    }
    known.delete(name);
    if (element === place) place = place.nextElementSibling;
    else if (element.isConnected && element.contains(document.activeElement)) {
      moveAround(parent, element, place);
      place = element.nextElementSibling;
    } else parent.insertBefore(element, place);
    update?.(element, item);
  }
  for (const element of known.values()) remove(element, parent);
}

// Moving an element takes its focus away, so that the others are moved instead.
function moveAround(parent, element, place) {
  for (let other = place; other !== null && other !== element;) {
    const next = other.nextElementSibling;
    parent.append(other);
    other = next;
  }
}

// Whoever had the focus in what vanishes goes on beside it.
function remove(element, parent) {
  const focused = element.contains(document.activeElement);
  const beside = element.nextElementSibling ?? element.previousElementSibling;
  element.remove();
  if (!focused) return;
  const next =
    beside?.querySelector("button, input, select, summary, a") ??
    parent.closest("section")?.querySelector("h2");
  if (next?.tagName === "H2") next.tabIndex = -1;
  next?.focus({ preventScroll: true });
}

export function remember(store, key, value) {
  try {
    if (value === null) store.removeItem(key);
    else store.setItem(key, value);
  } catch {
    // Storage may be forbidden or full; then it is forgotten with the page.
  }
}

export function recall(store, key) {
  try {
    return store.getItem(key);
  } catch {
    return null;
  }
}
