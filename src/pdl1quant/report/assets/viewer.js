// The viewer of one case: OpenSeadragon shows the picture, a canvas above it the cells. Nothing is fetched.
(() => {
  "use strict";
  const at = (id) => document.getElementById(id);
  const source = at("data");
  if (!source || !at("osd")) return;
  const data = JSON.parse(source.textContent);
  const pictures = data.pictures;
  if (!pictures || !pictures.length) return;

  const colour = (rgb, alpha = 1) => `rgba(${rgb[0]},${rgb[1]},${rgb[2]},${alpha})`;
  const shown = new Set(data.kinds.keys());
  let current = 0, cell = -1, outlines = true, heat = false;

  const viewer = OpenSeadragon({
    element: at("osd"), drawer: "canvas", showNavigationControl: false, animationTime: 0.4, maxZoomPixelRatio: 12,
    visibilityRatio: 0.6, minZoomImageRatio: 0.8, imageSmoothingEnabled: true, crossOriginPolicy: false,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true }, tabIndex: "",
  });
  const canvas = document.createElement("canvas");
  canvas.className = "cells";
  at("osd").append(canvas);
  const pen = canvas.getContext("2d");
  const panel = regionPanel({
    data, pen, at, element, picture: () => pictures[current], show: showBox, changed: () => { if (panel.chosen >= 0) cell = -1; tell(); draw(); },
  });

  // --- cells --------------------------------------------------------------------------------------------------------
  const BUCKET_PX = 512, CELLS_FROM_SCALE = 0.08; // below it outlines are dust

  function prepare(picture) {
    regionLayer.prepare(picture);
    const cells = picture.cells;
    if (!cells || picture.buckets) return;
    picture.buckets = new Map(); // cells by the square of the picture that they lie in
    picture.counts = data.kinds.map(() => 0);
    picture.paths = [];
    cells.kind.forEach((kind, i) => {
      picture.counts[kind] += 1;
      const key = place(cells.x[i], cells.y[i]);
      if (picture.buckets.has(key)) picture.buckets.get(key).rows.push(i);
      else picture.buckets.set(key, { rows: [i], kinds: null });
    });
  }
  function place(x, y) { return `${Math.floor(x / BUCKET_PX)},${Math.floor(y / BUCKET_PX)}`; }

  function pathOf(picture, i) {
    if (picture.paths[i]) return picture.paths[i];
    const ring = picture.cells.rings[i], path = new Path2D();
    let x = 0, y = 0;
    for (let k = 0; k < ring.length; k += 2) {
      x += ring[k]; y += ring[k + 1];
      if (k) path.lineTo(x / 10, y / 10); else path.moveTo(x / 10, y / 10);
    }
    path.closePath();
    picture.paths[i] = path;
    return path;
  }

  function kindsOf(picture, bucket) {
    if (!bucket.kinds) {
      bucket.kinds = data.kinds.map(() => null);
      for (const i of bucket.rows) {
        const kind = picture.cells.kind[i];
        bucket.kinds[kind] ??= { path: new Path2D(), rows: [] };
        bucket.kinds[kind].path.addPath(pathOf(picture, i));
        bucket.kinds[kind].rows.push(i);
      }
    }
    return bucket.kinds;
  }

  function near(picture, left, top, right, bottom) {
    const found = [];
    for (let y = Math.floor(top / BUCKET_PX); y <= Math.floor(bottom / BUCKET_PX); y += 1)
      for (let x = Math.floor(left / BUCKET_PX); x <= Math.floor(right / BUCKET_PX); x += 1) {
        const bucket = picture.buckets.get(`${x},${y}`);
        if (bucket) found.push(bucket);
      }
    return found;
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const item = viewer.world.getItemAt(0);
    if (!item) return;
    const origin = viewer.viewport.pixelFromPoint(item.imageToViewportCoordinates(0, 0), true);
    const corner = viewer.viewport.pixelFromPoint(item.imageToViewportCoordinates(1, 0), true);
    const scale = corner.x - origin.x;
    pen.setTransform(scale * ratio, 0, 0, scale * ratio, origin.x * ratio, origin.y * ratio);
    const picture = pictures[current];
    if (heat) drawHeat(picture);
    const view = [-origin.x / scale, -origin.y / scale, (width - origin.x) / scale, (height - origin.y) / scale];
    const how = { scale, origin, ratio, view, styles: data.styles, shown: panel.shown(), chosen: panel.chosen };
    regionLayer.drawLines(pen, picture, how);
    if (outlines && picture.cells && scale > CELLS_FROM_SCALE) {
      const margin = 60;
      const seen = near(picture, view[0] - margin, view[1] - margin, view[2] + margin, view[3] + margin);
      drawCells(picture, seen.map((bucket) => kindsOf(picture, bucket)), scale);
    }
    if (cell >= 0 && picture.cells) drawChosen(picture, scale);
    regionLayer.drawNames(pen, picture, { ...how, areCellsSeen: areCellsSeen(picture, scale), isFree: freeOfCells(picture, scale) });
    drawScale(picture, scale);
    panel.tellView(view);
  }

  function drawHeat(picture) {
    for (const [x, y, width, height, step] of picture.heat) {
      pen.fillStyle = colour(data.steps[step].rgb, 0.4);
      pen.fillRect(x, y, width, height);
    }
  }

  function drawCells(picture, buckets, scale) {
    const thick = Math.min(2.2, Math.max(0.9, scale * 0.9));
    const radius = Math.min(4.2, Math.max(1.6, 1.6 * scale)) / scale;
    const { x, y } = picture.cells;
    const dots = [], rims = new Path2D();
    data.kinds.forEach((kind, k) => {
      if (!shown.has(k)) return;
      const some = buckets.map((kinds) => kinds[k]).filter(Boolean);
      pen.setLineDash(kind.dashed ? [5 / scale, 3 / scale] : []);
      if (!kind.dashed && scale > 0.9) {
        pen.strokeStyle = "rgba(0,0,0,0.35)";
        pen.lineWidth = (thick + 1.4) / scale;
        for (const each of some) pen.stroke(each.path);
      }
      pen.strokeStyle = colour(kind.rgb);
      pen.lineWidth = thick / scale;
      for (const each of some) pen.stroke(each.path);
      if (!kind.dot) return;
      const path = new Path2D();
      for (const each of some) for (const i of each.rows) {
        path.moveTo(x[i] + radius, y[i]);
        path.arc(x[i], y[i], radius, 0, 7);
        rims.moveTo(x[i] + radius * 1.5, y[i]);
        rims.arc(x[i], y[i], radius * 1.5, 0, 7);
      }
      dots.push([kind, path]);
    });
    pen.setLineDash([]);
    pen.fillStyle = "#fff";
    pen.fill(rims);
    for (const [kind, path] of dots) { pen.fillStyle = colour(kind.rgb); pen.fill(path); }
  }

  function drawChosen(picture, scale) {
    pen.lineJoin = "round";
    for (const [style, width] of [["#fff", 7], ["#000", 3]]) {
      pen.strokeStyle = style;
      pen.lineWidth = width / scale;
      pen.stroke(pathOf(picture, cell));
    }
  }

  function drawScale(picture, scale) {
    const box = at("bar").parentElement;
    box.hidden = !picture.mpp;
    if (!picture.mpp) return;
    const wanted = (130 * picture.mpp) / scale;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const length = [5, 2, 1].map((step) => step * power).find((each) => each <= wanted);
    at("bar").style.width = `${(length / picture.mpp) * scale}px`;
    at("bar-text").textContent = (length >= 1000 ? `${length / 1000} mm` : `${length} µm`) +
      (outlines && picture.cells && scale <= CELLS_FROM_SCALE ? " · zoom in for cells" : "");
  }

  // --- room for names of regions ------------------------------------------------------------------------------------
  const CELL_UM = 10, CELLS_SEEN_FROM_PX = 6; // a cell this large on the screen is looked at: no name may cover it

  function radiusOfCells({ mpp }) { return mpp ? CELL_UM / 2 / mpp : 10; }
  function areCellsSeen(picture, scale) { return 2 * radiusOfCells(picture) * scale >= CELLS_SEEN_FROM_PX; }
  function freeOfCells(picture, scale) {
    const { cells } = picture, radius = radiusOfCells(picture);
    if (!cells || !areCellsSeen(picture, scale)) return () => true;
    return ([left, top, right, bottom]) => near(picture, left - radius, top - radius, right + radius, bottom + radius).every(
      ({ rows }) => !rows.some((i) => cells.x[i] > left - radius && cells.x[i] < right + radius &&
        cells.y[i] > top - radius && cells.y[i] < bottom + radius));
  }

  // --- one cell -----------------------------------------------------------------------------------------------------
  function found(point) {
    const picture = pictures[current], cells = picture.cells;
    if (!cells) return -1;
    let best = -1, least = Infinity;
    for (const { rows } of near(picture, point.x - 60, point.y - 60, point.x + 60, point.y + 60))
      for (const i of rows) {
        if (!shown.has(cells.kind[i])) continue;
        const away = Math.hypot(cells.x[i] - point.x, cells.y[i] - point.y);
        if (away < least && (away < 3 || inside(i, point))) { best = i; least = away; }
      }
    return best;
  }
  function inside(i, point) {
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    const hit = pen.isPointInPath(pathOf(pictures[current], i), point.x, point.y);
    pen.restore();
    return hit;
  }

  function element(name, text, css) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (css) made.className = css;
    return made;
  }

  function tell() {
    const box = at("cell");
    box.replaceChildren();
    const { cells, regions } = pictures[current];
    if (cell < 0 && panel.chosen >= 0) { panel.tell(box); return; }
    if (cell < 0 || !cells) {
      if (regions.length) box.append(element("p", "Click a region, or press g, to see its score.", "quiet"));
      const text = cells ? "Click a cell, or press n, to see its measurements." :
        pictures[current].role !== "slide" ? "The cells of this picture are not in this page." :
        pictures.some((each) => each.role === "field") ? "The cells of a slide are shown in its fields: choose one above." :
        "No field of this slide has tumour cells enough to be shown here; pdl1quant report --tiles shows every cell.";
      box.append(element("p", text, "quiet"));
      return;
    }
    const name = cells.classes[cells.class[cell]] || "unknown";
    const sure = cells.sure[cell] ? ` (${Math.round(100 * cells.sure[cell])} %)` : "";
    box.append(element("h3", `Cell ${cells.label[cell]}: ${name}${sure}`));
    const brown = ["membrane", "cytoplasm", "whole cell"].filter((_, bit) => (cells.positive[cell] >> bit) & 1);
    box.append(element("p", brown.length ? `Brown: ${brown.join(", ")}; grade ${cells.grade[cell]}` : "Not brown"));
    const why = data.flags.filter(([bit]) => cells.flags[cell] & bit).map(([, text]) => text);
    if (why.length) box.append(element("p", why.join("; "), "why"));
    panel.tellOfCell(box, cells.x[cell], cells.y[cell]);
    const table = element("table"), body = element("tbody");
    const line = (heading, value) => {
      const row = element("tr"), head = element("th", heading);
      head.scope = "row";
      row.append(head, element("td", value));
      body.append(row);
    };
    data.measures.forEach((heading, k) => {
      const value = cells.values[k][cell];
      line(heading, value === null ? "–" : heading.endsWith("(µm²)") ? value.toFixed(0) : value.toFixed(2));
    });
    line("Doubt, 0 to 1", cells.unsure[cell] === null ? "–" : cells.unsure[cell].toFixed(2));
    table.append(body);
    box.append(table);
  }

  function choose(i, pan) {
    cell = i;
    panel.letGo();
    if (i >= 0 && pan) look(pictures[current].cells.x[i], pictures[current].cells.y[i]);
    tell();
    draw();
  }

  function look(x, y) {
    const item = viewer.world.getItemAt(0);
    if (!item) return;
    const point = item.imageToViewportCoordinates(x, y);
    const close = viewer.viewport.imageToViewportZoom ? item.imageToViewportZoom(2) : viewer.viewport.getZoom();
    if (viewer.viewport.getZoom() < close) viewer.viewport.zoomTo(close, point, true);
    viewer.viewport.panTo(point, true);
    viewer.viewport.applyConstraints(true);
  }

  function showBox([left, top, right, bottom]) {
    const item = viewer.world.getItemAt(0);
    if (!item) return;
    const margin = 0.12 * Math.max(right - left, bottom - top) + 4;
    const box = [left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin];
    viewer.viewport.fitBounds(item.imageToViewportRectangle(...box), true);
    viewer.viewport.applyConstraints(true);
  }

  function step(by) {
    const cells = pictures[current].cells;
    if (!cells) return;
    const n = cells.x.length;
    let i = cell < 0 ? (by > 0 ? -1 : n) : cell;
    for (let tried = 0; tried < n; tried += 1) {
      i = (i + by + n) % n;
      if (shown.has(cells.kind[i])) { choose(i, true); return; }
    }
  }

  function sourceOf(picture) {
    if (!picture.tiles) return { type: "image", url: picture.uri };
    return {
      width: picture.width, height: picture.height, tileSize: picture.tile_px, minLevel: 0, maxLevel: picture.max_level,
      getTileUrl: (level, x, y) => `${picture.tiles}/${level}_${x}_${y}.jpg`,
    };
  }

  // --- pictures and layers ------------------------------------------------------------------------------------------
  let pending = null;
  function open(number, then) {
    if (number === current && viewer.world.getItemCount()) { if (then) then(); return; }
    current = number;
    cell = -1;
    panel.letGo();
    pending = then || null;
    at("picture").value = String(number);
    prepare(pictures[number]);
    listKinds();
    panel.list();
    tell();
    viewer.open(sourceOf(pictures[number]));
  }
  viewer.addHandler("open", () => { draw(); if (pending) { const then = pending; pending = null; then(); } });
  for (const name of ["update-viewport", "resize", "animation"]) viewer.addHandler(name, draw);
  viewer.addHandler("canvas-click", (event) => {
    if (!event.quick) return;
    const item = viewer.world.getItemAt(0);
    if (!item) return;
    const point = item.viewerElementToImageCoordinates(event.position), hit = found(point);
    const [inside = -1] = hit < 0 ? panel.under(point.x, point.y, panel.shown()) : [];
    if (inside >= 0) panel.choose(inside, false); else choose(hit, false);
  });

  function listKinds() {
    const box = at("kinds");
    box.replaceChildren();
    const counts = pictures[current].counts || data.kinds.map(() => 0);
    data.kinds.forEach((kind, k) => {
      if (!counts[k]) return;
      const label = element("label"), tick = element("input");
      tick.type = "checkbox";
      tick.checked = shown.has(k);
      tick.dataset.kind = k;
      label.append(tick, sign(kind), document.createTextNode(kind.name), element("span", counts[k].toLocaleString("en")));
      box.append(label);
    });
    if (!box.children.length) box.append(element("p", "No cells in this picture.", "quiet"));
    at("heat").disabled = !pictures[current].heat.length;
    at("heat").title = at("heat").disabled ? "Too few tumour cells in each square for a heat map" : "";
    at("steps").hidden = !heat || at("heat").disabled;
    listSteps();
  }
  function sign(kind) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("width", "14");
    svg.setAttribute("height", "14");
    svg.setAttribute("aria-hidden", "true");
    const ring = document.createElementNS(space, "circle");
    for (const [name, value] of Object.entries({ cx: 7, cy: 7, r: 5.2, fill: "none", stroke: colour(kind.rgb), "stroke-width": 2.4 })) ring.setAttribute(name, value);
    if (kind.dashed) ring.setAttribute("stroke-dasharray", "3 2");
    svg.append(ring);
    if (kind.dot) {
      const dot = document.createElementNS(space, "circle");
      for (const [name, value] of Object.entries({ cx: 7, cy: 7, r: 2, fill: colour(kind.rgb) })) dot.setAttribute(name, value);
      svg.append(dot);
    }
    return svg;
  }
  function listSteps() {
    const list = element("ul");
    for (const each of data.steps) {
      const item = element("li"), space = "http://www.w3.org/2000/svg";
      const svg = document.createElementNS(space, "svg"), box = document.createElementNS(space, "rect");
      svg.setAttribute("width", "14"); svg.setAttribute("height", "14"); svg.setAttribute("aria-hidden", "true");
      for (const [name, value] of Object.entries({ width: 14, height: 14, fill: colour(each.rgb, 0.6) })) box.setAttribute(name, value);
      svg.append(box);
      item.append(svg, document.createTextNode(each.name));
      list.append(item);
    }
    at("steps").replaceChildren(element("p", `Heat map: TPS of squares of ${pictures[current].heat_um} µm; without colour: fewer than ${data.heat_cells} tumour cells`), list);
  }

  const toggles = {
    outlines() { outlines = !outlines; at("outlines").setAttribute("aria-pressed", String(outlines)); draw(); },
    heat() {
      if (at("heat").disabled) return;
      heat = !heat;
      at("heat").setAttribute("aria-pressed", String(heat));
      at("steps").hidden = !heat;
      draw();
    },
  };
  at("outlines").addEventListener("click", toggles.outlines);
  at("heat").addEventListener("click", toggles.heat);
  const STEP = 0.15; // of the view, that an arrow key moves
  const zoom = (factor) => { viewer.viewport.zoomBy(factor); viewer.viewport.applyConstraints(); };
  const fit = () => viewer.viewport.goHome();
  function move(right, down) {
    const { x, y } = viewer.viewport.getContainerSize();
    viewer.viewport.panBy(viewer.viewport.deltaPointsFromPixels(new OpenSeadragon.Point(right * STEP * x, down * STEP * y)));
    viewer.viewport.applyConstraints();
  }
  at("zoom-in").addEventListener("click", () => zoom(1.5));
  at("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  at("fit").addEventListener("click", fit);
  viewer.addHandler("canvas-press", () => at("osd").focus({ preventScroll: true })); // the next key is for the picture
  at("next").addEventListener("click", () => step(1));
  at("previous").addEventListener("click", () => step(-1));
  at("kinds").addEventListener("change", (event) => {
    const k = Number(event.target.dataset.kind);
    if (event.target.checked) shown.add(k); else shown.delete(k);
    draw();
  });
  function only(wanted) {
    shown.clear();
    data.kinds.forEach((kind, k) => { if (wanted(kind)) shown.add(k); });
    listKinds();
    draw();
  }
  at("all-kinds").addEventListener("click", () => only(() => true));
  at("positive-kinds").addEventListener("click", () => only((kind) => kind.dot));
  at("osd").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = {
      n: () => step(1), p: () => step(-1), o: toggles.outlines, h: toggles.heat, Escape: () => choose(-1),
      r: panel.toggle, g: () => panel.step(1), G: () => panel.step(-1),
      ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
      "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "_": () => zoom(1 / 1.5), 0: fit,
    }[event.key];
    if (action) { action(); event.preventDefault(); event.stopPropagation(); }
  }, true);

  pictures.forEach((picture, number) => {
    const option = element("option", picture.title);
    option.value = number;
    at("picture").append(option);
  });
  at("picture").addEventListener("change", (event) => open(Number(event.target.value)));
  function visit(number, then) {
    open(number, then);
    at("osd").scrollIntoView({ block: "center" });
    at("osd").focus({ preventScroll: true });
  }
  for (const crop of document.querySelectorAll(".crop")) {
    crop.disabled = false;
    crop.addEventListener("click", () => {
      const { picture, x, y } = crop.dataset;
      visit(Number(picture), () => look(Number(x), Number(y)));
    });
  }
  panel.linkTable(visit);
  if (at("beside") && pictures[0].uri) at("beside").src = pictures[0].uri;
  current = -1;
  open(0);
  new ResizeObserver(draw).observe(at("osd"));
})();
