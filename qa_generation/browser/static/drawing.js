"use strict";
// Cards as DOM nodes. Every text comes from other people's files: it is only ever set as text, never as markup.

const drawing = (() => {
  const make = (name, className, text) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const shape = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const put = (node, place) => {
    for (const [key, value] of Object.entries(place)) node.style[key] = value + "%";
    return node;
  };
  const ROLES = ["target", "reference", "distractor", "elsewhere"];
  const roleOf = mark => ROLES.includes(mark.role) ? mark.role : "distractor";

  function box(mark, sides, outlined) {
    const [left, top, width, height] = sides;
    const names = ["m", roleOf(mark), top < 9 ? "high" : "", left > 75 ? "late" : "", outlined ? "outlined" : ""];
    const node = put(make("div", names.filter(Boolean).join(" ")), { left, top, width, height });
    if (mark.label) node.append(make("i", "", mark.label));
    return node;
  }

  // outlines of all asked instances in this view; what has one needs no box besides its label
  function outlines(picture, frame, record, masks) {
    const svg = shape("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    const drawn = new Set();
    for (const [id, mask] of Object.entries(masks || {})) {
      const mark = record.instances[id];
      if (!mark) continue;
      drawn.add(Number(id));
      svg.append(shape("path", { d: mask.d, class: roleOf(mark) }));
      picture.append(box({ ...mark, label: mark.label || mask.name }, mask.box, true));
    }
    picture.prepend(svg);
    return [svg, drawn];
  }

  // a line along what was measured; a ring where one of its ends is in the picture
  function length(picture, svg, line, label) {
    const [x1, y1, x2, y2] = line.at;
    svg.append(shape("line", { x1, y1, x2, y2 }));
    if (line.ends[0]) picture.append(put(make("div", "ring"), { left: x1, top: y1 }));
    if (line.ends[1]) picture.append(put(make("div", "ring"), { left: x2, top: y2 }));
    const left = Math.min(Math.max((x1 + x2) / 2, 12), 88), top = Math.min(Math.max((y1 + y2) / 2, 8), 92);
    picture.append(put(make("div", "length", label), { left, top }));
  }

  function frame(item, record, marks) {
    const node = make("figure", item.asked ? "asked" : "");
    const picture = make("div", item.picture ? "picture" : "picture gone");
    picture.style.aspectRatio = String(item.ratio);
    const [svg, drawn] = outlines(picture, item, record, marks && marks.masks[item.view]);
    if (item.picture) {
      const image = make("img");
      image.src = "pictures/" + encodeURIComponent(item.picture);
      image.alt = item.title + (item.asked ? ", the frame asked about" : "");
      image.loading = "lazy";
      picture.prepend(image);
    }
    for (const mark of item.boxes) if (!drawn.has(mark.id)) picture.append(box(mark, mark.box, false));
    const lines = marks && Object.hasOwn(marks.lines, record.id) ? marks.lines[record.id] : null;
    if (lines && Object.hasOwn(lines.frames, item.view)) length(picture, svg, lines.frames[item.view], lines.label);
    for (const point of item.points) {
      const only = point.letter === "+";
      const names = "p" + (point.right ? " right" : "") + (only ? " only" : "");
      picture.append(put(make("div", names, point.letter), { left: point.x, top: point.y }));
    }
    const title = item.title === item.view ? item.title : `${item.title} · ${item.view}`;
    node.append(picture, make("figcaption", "", title + (item.asked ? " - asked from here" : "")));
    return node;
  }

  const percent = share => `${Math.round(100 * share)} %`;
  const withUnit = record => record.unit && record.unit !== "px" ? `${record.answer} ${record.unit}` : record.answer;

  function answers(record) {
    const list = make("ol");
    for (const option of record.options) list.append(make("li", option[0] === record.letter ? "right" : "", option));
    if (!record.options.length) {
      const item = make("li", "right only", withUnit(record));
      if (record.value !== null) item.append(make("small", "", `  unrounded ${Number(record.value.toPrecision(6))}`));
      list.append(item);
    }
    return list;
  }

  function facts(record) {
    const [occlusion, truncation, overlap, , coverage] = record.levels;
    const texts = [
      `overlap ${record.overlap[0]} %${overlap ? ` (${overlap})` : ""}`,
      `occlusion ${percent(record.occlusion)}${occlusion ? ` (${occlusion})` : ""}`,
      truncation ? `cut off ${percent(record.truncation)} (${truncation})` : "",
      coverage,
      record.bias === null ? "" : `bias ${record.bias.toFixed(2)}`,
    ];
    const node = make("div", "facts");
    for (const text of texts) if (text) node.append(make("span", "", text));
    return node;
  }

  function details(record) {
    const list = make("dl");
    const add = (name, value) => { if (value) list.append(make("dt", "", name), make("dd", "", value)); };
    add("id", record.id);
    add("family", record.family);
    add("views", record.frames.map(item => item.view).join(", ") + `   (set ${record.set})`);
    add("target", record.target);
    add("reference", record.reference);
    add("overlap", `mean ${record.overlap[0]} %, largest ${record.overlap[1]} %`);
    add("visibility", record.levels[3]);
    if (record.value !== null) add("answer", `${withUnit(record)}, unrounded ${record.value}`);
    if (record.box2d.length) add("2D box", `${record.box2d.join(", ")} on ${record.canvas.join(" x ")} pixels`);
    for (const item of record.frames)
      for (const mark of item.boxes)
        add("evidence", `${item.title}: ${mark.role} ${mark.label} (instance ${mark.id}) at ${mark.box.join(", ")} %`);
    const node = make("div", "more");
    node.append(list);
    return node;
  }

  function card(record, marks, link, single) {
    const node = make("article");
    node.dataset.id = record.id;
    const kind = make("div", "kind");
    const title = make("a", "", record.type);
    title.href = link;
    kind.append(title, make("span", "", record.split), make("span", "", `${record.dataset} · ${record.scene}`));
    const few = [1, 2, 4].includes(record.frames.length);
    const frames = make("div", few ? "frames two" : "frames");
    for (const item of record.frames) frames.append(frame(item, record, marks));
    node.append(kind, frames, make("h2", "question", record.question), answers(record), facts(record));
    if (single) node.append(details(record));
    return node;
  }
  return { make, card };
})();
