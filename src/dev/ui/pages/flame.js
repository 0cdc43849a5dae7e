// @ts-check
/** Flame graph of one trace or of all that match: width is time, what is above is called by what is below it. */

import { effect, onCleanup, signal } from '../lib/signals.js';
import { html, visible } from '../lib/html.js';
import { get, resource } from '../lib/api.js';
import { address, go, param, setParams } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { colour, serviceColour, themeVersion } from '../lib/colour.js';
import { count, duration, percent } from '../lib/format.js';
import { queryBar, timeWindow, windowParams } from '../parts/querybar.js';
import { service, table, term, traceLink } from '../parts/small.js';
import { empty, view } from '../parts/states.js';
import { icon } from '../parts/icons.js';
import { traceHead } from '../trace/head.js';
import { penOf } from '../trace/draw.js';

const ROW = 22;

/** @typedef {{ name: string, service: string, total: number, self: number, count: number, children: Node_[], parent: Node_ | null, depth: number, from: number, path: string }} Node_ */
/** @typedef {{ node: Node_, x: number, width: number, y: number }} Box */

/** @param {string} [trace] */
export function page(trace) {
  const source = resource((signal) =>
    get(trace ? `/traces/${trace}/flame` : '/flame', trace ? {} : windowParams(), signal),
  );
  const about = trace ? resource((signal) => get(`/traces/${trace}`, { limit: 1 }, signal)) : null;
  keys('Flame', [
    ['Escape', 'one level out', () => (param('at') ? setParams({ at: '' }) : trace ? go(traceLink(trace)) : undefined)],
    ...(trace
      ? /** @type {import('../lib/keys.js').Binding[]} */ ([
          ['f', 'back to the waterfall', () => go(traceLink(trace))],
          ['c', 'critical path', () => go(`${traceLink(trace)}/critical-path`)],
        ])
      : []),
  ]);
  return html`<div class="page">
    ${
      about
        ? view(about, (answer) => traceHead(answer.trace, 'Flame'), { lines: 2 })
        : html`<header class="bar-top">
            <h1>Flame</h1>
            ${queryBar({ error: () => source.error.value })}${timeWindow()}
          </header>`
    }
    ${view(source, (answer) => {
      if (!answer.root || answer.root.count === 0) return empty(answer.empty ?? 'filtered', { what: 'spans' });
      const root = grow(answer.root);
      return [
        html`<div class="sub">
          <span class="dim num">${() => crumbs(at(root))}</span
          ><span class="grow"></span
          >${answer.truncated ? html`<span class="warn">▲ the smallest parts are left out</span>` : null}
          <button
            class="ghost"
            aria-pressed=${() => String(param('view') === 'table')}
            aria-label="As a table"
            title="As a table"
            @click=${() => setParams({ view: param('view') === 'table' ? '' : 'table' }, { replace: true })}
          >
            ${icon('table', 14)}
          </button>
        </div>`,
        () => (param('view') === 'table' ? html`<div class="scroll">${asTable(root, trace)}</div>` : drawing(root)),
      ];
    })}
  </div>`;
}

/** Numbers for the strings, and who stands on whom; without recursion, since depth is the sender's. @param {any} source @returns {Node_} */
function grow(source) {
  const make = (/** @type {any} */ one, /** @type {Node_ | null} */ parent) => ({
    name: one.name,
    service: one.service ?? '',
    total: Number(one.total),
    self: Number(one.self),
    count: one.count,
    children: [],
    parent,
    depth: parent ? parent.depth + 1 : 0,
    from: 0,
    path: parent ? `${parent.path}/${parent.children.length}` : '',
  });
  /** @type {Node_} */
  const root = make(source, null);
  /** @type {[any, Node_][]} */
  const todo = [[source, root]];
  for (let next = todo.pop(); next; next = todo.pop()) {
    const [one, node] = next;
    let from = node.from;
    for (const child of one.children ?? []) {
      const made = make(child, node);
      made.from = from;
      from += made.total;
      node.children.push(made);
      todo.push([child, made]);
    }
  }
  return root;
}

/** The node the address names. @param {Node_} root @returns {Node_} */
function at(root) {
  let node = root;
  for (const index of param('at').split('/').filter(Boolean)) {
    const child = node.children[Number(index)];
    if (!child) break;
    node = child;
  }
  return node;
}

/** @param {Node_} node */
function crumbs(node) {
  const way = [];
  for (let one = /** @type {Node_ | null} */ (node); one; one = one.parent) way.unshift(one);
  return way
    .map((one, index) => [
      index ? ' › ' : '',
      html`<button class="link" @click=${() => setParams({ at: one.path })}>${one.name}</button>`,
    ])
    .concat([[` ${duration(node.total)}, self ${duration(node.self)}, ${count(node.count)}×`]]);
}

/** @param {Node_} root */
function drawing(root) {
  const canvas = /** @type {HTMLCanvasElement} */ (
    html`<canvas
      class="flame"
      tabindex="0"
      role="img"
      aria-label="Flame graph; as a table with the button above"
    ></canvas>`
  );
  const tip = html`<div class="tip flame-tip" hidden></div>`;
  const spoken = html`<div class="unseen" aria-live="polite"></div>`;
  const box = html`<div class="flame-box scroll">${canvas}${tip}${spoken}</div>`;
  const size = signal(0);
  const active = signal(/** @type {Node_ | null} */ (null));
  /** @type {Box[]} */
  let boxes = [];
  const font = getComputedStyle(document.body).fontFamily;
  const observer = new ResizeObserver(() => (size.value = box.clientWidth));
  observer.observe(box);
  onCleanup(() => observer.disconnect());

  effect(() => {
    themeVersion.value;
    const base = at(root);
    const wide = size.value - 32;
    if (wide <= 0) return;
    boxes = place(base, wide);
    const deepest = boxes.reduce((most, one) => Math.max(most, one.y), 0);
    canvas.style.height = `${deepest + ROW + 8}px`;
    draw(canvas, boxes, active.value, font);
  });

  const under = (/** @type {MouseEvent} */ event) =>
    boxes.find(
      (one) =>
        event.offsetX >= one.x &&
        event.offsetX < one.x + one.width &&
        event.offsetY >= one.y &&
        event.offsetY < one.y + ROW,
    );
  canvas.addEventListener('pointermove', (event) => {
    const found = under(event);
    active.value = found?.node ?? null;
    tip.hidden = !found;
    if (!found) return;
    tip.replaceChildren(...words(found.node, root));
    tip.style.left = `${Math.min(event.offsetX + 28, size.peek() - 300)}px`;
    tip.style.top = `${event.offsetY + 28}px`;
  });
  canvas.addEventListener('pointerleave', () => {
    tip.hidden = true;
    active.value = null;
  });
  canvas.addEventListener('click', (event) => {
    const found = under(event);
    if (found) setParams({ at: found.node.path === param('at') ? (found.node.parent?.path ?? '') : found.node.path });
  });
  canvas.addEventListener('keydown', (event) => {
    const now = active.peek() ?? at(root);
    const siblings = now.parent?.children ?? [now];
    const next = {
      ArrowDown: now.children[0],
      ArrowUp: now.parent,
      ArrowRight: siblings[siblings.indexOf(now) + 1],
      ArrowLeft: siblings[siblings.indexOf(now) - 1],
      Enter: now,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === 'Enter') setParams({ at: now.path });
    else if (next) {
      active.value = next;
      spoken.textContent = `${next.name}, ${next.service}, ${duration(next.total)}, self ${duration(next.self)}, ${next.count} times`;
    }
  });
  return box;
}

/** @param {Node_} node @param {Node_} root */
function words(node, root) {
  return [
    html`<div><b>${node.name}</b></div>`,
    html`<div>${node.service ? service(node.service) : null}</div>`,
    html`<div>
      <span>total</span><b class="num">${`${duration(node.total)} · ${percent(node.total / root.total)}`}</b>
    </div>`,
    html`<div><span>self</span><b class="num">${duration(node.self)}</b></div>`,
    html`<div>
      <span>times</span
      ><b class="num">${`${count(node.count)}, ${duration(node.total / Math.max(1, node.count))} each`}</b>
    </div>`,
  ];
}

/** Boxes for a node and what stands on it, and its ancestors at full width below. @param {Node_} base @param {number} wide */
function place(base, wide) {
  /** @type {Box[]} */
  const boxes = [];
  /** @type {Node_[]} */
  const way = [];
  for (let one = /** @type {Node_ | null} */ (base); one; one = one.parent) way.unshift(one);
  way.forEach((node, index) => boxes.push({ node, x: 0, width: wide, y: index * ROW }));
  // Children that run at the same time sum to more than their parent: then they share its width.
  /** @type {Box[]} */
  const todo = [boxes[boxes.length - 1]];
  for (let next = todo.pop(); next; next = todo.pop()) {
    const sum = next.node.children.reduce((total, child) => total + child.total, 0);
    const scale = next.width / Math.max(next.node.total, sum, 1);
    let x = next.x;
    for (const child of next.node.children) {
      const width = child.total * scale;
      if (width >= 0.7) {
        const box = { node: child, x, width, y: next.y + ROW };
        boxes.push(box);
        todo.push(box);
      }
      x += width;
    }
  }
  return boxes;
}

/** @param {HTMLCanvasElement} canvas @param {Box[]} boxes @param {Node_ | null} active @param {string} font */
function draw(canvas, boxes, active, font) {
  const pen = penOf(canvas);
  pen.font = `12px ${font}`;
  pen.textBaseline = 'middle';
  for (const { node, x, width, y } of boxes) {
    pen.fillStyle = node.service ? serviceColour(node.service) : colour('line');
    const strength = node === active ? 1 : 0.3 + 0.6 * (node.total > 0 ? node.self / node.total : 0);
    pen.globalAlpha = strength;
    pen.fillRect(x, y, Math.max(0.7, width - 1), ROW - 1);
    pen.globalAlpha = 1;
    if (width < 36) continue;
    pen.save();
    pen.beginPath();
    pen.rect(x, y, width - 4, ROW);
    pen.clip();
    pen.fillStyle = colour(strength > 0.6 && node.service ? 'surface' : 'text');
    pen.fillText(
      `${visible(node.name.slice(0, 120))}${node.count > 1 ? ` ×${count(node.count)}` : ''}  ${duration(node.total)}`,
      x + 6,
      y + ROW / 2,
    );
    pen.restore();
  }
}

/** @param {Node_} root @param {string | undefined} trace */
function asTable(root, trace) {
  /** @type {Map<string, { name: string, service: string, total: number, self: number, count: number }>} */
  const sums = new Map();
  const todo = [...root.children];
  for (let next = todo.pop(); next; next = todo.pop()) {
    const key = `${next.service}\n${next.name}`;
    const sum = sums.get(key) ?? { name: next.name, service: next.service, total: 0, self: 0, count: 0 };
    sums.set(key, { ...sum, total: sum.total + next.total, self: sum.self + next.self, count: sum.count + next.count });
    todo.push(...next.children);
  }
  const rows = [...sums.values()].sort((a, b) => b.self - a.self);
  return table(
    [
      {
        head: 'Operation',
        wide: true,
        cell: (one) =>
          html`<a
            class="row-link"
            href=${trace ? traceLink(trace, { find: term('name', one.name) }) : address('/traces', { q: `${term('service', one.service)} ${term('name', one.name)}` })}
            >${one.name}</a
          >`,
      },
      { head: 'Service', cell: (one) => service(one.service) },
      { head: 'Self', kind: 'r', cell: (one) => duration(one.self) },
      { head: 'Self share', kind: 'r', cell: (one) => percent(one.self / root.total) },
      { head: 'Total', kind: 'r', cell: (one) => duration(one.total) },
      { head: 'Times', kind: 'r', cell: (one) => count(one.count) },
    ],
    rows,
    { label: 'Operations by self time' },
  );
}
