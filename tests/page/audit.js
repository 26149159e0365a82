// What axe would look for, as far as this page is concerned; see `Viewer.audit`.

const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

const named = (id) => document.getElementById(id)?.textContent.trim() ?? "";

function nameOf(element) {
  const labelled = (element.getAttribute("aria-labelledby") ?? "")
    .split(/\s+/)
    .filter(Boolean)
    .map(named)
    .join(" ");
  const own = element.matches("input, select, textarea") ? "" : element.textContent;
  const labels = [...(element.labels ?? [])].map((label) => label.textContent).join(" ");
  return (labelled || element.getAttribute("aria-label") || labels || own || element.title || "").trim();
}

function parse(colour) {
  const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
  return { red, green, blue, alpha };
}

function over(front, back) {
  const mix = (name) => front[name] * front.alpha + back[name] * (1 - front.alpha);
  return { red: mix("red"), green: mix("green"), blue: mix("blue"), alpha: 1 };
}

function ground(element) {
  if (element === null)
    return parse(
      getComputedStyle(document.documentElement).colorScheme === "dark"
        ? "rgb(18,18,18)"
        : "rgb(255,255,255)",
    );
  const colour = parse(getComputedStyle(element).backgroundColor);
  if (colour.alpha === 1) return colour;
  return over(colour, element.matches("dialog") ? ground(null) : ground(element.parentElement));
}

function luminance({ red, green, blue }) {
  const [r, g, b] = [red, green, blue].map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((first, second) => second - first);
  return (light + 0.05) / (dark + 0.05);
}

function shown(element) {
  const { tagName, id, className } = element;
  return `${tagName.toLowerCase()}${id ? `#${id}` : ""}${typeof className === "string" && className ? `.${className}` : ""} “${element.textContent.trim().slice(0, 30)}”`;
}

function audit(inside) {
  const root = document.querySelector(inside);
  const faults = [];
  const all = (selector) => [...root.querySelectorAll(selector)].filter(visible);
  const fault = (what, element) => faults.push(`${what}: ${shown(element)}`);

  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  for (const control of all(
    "button, a[href], input, select, textarea, summary, [role=button], [tabindex]:not(main):not(h2)",
  )) {
    if (nameOf(control) === "") fault("no name", control);
    if (control.tabIndex > 0) fault("positive tabindex", control);
    const { width, height } = control.getBoundingClientRect();
    if (control.matches("button, select, input:not([type=checkbox])") && Math.min(width, height) < 24)
      fault(`small: ${width}×${height}`, control);
  }
  for (const field of all("input, select, textarea")) if (field.labels.length === 0) fault("no label", field);
  for (const image of all("img")) if (!image.hasAttribute("alt")) fault("no alt", image);
  for (const drawing of all("svg")) {
    const told = drawing.querySelector("title")?.textContent && drawing.querySelector("desc")?.textContent;
    if (
      drawing.getAttribute("aria-hidden") !== "true" &&
      !(drawing.getAttribute("role") === "img" && told && nameOf(drawing))
    )
      fault("untold drawing", drawing);
  }
  for (const table of all("table")) {
    if (!table.querySelector("caption")?.textContent) fault("no caption", table);
    for (const head of table.querySelectorAll("th")) if (!head.scope) fault("no scope", head);
  }
  for (const place of all("ul, ol")) {
    for (const child of place.children) if (child.tagName !== "LI") fault("no list item", child);
  }
  for (const box of all("*")) {
    const { overflowY, overflowX } = getComputedStyle(box);
    const scrolls =
      (/auto|scroll/.test(overflowY) && box.scrollHeight > box.clientHeight + 1) ||
      (/auto|scroll/.test(overflowX) && box.scrollWidth > box.clientWidth + 1);
    if (scrolls && box.tabIndex < 0 && !box.matches("html, body, dialog"))
      fault("scrolls, not by keyboard", box);
  }
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  for (const id of new Set(ids.filter((one, place) => ids.indexOf(one) !== place)))
    faults.push(`id twice: ${id}`);
  for (const element of all("[aria-labelledby], [aria-describedby]")) {
    for (const id of `${element.getAttribute("aria-labelledby") ?? ""} ${element.getAttribute("aria-describedby") ?? ""}`
      .split(/\s+/)
      .filter(Boolean)) {
      if (!document.getElementById(id)) fault(`no ${id}`, element);
    }
  }

  if (inside === "body") {
    let level = 0;
    for (const heading of all("h1, h2, h3, h4, h5, h6")) {
      const next = Number(heading.tagName[1]);
      if (next > level + 1) fault(`h${level} then`, heading);
      if (heading.textContent.trim() === "") fault("empty heading", heading);
      level = next;
    }
    if (all("h1").length !== 1) faults.push("not one h1");
    for (const landmark of ["main", "header", "nav"])
      if (all(landmark).length !== 1) faults.push(`not one ${landmark}`);
    for (const section of all("section, [role=region], nav")) if (!nameOf(section)) fault("no name", section);
  }

  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (
      !walker.currentNode.textContent.trim() ||
      !visible(element) ||
      element.closest(".unseen, noscript, title, desc, option")
    )
      continue;
    const style = getComputedStyle(element);
    const back = ground(element);
    const ink = over(parse(element.closest("svg") ? style.fill : style.color), back);
    const large = Number.parseFloat(style.fontSize) >= 24;
    const ratio = contrast(ink, back);
    if (ratio < (large ? 3 : 4.5)) fault(`contrast ${ratio.toFixed(2)}`, element);
  }
  for (const field of all("input, select, textarea")) {
    const style = getComputedStyle(field);
    if (field.type !== "checkbox" && contrast(parse(style.borderTopColor), ground(field.parentElement)) < 3)
      fault("faint border", field);
  }
  return [...new Set(faults)];
}
