// @ts-check
/** Log records: severity over time, the list, and one of them with its context, to the trace and back. */

import { effect, signal, untracked } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { get, resource, throttled } from '../lib/api.js';
import { address, go, param, setParams, watched } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { on } from '../lib/stream.js';
import { colour } from '../lib/colour.js';
import { clock, count, fullTime, millis, plural, shortId } from '../lib/format.js';
import { queryBar, timeWindow } from '../parts/querybar.js';
import { chip, copy, service, traceLink } from '../parts/small.js';
import { empty, failure, pruned, skeleton, view } from '../parts/states.js';
import { plot } from '../parts/plot.js';
import { vlist } from '../parts/vlist.js';
import { icon } from '../parts/icons.js';
import { json } from '../parts/json.js';
import { firstLine, level } from '../parts/logline.js';
import { attributes } from '../trace/span.js';
import { traceHead } from '../trace/head.js';
import { zoom } from './traces.js';

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'];
const COLOURS = ['fatal', 'bad', 'warn', 'info', 'debug', 'trace'];
const PAGE = 300;

/** @param {string} [trace] only those of one trace */
export function page(trace) {
  const items = signal(/** @type {any[]} */ ([]));
  const meta = signal(/** @type {any} */ (null));
  const waiting = signal(0);
  const query = () => {
    const q = [
      param('q'),
      param('level') ? `severity>=${param('level')}` : '',
      trace || param('trace') ? `trace=${trace || param('trace')}` : '',
    ].filter(Boolean);
    return {
      q: q.length > 1 && param('q') ? `(${q[0]}) ${q.slice(1).join(' ')}` : q.join(' '),
      from: param('from'),
      to: param('to'),
    };
  };
  const first = resource((signal) => get('/logs', { ...query(), limit: PAGE }, signal));
  const histogram = resource((signal) => get('/logs/histogram', { ...query(), buckets: 80 }, signal));
  const about = trace ? resource((signal) => get(`/traces/${trace}`, { limit: 1 }, signal)) : null;
  effect(() => {
    const answer = first.data.value;
    if (!answer) return;
    meta.value = answer;
    items.value = answer.logs;
    waiting.value = 0;
  });

  const list = vlist({
    label: 'Log records',
    height: 26,
    className: 'logs',
    count: () => items.value.length,
    row: (at) => row(items.peek()[at], Boolean(trace)),
    move: (at) => at >= 0 && setParams({ id: items.peek()[at].id }, { replace: true }),
    open: (at) => {
      const log = items.peek()[at];
      if (log?.trace_id) go(traceLink(log.trace_id, { span: log.span_id }));
    },
    nearEnd: () => void more(),
  });

  let isLoadingMore = false;
  async function more() {
    const cursor = meta.peek()?.cursor;
    if (!cursor || isLoadingMore) return;
    isLoadingMore = true;
    try {
      const answer = await get('/logs', { ...untracked(query), limit: PAGE, cursor });
      if (meta.peek()?.cursor !== cursor) return;
      meta.value = { ...meta.peek(), cursor: answer.cursor };
      items.value = [...items.peek(), ...answer.logs];
    } finally {
      isLoadingMore = false;
    }
  }

  const isReading = () => list.isRead() || param('id') !== '';
  const again = throttled(() => (untracked(isReading) ? (waiting.value += 1) : first.reload()), 300);
  const chartAgain = throttled(() => histogram.reload(), 1500);
  on('logs', (data) => {
    chartAgain();
    if (data === null) return first.reload();
    again();
  });

  function release() {
    setParams({ id: '' }, { replace: true });
    list.select(-1);
    list.scroller.scrollTop = 0;
    first.reload();
  }

  const jump = (/** @type {number} */ by) => {
    const all = items.peek();
    for (let at = list.active.peek() + by; at >= 0 && at < all.length; at += by)
      if (['error', 'fatal'].includes(all[at].severity?.level)) return list.select(at);
  };
  keys('Logs', [
    ['e', 'next error', () => jump(1)],
    ['E', 'previous error', () => jump(-1)],
    [
      't',
      'to its trace',
      () => {
        const log = items.peek()[list.active.peek()];
        if (log?.trace_id) go(traceLink(log.trace_id, { span: log.span_id }));
      },
    ],
    [
      'Y',
      'copy as JSON',
      () => {
        const log = items.peek()[list.active.peek()];
        if (log) void copy(JSON.stringify(log, null, 2), 'JSON copied');
      },
    ],
    ['Escape', 'close, and let the list follow', release],
  ]);

  const chosen = watched('id');
  const tops = () => [...new Set([...LEVELS.slice(0, 4)])];
  return html`<div class="page">
    ${about ? view(about, (answer) => traceHead(answer.trace, 'Logs'), { lines: 2 }) : null}
    <header class="bar-top">
      ${trace ? null : html`<h1>Logs</h1>`}${queryBar({ error: () => first.error.value, placeholder: 'severity>=warn service=pricing "timed out"', signal: 'logs' })}${timeWindow()}
      <div class="choice" role="group" aria-label="Least severity">
        ${[
          ['', 'All'],
          ...tops()
            .reverse()
            .map((name) => [name, name]),
        ].map(
          ([value, text]) =>
            html`<button
              aria-pressed=${() => String(param('level') === value)}
              @click=${() => setParams({ level: value, cursor: '' })}
            >
              ${text}
            </button>`,
        )}
      </div>
    </header>
    <div class="sub">
      <span class="num dim" role="status">${() => (meta.value ? plural(meta.value.total, 'record') : ' ')}</span
      ><span class="grow"></span>${() =>
        !trace && param('trace')
          ? html`<button class="button small" @click=${() => setParams({ trace: '' })}>
              of trace ${shortId(param('trace'))} ${icon('close', 10)}
            </button>`
          : null}
      <button class="button small" hidden=${() => waiting.value === 0} @click=${release}>New records</button>
    </div>
    ${() => pruned(meta.value?.pruned)}
    <div class="chart-strip" hidden=${() => items.value.length === 0}>
      ${plot({ label: 'Log records by severity over time', height: 84, model: () => model(histogram.data.value), brush: zoom })}
    </div>
    ${() => {
      if (meta.value === null) return first.error.value ? failure(first.error.value, first.reload) : skeleton(16);
      return items.value.length === 0 ? empty(meta.value.empty, { what: 'log records' }) : null;
    }}
    <div
      class="split"
      data-open=${() => chosen.value !== ''}
      hidden=${() => items.value.length === 0 && chosen.value === ''}
    >
      <div class="fill">${list.node}</div>
      ${() => (chosen.value ? detail(chosen.value) : null)}
    </div>
  </div>`;
}

/** @param {any} answer @returns {import('../parts/plot.js').Model | null} */
function model(answer) {
  if (!answer?.buckets?.length) return null;
  const buckets = answer.buckets.map((/** @type {any} */ one) => ({
    from: millis(one.from),
    to: millis(one.to),
    values: [...LEVELS].reverse().map((name) => one.counts?.[name] ?? 0),
  }));
  return {
    from: buckets[0].from,
    to: buckets[buckets.length - 1].to,
    format: count,
    bars: { buckets, names: [...LEVELS].reverse(), colours: [...COLOURS].reverse().map((name) => colour(name)) },
  };
}

/** @param {any} log @param {boolean} inTrace */
function row(log, inTrace) {
  return html`<div class=${`log is-${log.severity?.level ?? 'info'}`}>
    <time class="num faint" title=${fullTime(log.time)}>${clock(log.time)}</time
    >${level(log.severity?.level)}${service(log.service)}<code class="cut">${firstLine(log)}</code>${
      log.trace_id && !inTrace
        ? html`<a
            class="mono faint"
            tabindex="-1"
            href=${traceLink(log.trace_id, { span: log.span_id })}
            title="To the trace"
            >${shortId(log.trace_id)}</a
          >`
        : html`<span></span>`
    }
  </div>`;
}

/** @param {string} id */
function detail(id) {
  const source = resource((signal) => get(`/logs/${encodeURIComponent(id)}`, { context: 5 }, signal));
  const close = () => setParams({ id: '' }, { replace: true });
  return html`<aside class="detail" aria-label="Log record">
    <button class="ghost detail-close" aria-label="Close the record" @click=${close}>${icon('close', 14)}</button
    >${view(source, (answer) => whole(answer), { lines: 8 })}
  </aside>`;
}

/** @param {any} answer */
function whole(answer) {
  const log = answer.log ?? answer;
  const stack = log.attributes?.find((/** @type {any} */ one) => one.key === 'exception.stacktrace')?.value;
  const tree = parsed(log);
  const around = (/** @type {any[]} */ lines) =>
    lines?.map(
      (one) =>
        html`<a
          class="log-line"
          href=${address('/logs', { ...Object.fromEntries(new URLSearchParams(location.search)), id: one.id })}
          ><span class="num faint">${clock(one.time)}</span>${level(one.severity?.level)}<span class="cut"
            >${firstLine(one)}</span
          ></a
        >`,
    );
  return html`<div class="detail-body">
    <header>
      <div>
        ${level(log.severity?.level)}${log.severity?.text && log.severity.text.toLowerCase() !== log.severity.level ? html`<span class="dim">${log.severity.text}</span>` : null}${service(log.service)}${log.event_name ? chip(log.event_name, 'accent') : null}
      </div>
      <time class="dim num">${fullTime(log.time)}</time>
    </header>
    <section class="detail-section">
      <header>
        <h3>Body</h3>
        <span class="grow"></span
        ><button class="ghost" aria-label="Copy the body" title="Copy" @click=${() => copy(log.body ?? '')}>
          ${icon('copy', 12)}
        </button>
      </header>
      ${tree !== undefined ? json(tree) : html`<pre class="body">${(log.body ?? '').slice(0, 200_000) || '(empty)'}</pre>`}
    </section>
    ${
      stack
        ? html`<section class="detail-section">
            <header><h3>Stack</h3></header>
            <pre class="body">${String(stack).slice(0, 60_000)}</pre>
          </section>`
        : null
    }
    ${
      log.trace_id
        ? html`<section class="detail-section">
            <header><h3>Trace</h3></header>
            <a class="button small" href=${traceLink(log.trace_id, { span: log.span_id })}
              >${icon('traces', 14)}Open ${shortId(log.trace_id)}</a
            >
          </section>`
        : null
    }
    ${attributes('Attributes', log.attributes, '')}
    ${attributes('Resource', answer.resource?.attributes ?? log.resource?.attributes, 'res.')}
    ${
      answer.before?.length || answer.after?.length
        ? html`<section class="detail-section">
            <header><h3>Around it</h3></header>
            <div class="lines">
              ${around(answer.before)}
              <div class="log-line is-here">
                <span class="num faint">${clock(log.time)}</span>${level(log.severity?.level)}<span class="cut"
                  >${firstLine(log)}</span
                >
              </div>
              ${around(answer.after)}
            </div>
          </section>`
        : null
    }
    ${
      (answer.raw ?? log.raw)
        ? html`<details class="raw">
            <summary>OTLP JSON</summary>
            <pre>${JSON.stringify(answer.raw ?? log.raw, null, 2).slice(0, 200_000)}</pre>
          </details>`
        : null
    }
  </div>`;
}

/** The body as a tree where it is one. @param {any} log */
function parsed(log) {
  const text = log.body ?? '';
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
