// @ts-check
/** Where the nodes of the map stand: callers left of those they call, few crossings, edges as curves. No drawing here. */

/** @typedef {{ node: any, x: number, y: number }} Placed */

/**
 * @param {any[]} nodes @param {any[]} edges @param {{ width: number, height: number }} size
 * @returns {{ nodes: Placed[], edges: { edge: any, path: string, middle: [number, number] }[], width: number, height: number }}
 */
export function layout(nodes, edges, size) {
  const [gapX, gapY, margin] = [132, 36, 32];
  const ids = new Set(nodes.map((node) => node.id));
  const real = edges.filter((edge) => ids.has(edge.from) && ids.has(edge.to) && edge.from !== edge.to);
  const column = columns(nodes, real);
  /** @type {string[][]} */
  const ordered = [];
  for (const node of [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1)))
    (ordered[column.get(node.id) ?? 0] ??= []).push(node.id);
  for (let at = 0; at < ordered.length; at += 1) ordered[at] ??= [];
  sortColumns(ordered, real);
  const tallest = Math.max(...ordered.map((list) => list.length));
  const height = tallest * (size.height + gapY) - gapY;
  /** @type {Map<string, [number, number]>} */
  const at = new Map();
  ordered.forEach((list, index) => {
    const own = list.length * (size.height + gapY) - gapY;
    list.forEach((id, row) =>
      at.set(id, [margin + index * (size.width + gapX), margin + (height - own) / 2 + row * (size.height + gapY)]),
    );
  });
  /** @type {[number, number][]} */
  const labels = [];
  const byId = new Map(nodes.map((node) => [node.id, node]));
  return {
    nodes: [...at].map(([id, [x, y]]) => ({ node: byId.get(id), x, y })),
    edges: real.map((edge) => ({
      edge,
      ...curve(at.get(edge.from) ?? [0, 0], at.get(edge.to) ?? [0, 0], size, labels),
    })),
    width: margin * 2 + ordered.length * (size.width + gapX) - gapX,
    height: margin * 2 + height,
  };
}

/** The longest way from a beginning decides; edges that close a circle do not count. @param {any[]} nodes @param {any[]} edges */
function columns(nodes, edges) {
  /** @type {Map<string, string[]>} */
  const next = new Map();
  for (const edge of edges) (next.get(edge.from) ?? next.set(edge.from, []).get(edge.from))?.push(edge.to);
  const entered = new Set(edges.map((edge) => edge.to));
  /** @type {Map<string, number>} */
  const column = new Map();
  /** @type {Set<string>} */
  const open = new Set();
  let steps = 0;
  /** @param {string} id @param {number} at */
  const place = (id, at) => {
    steps += 1;
    if (open.has(id) || steps > 20_000 || (column.get(id) ?? -1) >= at) return;
    column.set(id, at);
    open.add(id);
    for (const to of next.get(id) ?? []) place(to, at + 1);
    open.delete(id);
  };
  for (const node of nodes) if (!entered.has(node.id)) place(node.id, 0);
  for (const node of nodes) if (!column.has(node.id)) place(node.id, 0);
  return column;
}

/** Puts each node near the middle of its neighbours, a few times in both directions. @param {string[][]} ordered @param {any[]} edges */
function sortColumns(ordered, edges) {
  for (let round = 0; round < 6; round += 1) {
    const forward = round % 2 === 0;
    const rows = new Map(
      ordered.flatMap((list) => list.map((id, at) => /** @type {[string, number]} */ ([id, at - list.length / 2]))),
    );
    for (const list of ordered) {
      const weight = new Map(
        list.map((id) => {
          const near = edges
            .filter((edge) => (forward ? edge.to : edge.from) === id)
            .map((edge) => rows.get(forward ? edge.from : edge.to) ?? 0);
          return [id, near.length ? near.reduce((sum, one) => sum + one, 0) / near.length : (rows.get(id) ?? 0)];
        }),
      );
      list.sort((a, b) => (weight.get(a) ?? 0) - (weight.get(b) ?? 0));
      list.forEach((id, at) => rows.set(id, at - list.length / 2));
    }
  }
}

/** A point of a curve: nearer to its end, where fewer curves run together. @param {number} t @param {number[]} xs @param {number[]} ys @returns {[number, number]} */
function along(t, xs, ys) {
  const [a, b, c, d] = [(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t ** 2, t ** 3];
  const sum = (/** @type {number[]} */ all) => all[0] * a + all[1] * b + all[2] * c + all[3] * d;
  return [sum(xs), sum(ys)];
}

/** @param {[number, number]} from @param {[number, number]} to @param {{ width: number, height: number }} size @param {[number, number][]} labels those that have their place; the new one is added @returns {{ path: string, middle: [number, number] }} */
function curve(from, to, size, labels) {
  const [x1, y1] = [from[0] + size.width, from[1] + size.height / 2];
  const [x2, y2] = [to[0], to[1] + size.height / 2];
  if (x2 > x1) {
    const bend = Math.max(30, (x2 - x1) / 2);
    const places = [0.54, 0.68, 0.4, 0.78, 0.26].map((t) => along(t, [x1, x1 + bend, x2 - bend, x2], [y1, y1, y2, y2]));
    const isFree = (/** @type {[number, number]} */ [x, y]) =>
      labels.every(([a, b]) => Math.abs(a - x) > 68 || Math.abs(b - y) > 28);
    const middle = places.find(isFree) ?? places[0];
    labels.push(middle);
    return { path: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 2} ${y2}`, middle };
  }
  // Back to the left: around below.
  const low = Math.max(from[1], to[1]) + size.height + 26;
  return {
    path: `M${from[0] + size.width / 2} ${from[1] + size.height}C${from[0] + size.width / 2} ${low + 30} ${to[0] + size.width / 2} ${low + 30} ${to[0] + size.width / 2} ${to[1] + size.height + 2}`,
    middle: [(from[0] + to[0] + size.width) / 2, low + 18],
  };
}
