// Regions beside the picture, for viewer.js: legend with switches, list, scores, what is in view, lines of the table.
const regionPanel = (page) => {
  "use strict";
  const { data, pen, at, element, picture, show, changed } = page;
  const { pictures, styles } = data, NAMED = 4; // so many in view are named, more are counted
  const kinds = new Set(styles.keys());
  let chosen = -1, areShown = true, waiting = 0;

  const shown = () => (areShown ? kinds : new Set());
  const titled = (each) => `${each.name}${each.note ? ` · ${each.note}` : ""}`;
  const named = (each) => `${titled(each)} (${styles[each.kind].name.toLowerCase()})`;
  const called = (each) => `${regionLayer.cut(each.name)} (${styles[each.kind].name.toLowerCase()})`;
  const under = (x, y, which = new Set(styles.keys())) => regionLayer.at(pen, picture(), x, y, which);

  function tellView(view) {
    clearTimeout(waiting); // once the picture is at rest
    waiting = setTimeout(() => {
      const { regions } = picture(), found = regionLayer.inView(pen, picture(), view, shown()).map((i) => regions[i]);
      const counted = styles.map(({ name, plural }, kind) => [found.filter((each) => each.kind === kind).length, name, plural])
        .filter(([n]) => n).map(([n, name, plural]) => `${n.toLocaleString("en")} ${n === 1 ? name.toLowerCase() : plural}`);
      const text = found.length <= NAMED ? found.map(called).join(", ") : counted.join(", ");
      at("here").textContent = !regions.length ? "" : !areShown ? "Regions are hidden." :
        found.length ? `In view: ${text}` : "No region in view.";
    }, 120);
  }

  function choose(i, go) {
    chosen = i;
    at("region").value = i < 0 ? "" : String(i);
    if (i >= 0 && go) {
      const { kind, box } = picture().regions[i];
      if (!areShown) toggle();
      if (!kinds.has(kind)) { kinds.add(kind); list(); }
      show(box);
    }
    changed();
  }
  function letGo() {
    chosen = -1;
    at("region").value = "";
  }
  function step(by) {
    const n = picture().regions.length;
    if (n) choose((chosen < 0 ? (by > 0 ? 0 : n - 1) : chosen + by + n) % n, true);
  }
  function toggle() {
    if (at("regions").disabled) return;
    areShown = !areShown;
    at("regions").setAttribute("aria-pressed", String(areShown));
    changed();
  }

  function tell(box) {
    const each = picture().regions[chosen];
    box.append(element("h3", titled(each)), element("p", styles[each.kind].name));
    for (const line of each.told) box.append(element("p", line));
  }
  function tellOfCell(box, x, y) {
    const inside = under(x, y);
    if (inside.length) box.append(element("p", `In ${inside.map((i) => named(picture().regions[i])).join(", ")}`));
  }

  function list() {
    const { regions } = picture(), box = at("region-kinds"), all = at("region");
    at("regions-shown").hidden = at("regions").hidden = !pictures.some((each) => each.regions.length);
    at("regions").disabled = all.disabled = !regions.length;
    box.replaceChildren();
    styles.forEach((style, kind) => {
      const n = regions.filter((each) => each.kind === kind).length;
      if (!n) return;
      const label = element("label"), tick = element("input"), line = at(`line-${kind}`).content.firstElementChild.cloneNode(true);
      tick.type = "checkbox";
      tick.checked = kinds.has(kind);
      tick.dataset.kind = kind;
      label.append(tick, line, document.createTextNode(style.name), element("span", n.toLocaleString("en")));
      box.append(label);
    });
    if (!box.children.length) box.append(element("p", "No regions in this picture.", "quiet"));
    all.replaceChildren(...[element("option", "choose …"), ...regions.map((each) => element("option", named(each)))]);
    [...all.options].forEach((option, i) => { option.value = i ? String(i - 1) : ""; });
    all.value = chosen < 0 ? "" : String(chosen);
  }

  // A region in the table of the page leads to its outline; `open` shows the picture of a number, then calls.
  function linkTable(open) {
    for (const head of document.querySelectorAll("th[data-region]")) {
      const { region: name, image, core } = head.dataset;
      const isOf = ({ kind }) => kind !== "exclude" && String(kind === "core") === core; // what is left out has no line
      const is = (each) => each.name === name && isOf(styles[each.kind]);
      const number = pictures.findIndex((each) => each.title === image && each.regions.some(is));
      if (number < 0) continue;
      const button = element("button", head.textContent, "link");
      button.type = "button";
      button.title = "Show in the viewer";
      button.addEventListener("click", () => open(number, () => choose(pictures[number].regions.findIndex(is), true)));
      head.replaceChildren(button);
    }
  }

  at("regions").addEventListener("click", toggle);
  at("region").addEventListener("change", (event) => choose(event.target.value === "" ? -1 : Number(event.target.value), true));
  at("region-kinds").addEventListener("change", (event) => {
    const kind = Number(event.target.dataset.kind);
    if (event.target.checked) kinds.add(kind); else kinds.delete(kind);
    changed();
  });
  return { get chosen() { return chosen; }, shown, under, tellView, choose, letGo, step, toggle, tell, tellOfCell, list, linkTable };
};
