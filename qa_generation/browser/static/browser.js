"use strict";
// Filters, paging and permalinks. Data arrive as scripts that call browser.index, browser.records, ...

const browser = (() => {
  const PER_PAGE = 12;
  const FACETS = ["type", "split", "views", "occlusion", "truncation", "overlap", "visibility", "coverage"];
  const LISTS = { category: "categories", scene: "scenes" };
  const KEYS = ["q", ...FACETS, "category", "scene", "min", "max", "sort"];
  const byId = id => document.getElementById(id);
  const field = key => document.querySelector(`[data-key="${key}"]`);
  const pieces = new Map(), marks = new Map(), loading = new Map();
  let data = null, questions = null, order = [], state = {}, turn = 0;

  function load(file) {
    if (!loading.has(file)) {
      loading.set(file, new Promise((done, failed) => {
        const script = document.createElement("script");
        script.src = `data/${file}`;
        script.onload = done;
        script.onerror = () => { loading.delete(file); failed(new Error(`${file} cannot be loaded`)); };
        document.head.append(script);
      }));
    }
    return loading.get(file);
  }
  const numbered = (name, number) => `${name}-${String(number).padStart(5, "0")}.js`;

  // state <-> address
  function fromAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    state = { page: Math.max(1, Number.parseInt(given.get("page") || "1", 10) || 1), id: given.get("id") || "" };
    for (const key of KEYS) state[key] = given.get(key) || "";
  }
  function address(changes) {
    const next = { ...state, ...changes };
    const parts = new URLSearchParams();
    for (const key of KEYS) if (next[key]) parts.set(key, next[key]);
    if (next.id) parts.set("id", next.id);
    else if (next.page > 1) parts.set("page", String(next.page));
    return `#${parts}`;
  }
  const go = changes => { location.hash = address(changes); };

  // filters
  function fill() {
    const counts = name => {
      const totals = new Array(data.facets[name].values.length).fill(0);
      for (const code of data.facets[name].codes) totals[code] += 1;
      return totals;
    };
    const option = (value, text) => { const node = drawing.make("option", "", text); node.value = value; return node; };
    for (const name of FACETS) {
      const select = field(name), { values } = data.facets[name], totals = counts(name);
      select.append(option("", "any"));
      const ranked = values.map((value, code) => [value, totals[code]]).filter(([value]) => value);
      if (name === "type") byFamily(select, ranked, option);
      else for (const [value, total] of ranked.sort((a, b) => ORDER(name, a[0]) - ORDER(name, b[0]) || (a[0] < b[0] ? -1 : 1)))
        select.append(option(value, `${value} (${total})`));
      select.disabled = !ranked.length;
    }
    for (const [name, list] of Object.entries(LISTS))
      byId(list).append(...data.facets[name].values.filter(Boolean).sort().map(value => option(value)));
    byId("bias").hidden = !data.bias.some(score => score !== null);
    document.querySelector("[data-toggle=masks]").hidden = !Object.keys(data.scenes).length;
  }
  const LEVELS = ["low", "medium", "high", "extreme", "whole", "cut", "mostly cut", "train", "test", "warmup"];
  const ORDER = (name, value) => LEVELS.includes(value) ? LEVELS.indexOf(value) : LEVELS.length;
  function byFamily(select, ranked, option) {
    const groups = new Map();
    for (const [value, total] of ranked) {
      const family = data.families[value];
      if (!groups.has(family)) {
        const group = document.createElement("optgroup");
        group.label = family;
        group.append(option(`family:${family}`, `all of ${family}`));
        groups.set(family, group);
        select.append(group);
      }
      groups.get(family).append(option(value, `${value} (${total})`));
    }
    for (const group of groups.values()) if (group.children.length === 2) group.firstChild.remove();
  }
  function show() {
    for (const key of KEYS) {
      if (field(key).value !== state[key]) field(key).value = state[key];
      field(key).classList.toggle("set", Boolean(state[key]));
    }
  }

  function codesOf(name, wanted) {
    const { values } = data.facets[name];
    if (name === "type" && wanted.startsWith("family:")) {
      const family = wanted.slice(7);
      return new Set(values.flatMap((value, code) => data.families[value] === family ? [code] : []));
    }
    if (name in LISTS) {
      const exact = values.indexOf(wanted), part = wanted.toLowerCase();
      if (exact >= 0) return new Set([exact]);
      return new Set(values.flatMap((value, code) => value.toLowerCase().includes(part) ? [code] : []));
    }
    return new Set([values.indexOf(wanted)]);
  }
  async function filter() {
    const tests = [];
    for (const name of [...FACETS, ...Object.keys(LISTS)]) {
      if (!state[name]) continue;
      const wanted = codesOf(name, state[name]), { codes } = data.facets[name];
      tests.push(i => wanted.has(codes[i]));
    }
    if (state.min !== "") tests.push(i => data.bias[i] !== null && data.bias[i] >= Number(state.min));
    if (state.max !== "") tests.push(i => data.bias[i] !== null && data.bias[i] <= Number(state.max));
    if (state.q) {
      if (questions === null) await load("questions.js");
      const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
      const { values, codes } = data.facets.category;
      tests.push(i => {
        const text = `${data.ids[i]} ${questions[i]} ${values[codes[i]]}`.toLowerCase();
        return words.every(word => text.includes(word));
      });
    }
    const found = [];
    for (let i = 0; i < data.ids.length; i += 1) if (tests.every(test => test(i))) found.push(i);
    return sorted(found);
  }
  function sorted(found) {
    const { bias, ids } = data;
    // records without a score come last either way
    if (state.sort === "bias-down") found.sort((a, b) => (bias[b] ?? -1) - (bias[a] ?? -1) || a - b);
    if (state.sort === "bias-up") found.sort((a, b) => (bias[a] ?? 2) - (bias[b] ?? 2) || a - b);
    if (state.sort === "id") found.sort((a, b) => ids[a] < ids[b] ? -1 : 1);
    return found;
  }

  // drawing
  async function records(numbers) {
    const wanted = [...new Set(numbers.map(i => Math.floor(i / data.perFile)))];
    await Promise.all(wanted.map(piece => load(numbered("records", piece))));
    const found = numbers.map(i => pieces.get(Math.floor(i / data.perFile))[i % data.perFile]);
    const scenes = [...new Set(found.map(record => record.scene))].filter(scene => Object.hasOwn(data.scenes, scene));
    await Promise.all(scenes.map(scene => load(numbered("scene", data.scenes[scene]))));
    return found;
  }
  async function draw() {
    const mine = ++turn;
    order = await filter();
    if (mine !== turn) return;
    const single = state.id ? data.ids.indexOf(state.id) : -1;
    const place = single >= 0 ? order.indexOf(single) : -1;
    const pages = Math.max(1, Math.ceil(order.length / PER_PAGE)), page = Math.min(state.page, pages);
    const numbers = single >= 0 ? [single] : order.slice((page - 1) * PER_PAGE, page * PER_PAGE);
    const shown = await records(numbers);
    if (mine !== turn) return;
    const cards = byId("cards");
    cards.classList.toggle("single", single >= 0);
    cards.replaceChildren(...shown.map(r => drawing.card(r, marks.get(r.scene), address({ id: r.id }), single >= 0)));
    byId("empty").hidden = shown.length > 0;
    byId("back").hidden = single < 0;
    const count = number => number.toLocaleString("en");
    const rest = data.ids.length < data.total ? `, chosen out of ${count(data.total)}` : "";
    byId("count").textContent = `${count(order.length)} of ${count(data.ids.length)} records${rest}`;
    byId("where").textContent = single >= 0
      ? (place >= 0 ? `record ${place + 1} of ${order.length}` : "not among the filtered records")
      : `page ${page} of ${pages}`;
    byId("previous").disabled = single >= 0 ? place < 1 : page <= 1;
    byId("next").disabled = single >= 0 ? place < 0 || place + 1 >= order.length : page >= pages;
    document.body.dataset.ready = "yes";
  }
  function step(by) {
    const button = byId(by < 0 ? "previous" : "next");
    if (button.disabled) return;
    const single = state.id ? data.ids.indexOf(state.id) : -1;
    if (single >= 0) go({ id: data.ids[order[order.indexOf(single) + by]] });
    else go({ page: state.page + by });
    scrollTo(0, 0);
  }
  const back = () => {
    const place = order.indexOf(data.ids.indexOf(state.id));
    go({ id: "", page: place < 0 ? 1 : Math.floor(place / PER_PAGE) + 1 });
  };
  const refresh = () => {
    fromAddress();
    show();
    draw().catch(error => { byId("count").textContent = error.message; });
  };

  function toggle(name) {
    const button = document.querySelector(`[data-toggle="${name}"]`);
    if (!button.hidden) button.setAttribute("aria-pressed", document.body.classList.toggle(name));
  }
  function keyboard(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select");
    if (event.key === "Escape") { if (typing) event.target.blur(); else if (state.id) back(); return; }
    if (typing) return;
    const actions = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), k: () => step(-1), j: () => step(1),
      "/": () => byId("q").focus(), a: () => toggle("answers"), b: () => toggle("boxes"), m: () => toggle("masks") };
    if (Object.hasOwn(actions, event.key)) { event.preventDefault(); actions[event.key](); }
  }
  function connect() {
    for (const key of KEYS)
      field(key).addEventListener(key === "q" || key in LISTS ? "input" : "change", event => {
        clearTimeout(connect.timer);
        connect.timer = setTimeout(() => go({ [key]: event.target.value.trim(), page: 1, id: "" }), key === "q" ? 200 : 0);
      });
    byId("filters").addEventListener("reset", event => {
      event.preventDefault();
      go({ ...Object.fromEntries(KEYS.map(key => [key, ""])), page: 1, id: "" });
    });
    byId("filters").addEventListener("submit", event => event.preventDefault());
    byId("previous").onclick = () => step(-1);
    byId("next").onclick = () => step(1);
    byId("back").onclick = back;
    for (const button of document.querySelectorAll("[data-toggle]")) button.onclick = () => toggle(button.dataset.toggle);
    document.addEventListener("keydown", keyboard);
    addEventListener("hashchange", refresh);
  }

  return {
    index(content) { data = content; fill(); connect(); refresh(); },
    questions(texts) { questions = texts; },
    records(piece, entries) { pieces.set(piece, entries); },
    scene(name, content) { marks.set(name, content); },
  };
})();
