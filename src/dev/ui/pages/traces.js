// @ts-check
/** The list of traces: live, filtered, sorted; durations over time; two to compare; views that were saved here. */

import { computed, effect, signal, untracked } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { get, resource, throttled } from '../lib/api.js';
import { address, go, param, setParams, watched } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { on } from '../lib/stream.js';
import { colour } from '../lib/colour.js';
import { axisDuration, count, duration, millis, plural } from '../lib/format.js';
import { queryBar, timeWindow, windowParams } from '../parts/querybar.js';
import {
  choice,
  chip,
  copy,
  downloads,
  errors,
  service,
  services,
  time,
  toast,
  traceLink,
  bar,
} from '../parts/small.js';
import { empty, failure, pruned, skeleton } from '../parts/states.js';
import { plot } from '../parts/plot.js';
import { vlist } from '../parts/vlist.js';
import { icon } from '../parts/icons.js';

const PAGE = 200;

export function page() {
  const items = signal(/** @type {any[]} */ ([]));
  const meta = signal(/** @type {any} */ (null));
  const waiting = signal(0);
  const isDrawn = computed(() => param('chart') !== 'off');

  const first = resource((signal) => get('/traces', { ...query(), limit: PAGE }, signal));
  effect(() => {
    const answer = first.data.value;
    if (!answer) return;
    meta.value = answer;
    items.value = answer.traces;
    waiting.value = 0;
  });
  const scatter = resource((signal) =>
    isDrawn.value ? get('/traces/scatter', { ...windowParams(), health: param('health'), limit: 2000 }, signal) : null,
  );

  // Bars are drawn against the slowest but a few: one that took minutes would leave nothing of the others.
  const longest = computed(() => {
    const sorted = items.value.map((trace) => Number(trace.duration)).sort((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) * 0.98)] ?? 0;
  });
  const list = vlist({
    label: 'Traces',
    height: 32,
    className: 'traces',
    count: () => items.value.length,
    row: (at) => row(items.peek()[at], longest.peek()),
    head: head(),
    open: (at) => go(traceLink(items.peek()[at].trace_id)),
    nearEnd: () => more(),
  });
  const selected = watched('sel');
  effect(() => {
    selected.value;
    list.refresh();
  });

  let isLoadingMore = false;
  async function more() {
    const cursor = meta.peek()?.cursor;
    if (!cursor || isLoadingMore) return;
    isLoadingMore = true;
    try {
      const answer = await get('/traces', { ...untracked(query), limit: PAGE, cursor });
      if (meta.peek()?.cursor !== cursor) return;
      meta.value = { ...meta.peek(), cursor: answer.cursor };
      items.value = [...items.peek(), ...answer.traces];
    } finally {
      isLoadingMore = false;
    }
  }

  const again = throttled(() => (list.isRead() ? (waiting.value += 1) : first.reload()), 400);
  const chartAgain = throttled(() => scatter.reload(), 2000);
  on('traces', (data) => {
    chartAgain();
    if (data === null) return list.isRead() && items.peek().length > 0 ? void (waiting.value += 1) : first.reload();
    const plain = untracked(
      () => !param('q') && !param('from') && !param('to') && (param('sort') || 'recent') === 'recent',
    );
    if (!plain) return again();
    merge(data.traces);
  });

  /** @param {any[]} changed */
  function merge(changed) {
    const byId = new Map(changed.map((trace) => [trace.trace_id, trace]));
    const known = items.peek().map((trace) => {
      const newer = byId.get(trace.trace_id);
      byId.delete(trace.trace_id);
      return newer ?? trace;
    });
    const fresh = [...byId.values()]
      .filter((trace) => !trace.health || param('health') === '1')
      .sort((a, b) => (BigInt(a.start) < BigInt(b.start) ? 1 : -1));
    // While someone reads, new ones wait behind a button.
    if (list.isRead() && items.peek().length > 0) {
      waiting.value += fresh.length;
      items.value = known;
    } else if (waiting.peek() > 0) first.reload();
    else items.value = [...fresh.map((trace) => ({ ...trace, isNew: true })), ...known];
    if (meta.peek()) meta.value = { ...meta.peek(), total: meta.peek().total + fresh.length, empty: undefined };
  }

  const open = (/** @type {number} */ by) => () => {
    const id = items.peek()[list.active.peek() + by]?.trace_id;
    if (id) go(traceLink(id));
  };
  keys('Traces', [
    ['x', 'mark to compare', () => mark(items.peek()[list.active.peek()]?.trace_id)],
    ['c', 'compare the two marked', compare],
    ['o l ArrowRight', 'open', open(0)],
    [
      'Y',
      'copy as JSON',
      () => {
        const trace = items.peek()[list.active.peek()];
        if (trace) void copy(JSON.stringify(trace, null, 2), 'JSON copied');
      },
    ],
    ['e', 'next with errors', () => jump(1)],
    ['E', 'previous with errors', () => jump(-1)],
    ['Escape', 'let the list follow', () => release()],
  ]);

  /** @param {number} by */
  function jump(by) {
    const all = items.peek();
    for (let at = list.active.peek() + by; at >= 0 && at < all.length; at += by)
      if (all[at].errors > 0) return list.select(at);
  }

  function release() {
    list.select(-1);
    list.scroller.scrollTop = 0;
    if (waiting.peek() > 0) first.reload();
  }

  return html`<div class="page">
    <header class="bar-top">
      <h1>Traces</h1>
      ${queryBar({ error: () => first.error.value })}${timeWindow()}
      ${choice(
        'Order',
        [
          ['', 'Recent'],
          ['duration', 'Slowest'],
          ['errors', 'Errors'],
          ['spans', 'Largest'],
        ],
        () => param('sort'),
        (sort) => setParams({ sort, cursor: '' }),
      )}
    </header>
    <div class="sub">
      <span class="num dim" role="status">${() => (meta.value ? plural(meta.value.total, 'trace') : ' ')}</span>
      ${() => health(meta.value)}
      <label class="check"
        ><input
          type="checkbox"
          .checked=${() => isDrawn.value}
          @change=${(/** @type {any} */ event) => setParams({ chart: event.target.checked ? '' : 'off' })}
        />Durations</label
      >
      <span class="grow"></span>${saved()}
      ${() =>
        downloads({ q: param('q'), from: param('from'), to: param('to') }, [
          ['json', 'OTLP JSON'],
          ['jsonl', 'JSON lines'],
          ['protobuf', 'OTLP protobuf'],
        ])}
      ${() => marked(selected.value)}
      <button class="button small" hidden=${() => waiting.value === 0} @click=${release}>
        ${() => `${count(waiting.value)} new`}
      </button>
    </div>
    ${() => pruned(meta.value?.pruned)}
    <div class="chart-strip" hidden=${() => !isDrawn.value || items.value.length === 0}>
      ${plot({ label: 'Duration of traces over time', height: 112, model: () => scatterModel(scatter.data.value), brush: zoom, pick: (ref) => go(traceLink(ref.id)) })}
    </div>
    ${() => {
      if (meta.value === null) return first.error.value ? failure(first.error.value, first.reload) : skeleton(14);
      return items.value.length === 0 ? empty(meta.value.empty, { what: 'traces' }) : null;
    }}
    <div class="fill" hidden=${() => items.value.length === 0}>${list.node}</div>
  </div>`;
}

function query() {
  return { ...windowParams(), sort: param('sort') || 'recent', health: param('health'), run: param('run') };
}

/** @param {number} from @param {number} to in milliseconds */
export function zoom(from, to) {
  setParams({ from: String(Math.round(from * 1000)), to: String(Math.round(to * 1000)), cursor: '' });
}

/** @param {any} answer @returns {import('../parts/plot.js').Model | null} */
function scatterModel(answer) {
  if (!answer?.points?.length) return null;
  /** @type {[number, number, boolean, any][]} */
  const at = answer.points.map((/** @type {any[]} */ [start, length, bad, id]) => [
    millis(start),
    Number(length),
    Boolean(bad),
    { id, text: id.slice(0, 8), value: duration(length), colour: colour(bad ? 'bad' : 'accent') },
  ]);
  const times = at.map(([x]) => x);
  let [from, to] = [times.reduce((a, b) => Math.min(a, b)), times.reduce((a, b) => Math.max(a, b))];
  const margin = Math.max(500, (to - from) * 0.02);
  return { from: from - margin, to: to + margin, format: axisDuration, points: { at } };
}

const head = () =>
  html`<span></span><span>Time</span><span>Root</span><span>Duration</span><span class="r">Spans</span
    ><span class="r">Errors</span><span>Services</span><span>Notes</span>`;

/** @param {any} trace @param {number} longest */
function row(trace, longest) {
  const { root } = trace;
  const isMarked = param('sel').split(',').includes(trace.trace_id);
  const notes = [
    trace.scenario ? chip(trace.scenario, 'accent') : null,
    trace.alerts?.length
      ? html`<span class="chip warn" title=${trace.alerts.join(', ')}
          >▲ ${trace.alerts.length === 1 ? trace.alerts[0] : trace.alerts.length}</span
        >`
      : null,
    trace.pending ? chip('arriving') : null,
    trace.partial ? chip('partly removed') : null,
    trace.logs
      ? html`<span class="faint num" title=${`${trace.logs} log records`}>≡ ${count(trace.logs)}</span>`
      : null,
    trace.run ? html`<span class="chip">${trace.run}</span>` : null,
  ];
  return html`<div class=${trace.isNew ? 'is-new' : ''}>
    <input
      type="checkbox"
      tabindex="-1"
      aria-label="Mark to compare"
      .checked=${isMarked}
      @click=${(/** @type {Event} */ event) => (event.stopPropagation(), mark(trace.trace_id))}
    />
    <span class="dim">${time(trace.start)}</span>
    <a class="root cut" tabindex="-1" href=${traceLink(trace.trace_id)}
      >${service(root?.service ?? trace.services?.[0])}<b class="cut">${root?.name ?? 'root span not received'}</b
      >${status(root)}</a
    >
    ${bar(Number(trace.duration), longest, { bad: trace.errors > 0 })}
    <span class="r num">${count(trace.spans)}</span
    ><span class="r">${errors(trace.errors)}</span> ${services(trace.services ?? [])}<span class="notes">${notes}</span>
  </div>`;
}

/** @param {any} root */
export function status(root) {
  if (!root?.http_status) return root?.status === 'error' ? html`<span class="chip bad">✖ error</span>` : null;
  const code = Number(root.http_status);
  return html`<span class=${`chip num ${code >= 500 ? 'bad' : code >= 400 ? 'warn' : ''}`}
    >${code >= 500 ? '✖ ' : ''}${code}</span
  >`;
}

/** @param {string | undefined} id */
function mark(id) {
  if (!id) return;
  const now = param('sel').split(',').filter(Boolean);
  setParams(
    { sel: (now.includes(id) ? now.filter((one) => one !== id) : [...now, id].slice(-2)).join(',') },
    { replace: true },
  );
}

function compare() {
  const [a, b] = param('sel').split(',');
  if (a && b) go(address('/compare', { a, b }));
  else toast('Mark two traces with x first.');
}

/** @param {string} text */
function marked(text) {
  const ids = text.split(',').filter(Boolean);
  if (ids.length === 0) return null;
  return html`<button class="button small primary" disabled=${ids.length < 2} @click=${compare}>
    ${icon('compare', 14)}${ids.length < 2 ? 'Mark one more' : 'Compare'}
  </button>`;
}

/** @param {any} answer */
function health(answer) {
  const shown = param('health') === '1';
  if (!shown && !answer?.hidden_health) return null;
  return html`<button class="link" @click=${() => setParams({ health: shown ? '' : '1' })}>
    ${shown ? 'hide health checks' : `${plural(answer.hidden_health, 'health check')} hidden`}
  </button>`;
}

/** Views saved in this browser. */
function saved() {
  const views = signal(/** @type {{ name: string, search: string }[]} */ (read()));
  const save = () => {
    const search = location.search;
    const others = views.peek().filter((view) => view.search !== search);
    views.value =
      others.length === views.peek().length
        ? [...others, { name: param('q') || 'everything', search }].slice(-12)
        : others;
    try {
      localStorage.setItem('views', JSON.stringify(views.peek()));
    } catch {
      toast('This browser keeps nothing for this page.');
    }
  };
  return html`<span class="saved"
    >${() => views.value.map((view) => html`<a class="chip" href=${`/traces${view.search}`} title=${view.name}>${view.name}</a>`)}<button
      class="ghost"
      title="Save this view, or forget it"
      aria-label="Save this view, or forget it"
      @click=${save}
    >
      ${icon('star', 14)}
    </button></span
  >`;
}

function read() {
  try {
    const views = JSON.parse(localStorage.getItem('views') ?? '[]');
    return Array.isArray(views)
      ? views.filter((view) => typeof view?.name === 'string' && typeof view?.search === 'string')
      : [];
  } catch {
    return [];
  }
}
