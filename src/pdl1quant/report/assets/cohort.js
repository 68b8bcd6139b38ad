// The table of a cohort: sort, filter, choose a case. All is in the page; nothing is asked of a network.
(() => {
  "use strict";
  document.documentElement.classList.add("js");
  const table = document.getElementById("cases");
  const body = table.tBodies[0];
  const count = document.getElementById("count");
  const filters = document.getElementById("filters");
  const at = (id) => document.getElementById(id);
  const rows = [...body.rows].map((row, index) => ({
    row, index, sheet: at(row.dataset.sheet), words: row.dataset.text.toLowerCase(), data: row.dataset,
  }));
  let chosen = null;

  const number = (text) => (text === "" ? null : Number(text));
  const isText = new Set(["name", "call"]);
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  function sort(key, ascending) {
    const sign = ascending ? 1 : -1;
    const values = new Map(rows.map((each) => [each, isText.has(key) ? each.data[key] : number(each.data[key])]));
    const none = (value) => value === null || value === "";
    rows.sort((a, b) => {
      const x = values.get(a), y = values.get(b);
      if (none(x) || none(y)) return none(x) - none(y) || a.index - b.index; // unknown ones stay at the end
      const order = isText.has(key) ? collator.compare(x, y) : x - y;
      return sign * order || a.index - b.index;
    });
    body.append(...rows.map((each) => each.row));
  }

  for (const button of table.tHead.querySelectorAll("button")) button.disabled = false;
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-sort]");
    if (!button) return;
    const head = button.closest("th");
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    sort(button.dataset.sort, ascending);
  });

  function filter() {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const status = at("status").value, flag = at("flag").value;
    const from = number(at("from").value), to = number(at("to").value);
    const noun = count.dataset.noun;
    let n = 0;
    for (const { row, sheet, words: text, data } of rows) {
      const tps = number(data.tps);
      const holds = words.every((word) => text.includes(word)) &&
        (!status || data.status === status) && (!flag || data.names.split(" ").includes(flag)) &&
        (from === null || (tps !== null && tps >= from)) && (to === null || (tps !== null && tps <= to));
      row.hidden = !holds;
      sheet.classList.toggle("out", !holds);
      n += holds;
    }
    count.textContent = n === rows.length ? `${n} ${noun}` : `${n} of ${rows.length} ${noun}`;
  }
  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(filter));

  function fill(sheet) {
    const template = sheet.querySelector("template");
    if (template) template.replaceWith(template.content);
  }
  window.addEventListener("beforeprint", () => {
    for (const { row, sheet } of rows) if (!row.hidden) fill(sheet);
    at("sheets").append(...rows.map((each) => each.sheet)); // in the order of the table
  });

  function choose(each) {
    fill(each.sheet);
    if (chosen) { chosen.row.classList.remove("chosen"); chosen.sheet.classList.remove("chosen"); }
    chosen = each;
    each.row.classList.add("chosen");
    each.sheet.classList.add("chosen");
  }

  body.addEventListener("click", (event) => {
    const each = rows.find(({ row }) => row === event.target.closest("tr"));
    if (!each) return;
    choose(each);
    if (event.target.closest("a")) {
      event.preventDefault();
      each.sheet.scrollIntoView({ block: "start" });
      const link = each.sheet.querySelector("a.button");
      if (link) link.focus({ preventScroll: true });
    }
  });

  body.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const shown = rows.filter(({ row }) => !row.hidden);
    const next = shown[shown.findIndex(({ row }) => row === event.target.closest("tr")) + step];
    if (!next) return;
    event.preventDefault();
    next.row.querySelector("th a").focus();
    choose(next);
  });

  const asked = rows.find((each) => `#${each.sheet.id}` === location.hash);
  const first = asked || rows[0];
  if (first) choose(first);
  filter(); // a browser may have kept what was typed
})();
