// @ts-check
/** Everything in the order it came: traces and log records, as they arrive. */

import { effect, onCleanup, signal, untracked } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { get, throttled } from '../lib/api.js';
import { address, go, param, setParams } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { on, paused, setPaused } from '../lib/stream.js';
import { colour } from '../lib/colour.js';
import { clock, count, duration, plural, short } from '../lib/format.js';
import { queryBar } from '../parts/querybar.js';
import { chip, errors, service, services, traceLink } from '../parts/small.js';
import { empty, failure, skeleton } from '../parts/states.js';
import { plot } from '../parts/plot.js';
import { vlist } from '../parts/vlist.js';
import { icon } from '../parts/icons.js';
import { firstLine, level } from '../parts/logline.js';
import { status } from './traces.js';

const KEPT = 3000;
const SECONDS = 90;

export function page() {
  const items = signal(/** @type {any[]} */ ([]));
  const why = signal(/** @type {string | null} */ (null));
  const error = signal(/** @type {any} */ (null));
  const waiting = signal(0);
  /** Arrivals of the last seconds: [second, traces, records]. */
  const pulse = signal(/** @type {[number, number, number][]} */ ([]));
  const show = () => param('show') || 'all';
  const metrics = signal(/** @type {string[]} */ ([]));

  let asked = 0;
  async function load() {
    const own = (asked += 1);
    const q = untracked(() => param('q'));
    try {
      const wanted = untracked(show);
      const none = { traces: [], logs: [], empty: undefined };
      const [traces, logs] = await Promise.all([
        wanted === 'logs' ? none : get('/traces', { q, limit: 200 }),
        wanted === 'traces' ? none : get('/logs', { q, limit: 200 }),
      ]);
      if (own !== asked) return;
      const all = [...traces.traces.map(ofTrace), ...logs.logs.map(ofLog)];
      items.value = sorted(all);
      why.value = all.length === 0 ? (traces.empty ?? logs.empty ?? 'nothing received') : null;
      error.value = null;
    } catch (failed) {
      if (own === asked) error.value = failed;
    }
  }
  effect(() => {
    param('q');
    show();
    void load();
  });

  const list = vlist({
    label: 'What arrives',
    height: 28,
    className: 'live',
    count: () => items.value.length,
    row: (at) => row(items.peek()[at]),
    open: (at) => go(linkOf(items.peek()[at])),
  });

  /** @param {any[]} fresh */
  function add(fresh) {
    if (list.isRead()) {
      waiting.value += fresh.length;
      return;
    }
    if (waiting.peek() > 0) {
      waiting.value = 0;
      return void load();
    }
    const ids = new Set(fresh.map((one) => one.id));
    items.value = sorted([...fresh, ...items.peek().filter((one) => !ids.has(one.id))]).slice(0, KEPT);
    why.value = null;
  }
  const again = throttled(() => (list.isRead() ? (waiting.value += 1) : void load()), 500);
  on('traces', (data) => {
    if (data === null) return void load();
    beat(data.traces.length, 0);
    if (show() === 'logs') return;
    if (untracked(() => param('q'))) return again();
    add(data.traces.map((/** @type {any} */ trace) => ({ ...ofTrace(trace), isNew: true })));
  });
  on('logs', (data) => {
    if (data === null) return;
    beat(0, data.logs.length);
    if (show() === 'traces') return;
    if (untracked(() => param('q'))) return again();
    add(data.logs.map((/** @type {any} */ log) => ({ ...ofLog(log), isNew: true })));
  });
  on(
    'metrics',
    (data) => data?.names && (metrics.value = [...new Set([...data.names, ...metrics.peek()])].slice(0, 6)),
  );

  /** @param {number} traces @param {number} logs */
  function beat(traces, logs) {
    const second = Math.floor(Date.now() / 1000);
    const kept = pulse.peek().filter(([at]) => at > second - SECONDS);
    const last = kept[kept.length - 1];
    if (last?.[0] === second) kept[kept.length - 1] = [second, last[1] + traces, last[2] + logs];
    else kept.push([second, traces, logs]);
    pulse.value = kept;
  }
  const clockwork = setInterval(() => beat(0, 0), 1000);
  onCleanup(() => clearInterval(clockwork));
  const rate = () => {
    const now = Math.floor(Date.now() / 1000);
    const recent = pulse.value.filter(([at]) => at > now - 10);
    return recent.reduce((sum, [, traces, logs]) => sum + traces + logs, 0) / 10;
  };
  const model = () => {
    const bySecond = new Map(pulse.value.map((one) => [one[0], one]));
    const now = pulse.value[pulse.value.length - 1]?.[0] ?? Math.floor(Date.now() / 1000);
    const buckets = Array.from({ length: SECONDS }, (_, at) => {
      const second = now - SECONDS + 1 + at;
      const one = bySecond.get(second);
      return { from: second * 1000, to: (second + 1) * 1000, values: [one?.[1] ?? 0, one?.[2] ?? 0] };
    });
    return {
      from: buckets[0].from,
      to: buckets[buckets.length - 1].to,
      format: count,
      bars: { buckets, names: ['traces', 'log records'], colours: [colour('accent'), colour('info')] },
    };
  };

  function release() {
    list.select(-1);
    list.scroller.scrollTop = 0;
    waiting.value = 0;
    void load();
  }
  keys('Live', [
    ['x', 'clear what is shown', () => (items.value = [])],
    ['Escape', 'let the list follow', release],
  ]);

  return html`<div class="page">
    <header class="bar-top">
      <h1>Live</h1>
      ${queryBar({ error: () => error.value })}
      <div class="choice" role="group" aria-label="Signals">
        ${[
          ['', 'All'],
          ['traces', 'Traces'],
          ['logs', 'Logs'],
        ].map(
          ([value, text]) =>
            html`<button
              aria-pressed=${() => String(param('show') === value)}
              @click=${() => setParams({ show: value })}
            >
              ${text}
            </button>`,
        )}
      </div>
      <button class="button" aria-pressed=${() => String(paused.value)} @click=${() => setPaused(!paused.peek())}>
        ${() => icon(paused.value ? 'play' : 'pause', 14)}${() => (paused.value ? 'Go on' : 'Pause')}</button
      ><button class="button" title="Clear what is shown; the store keeps it (x)" @click=${() => (items.value = [])}>
        Clear
      </button>
    </header>
    <div class="chart-strip">${plot({ label: 'Arrivals a second', height: 64, model })}</div>
    <div class="sub">
      <span class="num dim" role="status">${() => `${short(rate())}/s · ${plural(items.value.length, 'row')}`}</span
      >${() => (metrics.value.length ? html`<span class="faint cut">metrics: ${metrics.value.map((name) => html`<a href=${address('/metrics', { name })}>${name}</a> `)}</span>` : null)}<span
        class="grow"
      ></span
      ><button class="button small" hidden=${() => waiting.value === 0} @click=${release}>
        ${() => `${count(waiting.value)} new`}
      </button>
    </div>
    ${() => (items.value.length > 0 ? null : error.value ? failure(error.value, () => void load()) : why.value ? empty(why.value, { what: 'telemetry' }) : paused.value || asked > 1 ? null : skeleton(14))}
    <div class="fill" hidden=${() => items.value.length === 0}>${list.node}</div>
  </div>`;
}

/** @param {any[]} all */
function sorted(all) {
  return all.sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0));
}

/** @param {any} trace */
function ofTrace(trace) {
  return { id: trace.trace_id, time: trace.start.padStart(20, '0'), trace };
}

/** @param {any} log */
function ofLog(log) {
  return { id: `log ${log.id}`, time: String(log.time || log.observed).padStart(20, '0'), log };
}

/** @param {any} one */
function linkOf(one) {
  return one.trace ? traceLink(one.trace.trace_id) : address('/logs', { id: one.log.id, trace: one.log.trace_id });
}

/** @param {any} one */
function row(one) {
  const name = one.isNew ? 'is-new' : '';
  if (one.log) {
    const { log } = one;
    return html`<div class=${name}>
      <time class="num faint">${clock(log.time)}</time>${level(log.severity?.level)}${service(log.service)}<code
        class="cut"
        >${firstLine(log)}</code
      ><span></span
      ><a class="mono faint" tabindex="-1" href=${linkOf(one)}>${log.trace_id ? log.trace_id.slice(0, 8) : ''}</a>
    </div>`;
  }
  const { trace } = one;
  return html`<div class=${name}>
    <time class="num faint">${clock(trace.start)}</time
    >${chip('trace', 'accent')}${service(trace.root?.service ?? trace.services?.[0])}<span class="root cut"
      ><b class="cut">${trace.root?.name ?? 'root span not received'}</b
      >${status(trace.root)}${trace.errors > 0 ? errors(trace.errors) : null}${services(trace.services ?? [])}</span
    ><span class="r num">${duration(trace.duration)}</span
    ><a class="mono faint" tabindex="-1" href=${linkOf(one)}>${trace.trace_id.slice(0, 8)}</a>
  </div>`;
}
