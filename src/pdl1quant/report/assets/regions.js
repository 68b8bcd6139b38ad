// Regions of a picture for viewer.js: their lines, names that cover no cell, and which of them lies where.
const regionLayer = (() => {
  "use strict";
  const NAME_PX = 13, SMALL_PX = 11, LINE_PX = 15, GAP_PX = 5, SAMPLES = 24; // of the screen
  const SMALLEST_PX = 9, LARGE_FROM_PX = 56, LONGEST = 28;
  const FONT = '"Segoe UI", system-ui, -apple-system, "Helvetica Neue", Arial, "Liberation Sans", "DejaVu Sans", sans-serif';

  function prepare(picture) {
    if (picture.names) return;
    picture.names = { scale: 0, places: [] };
    for (const region of picture.regions) {
      region.path = new Path2D();
      const box = [Infinity, Infinity, -Infinity, -Infinity];
      region.corners = region.rings.map((ring) => {
        const corners = [];
        let x = 0, y = 0;
        for (let k = 0; k < ring.length; k += 2) {
          x += ring[k]; y += ring[k + 1];
          corners.push([x / 10, y / 10]);
          if (k) region.path.lineTo(x / 10, y / 10); else region.path.moveTo(x / 10, y / 10);
          box[0] = Math.min(box[0], x / 10); box[1] = Math.min(box[1], y / 10);
          box[2] = Math.max(box[2], x / 10); box[3] = Math.max(box[3], y / 10);
        }
        region.path.closePath();
        return corners;
      });
      region.box = box;
      region.size = (box[2] - box[0]) * (box[3] - box[1]);
      region.outer = sampled(region.corners[0]); // the outer ring of its largest part
    }
  }

  // Places along a ring, each with the way out of it; from the uppermost down.
  function sampled(ring) {
    let area = 0, length = 0;
    const sides = ring.map(([x, y], k) => {
      const [u, v] = ring[(k + 1) % ring.length];
      area += x * v - u * y;
      length += Math.hypot(u - x, v - y);
      return { x, y, u, v, end: length };
    });
    const turn = area > 0 ? 1 : -1, places = [];
    let k = 0;
    for (let n = 0; n < SAMPLES; n += 1) {
      const at = (n * length) / SAMPLES;
      while (k < sides.length - 1 && sides[k].end <= at) k += 1;
      const { x, y, u, v, end } = sides[k], whole = Math.hypot(u - x, v - y) || 1, part = 1 - (end - at) / whole;
      places.push({ x: x + part * (u - x), y: y + part * (v - y), out: [(turn * (v - y)) / whole, (turn * (x - u)) / whole] });
    }
    const top = ring.reduce((best, each) => (each[1] < best[1] ? each : best));
    const level = ring.filter((each) => each[1] - top[1] < 0.5);
    const middle = level.reduce((sum, each) => sum + each[0], 0) / level.length;
    return [{ x: middle, y: top[1], out: [0, -1] }, ...places.sort((one, other) => one.y - other.y)];
  }

  const meets = (one, other) => one[0] < other[2] && one[2] > other[0] && one[1] < other[3] && one[3] > other[1];

  function drawLines(pen, picture, { scale, view, styles, shown, chosen }) {
    pen.save();
    if (picture.role === "field") { pen.beginPath(); pen.rect(0, 0, picture.width, picture.height); pen.clip(); }
    pen.lineJoin = "round";
    const margin = 12 / scale, around = [view[0] - margin, view[1] - margin, view[2] + margin, view[3] + margin];
    const seen = picture.regions.filter((each, i) => (shown.has(each.kind) || i === chosen) && meets(each.box, around));
    for (let kind = styles.length - 1; kind >= 0; kind -= 1) {
      for (const region of seen) if (region.kind === kind) drawLine(pen, region, styles[kind], scale, region === picture.regions[chosen]);
    }
    pen.restore();
  }

  function drawLine(pen, region, style, scale, isChosen) {
    const width = style.width + (isChosen ? 2 : 0);
    pen.setLineDash([]);
    pen.strokeStyle = "rgba(255,255,255,0.9)";
    pen.lineWidth = (width + (isChosen ? 5 : 2)) / scale;
    pen.stroke(region.path);
    pen.strokeStyle = `rgb(${style.rgb})`;
    if (style.ticks) {
      pen.save();
      pen.clip(region.path, "evenodd");
      pen.setLineDash([1.8 / scale, 5.2 / scale]);
      pen.lineWidth = 17 / scale;
      pen.stroke(region.path);
      pen.restore();
    }
    pen.setLineDash(style.dash.map((each) => each / scale));
    pen.lineWidth = width / scale;
    pen.stroke(region.path);
    pen.setLineDash([]);
  }

  const cut = (text) => (text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 10)}…${text.slice(-8)}`);

  // Where names go at this scale, whatever part is looked at: moving the picture does not move them.
  function placed(pen, picture, { scale, styles, shown, isFree, areCellsSeen }) {
    const known = picture.names, key = [...shown].sort().join();
    if (Math.abs(known.scale / scale - 1) < 1e-6 && known.key === key) return known.places;
    const taken = new Map(), TAKEN_PX = 200; // boxes of names by squares of the screen
    const squares = (box) => {
      const found = [];
      for (let y = Math.floor((box[1] * scale) / TAKEN_PX); y <= Math.floor((box[3] * scale) / TAKEN_PX); y += 1)
        for (let x = Math.floor((box[0] * scale) / TAKEN_PX); x <= Math.floor((box[2] * scale) / TAKEN_PX); x += 1) found.push(`${x},${y}`);
      return found;
    };
    const isClear = (box) => isFree(box) && squares(box).every((key) => !(taken.get(key) || []).some((each) => meets(each, box)));
    const places = [];
    const isWithin = (box) => box[0] >= 0 && box[1] >= 0 && box[2] <= picture.width && box[3] <= picture.height;
    for (const region of picture.regions) {
      const side = Math.max(region.box[2] - region.box[0], region.box[3] - region.box[1]) * scale;
      if (!shown.has(region.kind) || !region.name || side < SMALLEST_PX) continue;
      const isCore = styles[region.kind].kind === "core", isSmall = isCore && side < LARGE_FROM_PX;
      const lines = [{ text: cut(region.name), font: isSmall ? SMALL : NAME }];
      if (region.note && side >= LARGE_FROM_PX) lines.push({ text: cut(region.note), font: NOTE });
      const width = Math.max(...lines.map(({ text, font }) => { pen.font = font; return pen.measureText(text).width; })) + 4;
      const size = [width / scale, (lines.length * LINE_PX + 2) / scale];
      const place = (isCore ? besideCore(region, ...size) : around(region, ...size)).find(isClear);
      if (!place) continue;
      for (const key of squares(place)) taken.set(key, [...(taken.get(key) || []), place]);
      places.push({ region, box: place, lines });
    }
    picture.names = { scale, key, places };
    return places;

    // The name of a core is where it can be that of no other one: above it if nothing is near, else in its middle.
    function besideCore({ box, kind }, w, h) {
      const [left, top, right, bottom] = box, middle = (left + right) / 2, centre = (top + bottom) / 2, gap = 2 / scale;
      const above = [middle - w / 2, top - gap - h, middle + w / 2, top - gap], below = [above[0], bottom + gap, above[2], bottom + gap + h];
      const others = picture.regions.filter((each) => each.kind === kind && each.box !== box);
      const found = [above, below].filter((each) => isWithin(each) && !others.some((other) => meets(other.box, grown(each))));
      if (!areCellsSeen && w <= 1.2 * (right - left)) found.push([middle - w / 2, centre - h / 2, middle + w / 2, centre + h / 2]);
      return found;
    }
    function grown([left, top, right, bottom]) { const by = LINE_PX / scale; return [left, top - by, right, bottom + by]; }

    // Boxes beside the line: outside of it within the picture, then inside, then beyond the picture.
    function around(region, w, h) {
      const boxes = (way) => region.outer.map(({ x, y, out }) => {
        const [a, b] = out.map((each) => each * way), gap = GAP_PX / scale;
        const cx = x + a * (gap + w / 2), cy = y + b * (gap + h / 2);
        return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2];
      });
      const outside = boxes(1);
      return [...outside.filter(isWithin), ...boxes(-1).filter(isWithin), ...outside.filter((box) => !isWithin(box))];
    }
  }
  const NAME = `600 ${NAME_PX}px ${FONT}`, SMALL = `600 ${SMALL_PX}px ${FONT}`, NOTE = `${SMALL_PX}px ${FONT}`;

  function drawNames(pen, picture, how) {
    const { scale, origin, ratio, view, styles } = how;
    pen.save();
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    for (const { region, box, lines } of placed(pen, picture, how)) {
      if (!meets(box, view)) continue;
      const x = origin.x + ((box[0] + box[2]) / 2) * scale, y = origin.y + box[1] * scale + 1;
      lines.forEach(({ text, font }, k) => {
        pen.font = font;
        pen.lineWidth = 3.5;
        pen.strokeStyle = "rgba(255,255,255,0.95)";
        pen.strokeText(text, x, y + (k + 0.5) * LINE_PX);
        pen.fillStyle = `rgb(${styles[region.kind].rgb})`;
        pen.fillText(text, x, y + (k + 0.5) * LINE_PX);
      });
    }
    pen.restore();
  }

  // Numbers of the regions that hold a place, the smallest first.
  function at(pen, picture, x, y, shown) {
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    const found = [...picture.regions.keys()].filter((i) => {
      const { kind, box, path } = picture.regions[i];
      return shown.has(kind) && x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3] && pen.isPointInPath(path, x, y, "evenodd");
    });
    pen.restore();
    return found.sort((one, other) => picture.regions[one].size - picture.regions[other].size);
  }

  // Those of which a part is in view.
  function inView(pen, picture, view, shown) {
    const middle = new Set(at(pen, picture, (view[0] + view[2]) / 2, (view[1] + view[3]) / 2, shown));
    const isIn = ([x, y]) => x >= view[0] && x <= view[2] && y >= view[1] && y <= view[3];
    const crosses = ([x, y], [u, v]) => meets([Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)], view) &&
      (isIn([x, y]) || isIn([u, v]) || cuts(x, y, u, v));
    function cuts(x, y, u, v) { // whether not all corners of the view lie on one side of the line
      const sides = [[0, 1], [2, 1], [2, 3], [0, 3]].map(([a, b]) => Math.sign((u - x) * (view[b] - y) - (v - y) * (view[a] - x)));
      return new Set(sides).size > 1;
    }
    return [...picture.regions.keys()].filter((i) => {
      const { kind, box, corners } = picture.regions[i];
      if (!shown.has(kind) || !meets(box, view)) return false;
      return middle.has(i) || corners.some((ring) => ring.some((each, k) => crosses(each, ring[(k + 1) % ring.length])));
    });
  }

  return { prepare, drawLines, drawNames, at, inView, cut };
})();
