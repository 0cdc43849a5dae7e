// @ts-check
/** Who calls whom: services, databases, queues, models, with rates, errors and durations of every edge. */

import { onCleanup, signal } from '../lib/signals.js';
import { html, svg } from '../lib/html.js';
import { get, resource, throttled } from '../lib/api.js';
import { address, go, param, setParams, watched } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { on } from '../lib/stream.js';
import { hue } from '../lib/colour.js';
import { count, duration, percent, short } from '../lib/format.js';
import { queryBar, timeWindow, windowParams } from '../parts/querybar.js';
import { figures, table, term } from '../parts/small.js';
import { empty, view } from '../parts/states.js';
import { icon } from '../parts/icons.js';
import { layout } from './map-layout.js';

const WIDTH = 168;
const HEIGHT = 58;

export function page() {
  const source = resource((signal) => get('/map', windowParams(), signal));
  on('traces', throttled(source.reload, 2500));
  const chosen = watched('node');
  const zoom = signal({ x: 0, y: 0, scale: 1 });
  keys('Map', [
    ['Escape', 'choose nothing', () => setParams({ node: '' }, { replace: true })],
    ['0', 'the whole map', () => (zoom.value = { x: 0, y: 0, scale: 1 })],
    ['+ =', 'zoom in', () => nearer(zoom, 1 / 1.2)],
    ['-', 'zoom out', () => nearer(zoom, 1.2)],
  ]);
  return html`<div class="page">
    <header class="bar-top">
      <h1>Map</h1>
      ${queryBar({ error: () => source.error.value })}${timeWindow()}
      <button
        class="ghost"
        aria-pressed=${() => String(param('view') === 'table')}
        title="As a table"
        aria-label="As a table"
        @click=${() => setParams({ view: param('view') === 'table' ? '' : 'table' }, { replace: true })}
      >
        ${icon('table', 14)}
      </button>
    </header>
    ${view(source, (answer) => {
      if (answer.nodes.length === 0) return empty(answer.empty, { what: 'spans' });
      return param('view') === 'table'
        ? html`<div class="scroll">${edgeTable(answer)}</div>`
        : html`<div class="map-box">${drawing(answer, zoom)}${() => details(answer, chosen.value)}</div>`;
    })}
  </div>`;
}

/** @param {any} answer @param {import('../lib/signals.js').Signal<{ x: number, y: number, scale: number }>} zoom */
function drawing(answer, zoom) {
  const placed = layout(answer.nodes, answer.edges, { width: WIDTH, height: HEIGHT });
  const chosen = watched('node');
  const most = Math.max(1, ...answer.edges.map((/** @type {any} */ edge) => edge.calls));
  const isAside = (/** @type {any} */ edge) =>
    chosen.value !== '' && edge.from !== chosen.value && edge.to !== chosen.value;
  const edges = placed.edges.map((edge) => {
    const own = edge.edge;
    const failing = own.errors > 0 && own.errors / Math.max(1, own.calls) >= 0.01;
    return svg`<g data-key=${`${own.from} ${own.to}`} class=${() => `edge${failing ? ' is-bad' : ''}${isAside(own) ? ' is-aside' : ''}`} role="link" tabindex="0" aria-label=${`${own.from} calls ${own.to}: ${own.calls} calls, ${own.errors} errors, p99 ${duration(own.p99)}`} @click=${() => follow(own)} @keydown=${(/** @type {KeyboardEvent} */ event) => event.key === 'Enter' && follow(own)}>
      <path class="hit" d=${edge.path}></path><path class="wire" d=${edge.path} stroke-width=${(1 + 2.5 * Math.sqrt(own.calls / most)).toFixed(2)} marker-end=${failing ? 'url(#arrow-bad)' : 'url(#arrow)'}></path>
      <text x=${edge.middle[0]} y=${edge.middle[1] - 5} text-anchor="middle">${`${rate(own)}${failing ? ` ✖ ${percent(own.errors / own.calls)}` : ''}`}</text>
      <text x=${edge.middle[0]} y=${edge.middle[1] + 9} text-anchor="middle">${pairOf(own)}</text></g>`;
  });
  const nodes = placed.nodes.map(
    ({
      node,
      x,
      y,
    }) => svg`<g data-key=${node.id} class=${() => `node is-${node.kind} h${hue(node.name)}${node.errors > 0 ? ' has-errors' : ''}${chosen.value === node.id ? ' is-chosen' : ''}`} transform=${`translate(${x} ${y})`} role="button" tabindex="0" aria-label=${`${node.kind} ${node.name}: ${node.spans} spans, ${node.errors} errors, p99 ${duration(node.p99)}`} @click=${() => choose(node)} @keydown=${(/** @type {KeyboardEvent} */ event) => event.key === 'Enter' && choose(node)}>
      ${shape(node.kind)}<text class="name" x="16" y="23">${clip(node.name, node.errors > 0 ? 15 : 21)}</text><text class="small" x="16" y="42">${`${rate(node)} · p99 ${duration(node.p99)}`}</text>${node.errors > 0 ? svg`<text class="fault" x=${WIDTH - 12} y="23" text-anchor="end">${`✖ ${short(node.errors)}`}</text>` : null}</g>`,
  );
  const canvas = svg`<svg class="map" role="group" aria-label="Service map" viewBox=${() => `${zoom.value.x} ${zoom.value.y} ${placed.width * zoom.value.scale} ${placed.height * zoom.value.scale}`} preserveAspectRatio="xMidYMid meet">
    <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 1 7 4 0 7z"></path></marker><marker id="arrow-bad" class="bad" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 1 7 4 0 7z"></path></marker></defs>${edges}${nodes}</svg>`;
  moving(canvas, zoom, placed);
  return canvas;
}

/** @param {import('../lib/signals.js').Signal<{ x: number, y: number, scale: number }>} zoom @param {number} by */
function nearer(zoom, by) {
  const { x, y, scale } = zoom.peek();
  zoom.value = { x, y, scale: Math.max(0.3, Math.min(3, scale * by)) };
}

/** Drag moves, the wheel with ctrl zooms. @param {SVGSVGElement} canvas @param {import('../lib/signals.js').Signal<{ x: number, y: number, scale: number }>} zoom @param {{ width: number, height: number }} placed */
function moving(canvas, zoom, placed) {
  /** @type {{ x: number, y: number, from: { x: number, y: number, scale: number } } | null} */
  let drag = null;
  const perPixel = () =>
    Math.max(placed.width / canvas.clientWidth, placed.height / canvas.clientHeight) * zoom.peek().scale;
  canvas.addEventListener('pointerdown', (event) => {
    drag = { x: event.clientX, y: event.clientY, from: zoom.peek() };
  });
  const move = (/** @type {PointerEvent} */ event) => {
    if (drag && event.buttons)
      zoom.value = {
        ...drag.from,
        x: drag.from.x - (event.clientX - drag.x) * perPixel(),
        y: drag.from.y - (event.clientY - drag.y) * perPixel(),
      };
  };
  const end = () => (drag = null);
  addEventListener('pointermove', move);
  addEventListener('pointerup', end);
  onCleanup(() => {
    removeEventListener('pointermove', move);
    removeEventListener('pointerup', end);
  });
  canvas.addEventListener(
    'wheel',
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const { x, y, scale } = zoom.peek();
      const next = Math.max(0.3, Math.min(3, scale * (event.deltaY > 0 ? 1.12 : 1 / 1.12)));
      zoom.value = {
        x: x + (placed.width * (scale - next)) / 2,
        y: y + (placed.height * (scale - next)) / 2,
        scale: next,
      };
    },
    { passive: false },
  );
}

/** @param {string} kind */
function shape(kind) {
  const edge = svg`<rect class="body" width=${WIDTH} height=${HEIGHT} rx="8"></rect>`;
  const marks = /** @type {Record<string, string>} */ ({
    database: 'M150 40c0-4 10-4 10 0v8c0 4-10 4-10 0zM150 40c0 4 10 4 10 0',
    queue: 'M148 42h12M148 46h12M148 50h12',
    model: 'M154 38l2 5 5 2-5 2-2 5-2-5-5-2 5-2z',
    external: 'M150 48l8-8M152 40h6v6',
  });
  return [
    edge,
    svg`<rect class="edge-mark" width="4" height=${HEIGHT - 24} x="0" y="12" rx="2"></rect>`,
    marks[kind] ? svg`<path class="kind-mark" d=${marks[kind]}></path>` : null,
  ];
}

/** @param {string} text @param {number} most */
function clip(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** @param {any} one */
function rate(one) {
  const perSecond = Number(one.rate);
  return Number.isFinite(perSecond)
    ? perSecond >= 0.1
      ? `${short(perSecond)}/s`
      : `${short(perSecond * 60)}/min`
    : count(one.calls ?? one.spans);
}

/** Median and p99, with the unit once where it is the same. @param {any} edge */
function pairOf(edge) {
  const [p50, p99] = [duration(edge.p50), duration(edge.p99)];
  const unit = p50.split('\u00a0')[1];
  return `${unit && p99.endsWith(unit) ? p50.slice(0, -unit.length - 1) : p50} / ${p99}`;
}

/** @param {any} edge */
function follow(edge) {
  go(address('/traces', { q: edge.q ?? `${term('service', edge.from)} ${term('service', edge.to)}` }));
}

/** @param {any} node */
function choose(node) {
  setParams({ node: param('node') === node.id ? '' : node.id }, { replace: true });
}

/** @param {any} answer @param {string} id */
function details(answer, id) {
  const node = answer.nodes.find((/** @type {any} */ one) => one.id === id);
  if (!node) return null;
  const query = node.kind === 'service' ? term('service', node.name) : (node.q ?? `"${node.name}"`);
  return html`<aside class="map-detail" aria-label=${node.name}>
    <header>
      <h2>${node.name}</h2>
      <span class="dim">${node.kind}</span
      ><button class="ghost" aria-label="Close" @click=${() => setParams({ node: '' }, { replace: true })}>
        ${icon('close', 12)}
      </button>
    </header>
    ${figures([
      ['Spans', count(node.spans)],
      ['Errors', count(node.errors), node.errors > 0 ? 'bad' : ''],
      ['Rate', rate(node)],
      ['p50', duration(node.p50)],
      ['p99', duration(node.p99)],
    ])}
    <div class="row">
      <a class="button small" href=${address('/traces', { q: query })}>${icon('traces', 14)}Traces</a
      >${node.errors > 0 ? html`<a class="button small" href=${address('/traces', { q: `${query} status=error` })}>✖ Errors</a>` : null}<a
        class="button small"
        href=${address('/logs', { q: query })}
        >${icon('logs', 14)}Logs</a
      ><a class="button small" href=${address('/flame', { q: query })}>${icon('flame', 14)}Flame</a>
    </div>
  </aside>`;
}

/** @param {any} answer */
function edgeTable(answer) {
  return table(
    [
      { head: 'From', cell: (edge) => edge.from },
      { head: 'To', cell: (edge) => html`<a href=${address('/traces', { q: edge.q ?? '' })}>${edge.to}</a>` },
      { head: 'Calls', kind: 'r', cell: (edge) => count(edge.calls) },
      { head: 'Rate', kind: 'r', cell: rate },
      {
        head: 'Errors',
        kind: 'r',
        cell: (edge) => (edge.errors ? html`<span class="bad">✖ ${count(edge.errors)}</span>` : '·'),
      },
      { head: 'p50', kind: 'r', cell: (edge) => duration(edge.p50) },
      { head: 'p99', kind: 'r', cell: (edge) => duration(edge.p99) },
    ],
    answer.edges,
    { label: 'Calls between services' },
  );
}
