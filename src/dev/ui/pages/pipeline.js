// @ts-check
/** The agent itself: its pipelines with live rates, queues, what was dropped and why, clients, store, configuration. */

import { html } from '../lib/html.js';
import { get, resource, throttled } from '../lib/api.js';
import { on } from '../lib/stream.js';
import { post } from '../lib/api.js';
import { ago, bytes, clock, count, percent, short } from '../lib/format.js';
import { chip, copy, figures, panel, table, toast } from '../parts/small.js';
import { view } from '../parts/states.js';
import { icon } from '../parts/icons.js';

export function page() {
  const source = resource((signal) => get('/pipeline', {}, signal));
  const status = resource((signal) => get('/status', {}, signal));
  on('pipeline', throttled(source.reload, 900));
  on(
    'status',
    throttled(() => (source.reload(), status.reload()), 900),
  );
  return html`<div class="page">
    <header class="bar-top">
      <h1>Pipeline</h1>
      <span class="dim">${() => (status.data.value?.version ? `radiosonde ${status.data.value.version}` : '')}</span
      ><span class="grow"></span>${() => memory(source.data.value?.memory)}
    </header>
    <div class="scroll">
      <div class="grid">
        ${view(source, whole, { lines: 10 })}${view(status, store, { lines: 3 })}${view(source, (answer) => [clients(answer.clients), configuration(answer.config)], { lines: 1 })}
      </div>
    </div>
  </div>`;
}

/** @param {any} memory */
function memory(memory) {
  return memory
    ? html`<span class="dim num">memory ${bytes(memory.rss)}${memory.limit ? ` of ${bytes(memory.limit)}` : ''}</span>`
    : null;
}

/** @param {any} answer */
function whole(answer) {
  const byId = new Map((answer.components ?? []).map((/** @type {any} */ one) => [`${one.kind} ${one.id}`, one]));
  return (answer.pipelines ?? []).map((/** @type {any} */ pipeline) => {
    // What passes in this pipeline, where a component stands in several.
    const of = (/** @type {string} */ kind, /** @type {string} */ id) => {
      const one = byId.get(`${kind} ${id}`) ?? { kind, id, state: 'unknown' };
      return { ...one, ...one.per_signal?.[pipeline.signal] };
    };
    return panel(
      html`${pipeline.id}${pipeline.id === pipeline.signal ? null : html` <span class="faint">${pipeline.signal}</span>`}`,
      html`<div class="flow">
        ${[
          ['receiver', pipeline.receivers],
          ['processor', pipeline.processors],
          ['exporter', pipeline.exporters],
        ]
          .filter(([, ids]) => ids?.length)
          .map(
            ([kind, ids], index) =>
              html`${index ? html`<span class="flow-arrow" aria-hidden="true">→</span>` : null}${
                kind === 'processor'
                  ? ids.map(
                      (/** @type {string} */ id, /** @type {number} */ at) =>
                        html`${at ? html`<span class="flow-arrow" aria-hidden="true">→</span>` : null}
                          <div class="flow-stage">${component(of(kind, id))}</div>`,
                    )
                  : html`<div class="flow-stage">
                      ${ids.map((/** @type {string} */ id) => component(of(kind, id)))}
                    </div>`
              }`,
          )}
      </div>`,
    );
  });
}

/** @param {any} one */
function component(one) {
  const dropped = (one.dropped ?? []).filter((/** @type {any} */ loss) => loss.items > 0);
  const held = one.queue ? (one.queue.bytes ?? one.queue.items) : 0;
  const fill = one.queue?.capacity ? held / one.queue.capacity : 0;
  return html`<div class=${`component is-${one.state}`}>
    <header>
      <b class="cut">${one.id}</b
      >${one.state && !['ok', 'unknown'].includes(one.state) ? chip(one.state, one.state === 'degraded' ? 'warn' : '') : null}
    </header>
    <p class="dim">${one.kind}</p>
    <dl class="num">
      ${
        one.rate_in !== undefined && one.rate_in !== null
          ? html`<div>
              <dt>in</dt>
              <dd>${short(one.rate_in)}/s</dd>
            </div>`
          : null
      }${
        one.rate_out !== undefined && one.rate_out !== null
          ? html`<div>
              <dt>out</dt>
              <dd>${short(one.rate_out)}/s</dd>
            </div>`
          : null
      }${
        one.in !== undefined
          ? html`<div>
              <dt>total</dt>
              <dd>${count(total(one.in) || total(one.out))}</dd>
            </div>`
          : null
      }${
        total(one.failed) > 0
          ? html`<div class="bad">
              <dt>✖ failed</dt>
              <dd>${count(total(one.failed))}</dd>
            </div>`
          : null
      }${
        one.in_flight
          ? html`<div>
              <dt>in flight</dt>
              <dd>${count(one.in_flight)}</dd>
            </div>`
          : null
      }
    </dl>
    ${
      one.queue
        ? html`<div class="queue" title=${`${count(one.queue.items)} items wait`}>
            <div class="track">
              <i class=${fill > 0.8 ? 'is-bad' : ''} style=${{ width: `${Math.min(1, fill) * 100}%` }}></i>
            </div>
            <span class="num faint"
              >${one.queue.bytes === null || one.queue.bytes === undefined ? `${count(held)} wait` : bytes(held)}${one.queue.capacity ? ` · ${percent(fill)}` : ''}</span
            >
          </div>`
        : null
    }
    ${one.message ? html`<p class="warn">${one.message}</p>` : null}
    ${dropped.map((/** @type {any} */ loss) => (/^(discarded|not sampled)/.test(loss.reason) ? html`<p class="dim"><b class="num">${count(loss.items)}</b> ${loss.reason}</p>` : html`<p class="loss"><b class="num">✖ ${count(loss.items)}</b> ${loss.reason}</p>`))}
  </div>`;
}

/** @param {any} value a number, or numbers by signal */
function total(value) {
  if (value === null || value === undefined) return 0;
  return typeof value === 'object' ? Object.values(value).reduce((sum, one) => sum + Number(one), 0) : Number(value);
}

/** @param {any} status */
function store(status) {
  const { store: kept, intake } = status;
  if (!kept) return null;
  const clear = async () => {
    if (!confirm('Remove everything from the store?')) return;
    try {
      await post('/clear', {});
      toast('The store is empty');
    } catch (error) {
      toast(/** @type {Error} */ (error).message);
    }
  };
  const rows = Object.entries(intake ?? {}).map(([signal, books]) => ({
    signal: signal.replace('_', ' '),
    .../** @type {any} */ (books),
  }));
  return panel(
    'Store',
    html`<div class="pad">
        ${figures([
          ['Used', `${bytes(kept.used)} of ${bytes(kept.cap)}`],
          ['Traces', count(kept.traces)],
          ['Spans', count(kept.spans)],
          ['Log records', count(kept.log_records)],
          ['Metric points', count(kept.metric_points)],
          ['Series', count(kept.series)],
          ['Oldest', kept.oldest ? ago(kept.oldest) : '–'],
          ['On disk', status.data_dir ?? 'no, memory only'],
        ])}
      </div>
      ${table(
        [
          { head: 'Intake', cell: (row) => row.signal },
          { head: 'Received', kind: 'r', cell: (row) => count(row.received) },
          { head: 'Stored', kind: 'r', cell: (row) => count(row.stored) },
          { head: 'Rejected', kind: 'r', cell: (row) => loss(row.rejected) },
          { head: 'Dropped', kind: 'r', cell: (row) => loss(row.dropped) },
          { head: 'Evicted since', kind: 'r', cell: (row) => count(row.evicted) },
          {
            head: 'Books',
            cell: (row) =>
              row.received === row.stored + row.rejected + row.dropped
                ? html`<span class="good">${icon('check', 14)}</span>`
                : html`<span class="bad">✖ do not agree</span>`,
          },
        ],
        rows,
        { label: 'Intake of the store' },
      )}
      ${
        kept.tombstones?.length
          ? html`<ul class="tombstones">
              ${kept.tombstones
                .slice(-20)
                .reverse()
                .map(
                  (/** @type {any} */ stone) =>
                    html`<li class="num">
                      ${icon('trash', 12)}<span>${clock(stone.from, true)} to ${clock(stone.to, true)}</span
                      ><span class="dim"
                        >${count(stone.spans)} spans, ${count(stone.metric_points)} points, ${count(stone.log_records)}
                        records</span
                      >${chip(stone.reason)}
                    </li>`,
                )}
            </ul>`
          : null
      }`,
    html`<button class="button small" @click=${clear}>${icon('trash', 14)}Clear</button>`,
  );
}

/** @param {number} n */
function loss(n) {
  return n > 0 ? html`<span class="bad num">✖ ${count(n)}</span>` : html`<span class="faint">·</span>`;
}

/** @param {any[]} all */
function clients(all) {
  return panel(
    'Clients',
    all?.length
      ? table(
          [
            { head: 'Service', cell: (one) => one.service ?? '' },
            { head: 'SDK', cell: (one) => one.sdk || 'unknown' },
            { head: 'Language', cell: (one) => one.language ?? '' },
            { head: 'Version', cell: (one) => one.version ?? '' },
            { head: 'Protocol', cell: (one) => one.protocol ?? '' },
            { head: 'Encoding', cell: (one) => one.encoding ?? '' },
            { head: 'Requests', kind: 'r', cell: (one) => count(one.requests) },
            { head: 'Items', kind: 'r', cell: (one) => count(one.items) },
            { head: 'Last', kind: 'r', cell: (one) => ago(one.last) },
          ],
          all,
          { label: 'Clients' },
        )
      : html`<p class="dim pad">Nobody has sent anything yet.</p>`,
  );
}

/** @param {string} text */
function configuration(text) {
  if (!text) return null;
  return panel(
    'Effective configuration',
    html`<pre class="body config">${text}</pre>`,
    html`<button class="ghost" aria-label="Copy" title="Copy" @click=${() => copy(text, 'Configuration copied')}>
      ${icon('copy', 14)}
    </button>`,
  );
}
