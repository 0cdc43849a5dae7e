// @ts-check
/** Two traces or two runs side by side: what came, what went, what became slower. */

import { html } from '../lib/html.js';
import { get, resource } from '../lib/api.js';
import { address, param, setParams } from '../lib/router.js';
import { clock, count, duration, percent, plural, shortId } from '../lib/format.js';
import { choice, chip, panel, service, table, traceLink } from '../parts/small.js';
import { failure, view } from '../parts/states.js';

const WORDS = /** @type {Record<string, [string, string]>} */ ({
  added: ['+ new', 'accent'],
  removed: ['− gone', ''],
  slower: ['▲ slower', 'bad'],
  faster: ['▼ faster', 'good'],
  same: ['', ''],
});

export function page() {
  const isReady = () => param('a') !== '' && param('b') !== '';
  const source = resource((signal) => (isReady() ? get('/compare', { a: param('a'), b: param('b') }, signal) : null));
  return html`<div class="page">
    <header class="bar-top">
      <h1>Compare</h1>
      ${() => (isReady() ? [side('a'), html`<button class="ghost" aria-label="Exchange the sides" title="Exchange the sides" @click=${() => setParams({ a: param('b'), b: param('a') })}>⇄</button>`, side('b')] : null)}<span
        class="grow"
      ></span>
      ${() =>
        isReady()
          ? choice(
              'Show',
              [
                ['', 'Changes'],
                ['all', 'All'],
              ],
              () => param('show'),
              (show) => setParams({ show }, { replace: true }),
            )
          : null}
    </header>
    <div class="scroll">${() => (isReady() ? view(source, whole)() : picker())}</div>
  </div>`;
}

/** @param {'a' | 'b'} name */
function side(name) {
  const id = param(name);
  const isTrace = /^[0-9a-f]{8,}$/.test(id);
  return html`<span class="side-name"
    ><b>${name.toUpperCase()}</b
    >${isTrace ? html`<a class="mono" href=${traceLink(id)}>${shortId(id)}</a>` : html`<a class="mono" href=${address('/traces', { run: id })}>${id}</a>`}</span
  >`;
}

/** @param {any} answer */
function whole(answer) {
  const rows = answer.rows ?? [];
  const shown =
    param('show') === 'all'
      ? rows
      : rows.filter((/** @type {any} */ row) => row.change !== 'same' || (row.a?.errors ?? 0) !== (row.b?.errors ?? 0));
  const most = Math.max(
    1,
    ...rows.map((/** @type {any} */ row) => Math.max(Number(row.a?.duration ?? 0), Number(row.b?.duration ?? 0))),
  );
  return html`<div class="grid">
    ${summary(answer.summary)}
    ${panel(
      answer.kind === 'runs' ? 'Operations' : 'Spans',
      shown.length
        ? table(
            [
              {
                head: 'Operation',
                wide: true,
                cell: (row) =>
                  html`<span class="tree-name" style=${{ 'padding-left': `${Math.min(row.depth ?? 0, 30) * 12}px` }}
                    >${service(row.service)}<b class="cut">${row.name}</b></span
                  >`,
              },
              { head: '', cell: (row) => (WORDS[row.change]?.[0] ? chip(...WORDS[row.change]) : null) },
              { head: 'A', kind: 'r', cell: (row) => one(row.a) },
              {
                head: '',
                cell: (row) =>
                  html`<span class="pair"
                    ><i style=${{ width: `${(Number(row.a?.duration ?? 0) / most) * 100}%` }}></i
                    ><i
                      class=${row.change === 'slower' ? 'is-bad' : ''}
                      style=${{ width: `${(Number(row.b?.duration ?? 0) / most) * 100}%` }}
                    ></i
                  ></span>`,
              },
              { head: 'B', kind: 'r', cell: (row) => one(row.b) },
              { head: 'Change', kind: 'r', cell: (row) => delta(Number(row.a?.duration), Number(row.b?.duration)) },
            ],
            shown,
            { label: 'Aligned operations' },
          )
        : html`<p class="dim pad">
            Nothing differs beyond the usual.
            ${rows.length ? html`<button class="link" @click=${() => setParams({ show: 'all' }, { replace: true })}>Show all ${count(rows.length)}</button>` : null}
          </p>`,
      html`<span class="dim num">${plural(shown.length, 'row')} of ${count(rows.length)}</span>`,
    )}
    ${
      answer.attributes?.length
        ? panel(
            'Attributes that differ',
            table(
              [
                { head: 'Key', cell: (row) => html`<code>${row.key}</code>` },
                { head: 'A', kind: 'wrap', cell: (row) => value(row.a) },
                { head: 'B', kind: 'wrap', cell: (row) => value(row.b) },
              ],
              answer.attributes,
              { label: 'Attributes that differ' },
            ),
          )
        : null
    }
  </div>`;
}

/** @param {any} figures */
function summary(figures) {
  if (!figures) return null;
  const pairOf = (/** @type {any} */ one) => (Array.isArray(one) ? { a: one[0], b: one[1] } : one);
  const lines = /** @type {[string, any, (v: any) => string][]} */ ([
    ['Traces', pairOf(figures.traces), count],
    ['Spans', pairOf(figures.spans), count],
    ['p50', pairOf(figures.p50), duration],
    ['p95', pairOf(figures.p95), duration],
    ['Errors', pairOf(figures.errors), count],
  ]).filter(([, pair]) => pair && typeof pair === 'object');
  return html`<div class="tiles">
    ${lines.map(([name, pair, show]) => html`<div class="tile"><span class="dim">${name}</span><b class="num">${show(pair.a)} → ${show(pair.b)}</b>${name === 'Traces' || name === 'Spans' ? null : delta(Number(pair.a), Number(pair.b))}</div>`)}
  </div>`;
}

/** @param {any} side */
function one(side) {
  if (!side) return html`<span class="faint">–</span>`;
  return html`<span class="num">${duration(side.duration)}</span
    >${side.count > 1 ? html`<small class="faint num"> ×${count(side.count)}</small>` : null}${side.errors ? html`<small class="bad num"> ✖${count(side.errors)}</small>` : null}`;
}

/** @param {number} a @param {number} b */
function delta(a, b) {
  if (!Number.isFinite(a) || !Number.isFinite(b) || a === b) return html`<span class="faint">·</span>`;
  if (a === 0) return html`<span class="num bad">new</span>`;
  const change = (b - a) / a;
  const text = b / a >= 3 ? `×${(b / a).toFixed(1)}` : `${change > 0 ? '+' : '−'}${percent(Math.abs(change))}`;
  return html`<span class=${`num ${Math.abs(change) < 0.1 ? 'dim' : change > 0 ? 'bad' : 'good'}`}>${text}</span>`;
}

/** @param {any} text */
function value(text) {
  if (text === null || text === undefined) return html`<span class="faint">absent</span>`;
  return html`<code
    >${typeof text === 'string' ? text : typeof text === 'object' && 'value' in text ? String(text.value) : JSON.stringify(text)}</code
  >`;
}

/** Nothing was chosen yet: runs, or the last traces. */
function picker() {
  const runs = resource((signal) => get('/runs', {}, signal));
  const traces = resource((signal) => get('/traces', { limit: 30 }, signal));
  const take = (/** @type {string} */ id) => setParams(param('a') ? { b: id } : { a: id });
  const words = () =>
    param('a')
      ? html`<p class="dim">
          A is <code>${param('a').slice(0, 12)}</code>. Now B.
          <button class="link" @click=${() => setParams({ a: '' })}>another A</button>
        </p>`
      : html`<p class="dim">
          Choose A, then B: two traces, or two runs of <code>radiosonde dev -- CMD</code>. In the list of traces, mark
          two with <kbd>x</kbd>.
        </p>`;
  return html`<div class="grid">
    ${words}
    <div class="grid two flush">
      ${panel(
        'Runs',
        view(
          runs,
          (answer) =>
            answer.runs?.length
              ? table(
                  [
                    {
                      head: 'Run',
                      cell: (run) => html`<button class="link" @click=${() => take(run.id)}>${run.id}</button>`,
                    },
                    { head: 'Command', wide: true, cell: (run) => html`<code>${command(run.command)}</code>` },
                    { head: 'Started', cell: (run) => clock(run.started, true) },
                  ],
                  answer.runs,
                  { label: 'Runs' },
                )
              : html`<p class="dim pad">No runs yet: <code>radiosonde dev -- CMD</code> makes one.</p>`,
          { lines: 4 },
        ),
      )}
      ${panel('Last traces', () =>
        traces.error.value
          ? failure(traces.error.value)
          : view(
              traces,
              (answer) =>
                table(
                  [
                    {
                      head: 'Trace',
                      cell: (trace) =>
                        html`<button class="link mono" @click=${() => take(trace.trace_id)}>
                          ${shortId(trace.trace_id)}
                        </button>`,
                    },
                    { head: 'Root', wide: true, cell: (trace) => trace.root?.name ?? '–' },
                    { head: 'Duration', kind: 'r', cell: (trace) => duration(trace.duration) },
                  ],
                  answer.traces ?? [],
                  { label: 'Last traces' },
                ),
              { lines: 6 },
            )(),
      )}
    </div>
  </div>`;
}

/** @param {any} words */
function command(words) {
  return Array.isArray(words) ? words.join(' ') : (words ?? '');
}
