// @ts-check
/** What is wrong, how one knows, what to do about it: lints of development and alert rules alike. */

import { signal } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { get, post, resource, throttled, unlessTyping } from '../lib/api.js';
import { address, param, setParams, watched } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { on } from '../lib/stream.js';
import { ago, clock, count, fullTime } from '../lib/format.js';
import { choice, chip, toast, traceLink } from '../parts/small.js';
import { empty, view } from '../parts/states.js';
import { vlist } from '../parts/vlist.js';
import { icon } from '../parts/icons.js';

const ORDER = /** @type {Record<string, number>} */ ({ critical: 0, warning: 1, info: 2 });

export function page() {
  const source = resource((signal) => get('/alerts', {}, signal));
  on('alerts', throttled(unlessTyping(source.reload), 400));
  const chosen = watched('id');
  const filter = () => param('show') || 'firing';
  const shown = () => {
    const all = source.data.value?.alerts ?? [];
    const rank = (/** @type {any} */ one) => ORDER[one.severity] ?? 3;
    return all
      .filter((/** @type {any} */ one) => filter() === 'all' || one.state === filter())
      .sort(
        (/** @type {any} */ a, /** @type {any} */ b) =>
          rank(a) - rank(b) || (BigInt(b.last ?? 0) > BigInt(a.last ?? 0) ? 1 : -1),
      );
  };
  const current = () =>
    (source.data.value?.alerts ?? []).find((/** @type {any} */ one) => one.id === chosen.value) ?? shown()[0];
  const list = vlist({
    label: 'Alerts',
    height: 54,
    className: 'findings',
    count: () => shown().length,
    row: (at) => row(shown()[at], current()?.id),
    move: (at) => at >= 0 && setParams({ id: shown()[at].id }, { replace: true }),
  });
  keys('Alerts', [['u', 'mute for an hour', () => current() && void mute(current(), '1h', '', source.reload)]]);
  const amount = (/** @type {string} */ state) =>
    (source.data.value?.alerts ?? []).filter((/** @type {any} */ one) => one.state === state).length;
  return html`<div class="page">
    <header class="bar-top">
      <h1>Alerts</h1>
      ${choice(
        'State',
        [
          ['firing', 'Firing'],
          ['resolved', 'Resolved'],
          ['muted', 'Muted'],
          ['all', 'All'],
        ],
        filter,
        (value) => setParams({ show: value === 'firing' ? '' : value, id: '' }),
      )}<span class="grow"></span
      ><span class="num dim" role="status"
        >${() => `${count(amount('firing'))} firing, ${count(amount('resolved'))} resolved`}</span
      >
    </header>
    ${view(source, (answer) => (shown().length === 0 ? quiet(answer, filter()) : null))}
    <div class="side" hidden=${() => shown().length === 0}>
      <div class="side-list wide">${list.node}</div>
      <div class="scroll">${() => (current() ? finding(current(), source.reload) : null)}</div>
    </div>
  </div>`;
}

/** @param {any} answer @param {string} filter */
function quiet(answer, filter) {
  if (answer.alerts.length === 0 && answer.empty === 'nothing received')
    return empty(answer.empty, { what: 'telemetry' });
  const words = filter === 'firing' ? 'Nothing is wrong as far as the rules see.' : `Nothing is ${filter}.`;
  return html`<div class="state">
    <span class="state-icon good">${icon('check', 20)}</span>
    <h2>All quiet</h2>
    <p>
      ${words} Two dozen lints watch what arrives: repeated statements, orphans, slow against before, secrets in
      attributes and more.
    </p>
  </div>`;
}

/** @param {string} severity */
function sign(severity) {
  return severity === 'critical' ? '✖' : severity === 'warning' ? '▲' : '●';
}

/** @param {any} one @param {string | undefined} current */
function row(one, current) {
  return html`<div class=${`finding is-${one.severity}${one.id === current ? ' is-current' : ''}`}>
    <span class="sign" aria-label=${one.severity}>${sign(one.severity)}</span>
    <div class="cut">
      <b class="cut">${one.title ?? one.rule}</b>
      <div class="meta">
        <span class="mono faint cut">${one.rule}</span
        >${one.state !== 'firing' ? chip(one.state, one.state === 'resolved' ? 'good' : '') : null}
      </div>
    </div>
    <div class="r"><span class="num">×${count(one.count)}</span><span class="num faint">${ago(one.last)}</span></div>
  </div>`;
}

/** @param {any} one @param {() => void} again */
function finding(one, again) {
  const steps = [one.fix].flat().filter(Boolean);
  const labels = Object.entries(one.labels ?? {});
  return html`<article class="finding-page">
    <header>
      <div class="meta">
        ${chip(`${sign(one.severity)} ${one.severity}`, one.severity)}${chip(one.state, one.state === 'resolved' ? 'good' : one.state === 'firing' ? 'bad' : '')}<span
          class="mono faint"
          >${one.rule}</span
        ><span class="faint">${one.source}</span>
      </div>
      <h2>${one.title ?? one.rule}</h2>
      <p>${one.text}</p>
    </header>
    ${
      steps.length
        ? html`<section>
            <h3>What to do</h3>
            <ol class="fix">
              ${steps.map((step) => html`<li>${step}</li>`)}
            </ol>
          </section>`
        : null
    }
    ${
      one.evidence?.length
        ? html`<section>
            <h3>Evidence</h3>
            <ul class="evidence">
              ${one.evidence.slice(0, 30).map(proof)}
            </ul>
          </section>`
        : null
    }
    <section>
      <h3>Times</h3>
      <dl class="facts">
        <div>
          <dt>First</dt>
          <dd class="num" title=${fullTime(one.first)}>${clock(one.first, true)}</dd>
        </div>
        <div>
          <dt>Last</dt>
          <dd class="num" title=${fullTime(one.last)}>${clock(one.last, true)}</dd>
        </div>
        <div>
          <dt>Count</dt>
          <dd class="num">${count(one.count)}</dd>
        </div>
      </dl>
    </section>
    ${
      labels.length
        ? html`<section>
            <h3>Labels</h3>
            <div class="chips">
              ${labels.map(([key, value]) => html`<span class="chip">${key}=${String(value)}</span>`)}
            </div>
          </section>`
        : null
    }
    ${muting(one, again)}
  </article>`;
}

/** @param {any} one @param {() => void} again */
function muting(one, again) {
  if (one.source === 'rule')
    return html`<section>
      <h3>Mute</h3>
      <p class="dim">Alerts of rules are silenced where they are made: <code>silences</code> in the configuration.</p>
    </section>`;
  if (one.state === 'muted')
    return html`<section>
      <h3>Muted</h3>
      <p class="dim">${one.labels?.mute_comment || 'It is counted and not shown among what fires.'}</p>
      <div class="row"><button class="button small" @click=${() => unmute(one, again)}>Show it again</button></div>
    </section>`;
  const comment = signal('');
  const times = /** @type {[string, string][]} */ ([
    ['1h', 'for an hour'],
    ['24h', 'for a day'],
    ['', 'for good'],
  ]);
  return html`<section>
    <h3>Mute</h3>
    <div class="row">
      <input
        class="field"
        placeholder="Why (optional)"
        aria-label="Why"
        @input=${(/** @type {any} */ event) => (comment.value = event.target.value)}
      />${times.map(([time, text]) => html`<button class="button small" @click=${() => mute(one, time, comment.peek(), again)}>${icon('mute', 14)}${text}</button>`)}
    </div>
  </section>`;
}

/** @param {any} one */
function proof(one) {
  const href = one.trace_id
    ? traceLink(one.trace_id, { span: one.span_id })
    : one.kind === 'metric'
      ? address('/metrics', { q: one.q })
      : one.kind === 'pipeline'
        ? address('/pipeline', {})
        : one.kind === 'log'
        ? address('/logs', { q: one.q })
        : one.kind === 'key'
          ? address('/keys', { find: one.q ?? one.text })
          : one.q
            ? address('/traces', { q: one.q })
            : null;
  const name =
    /** @type {Record<string, string>} */ ({
      trace: 'traces',
      span: 'traces',
      log: 'logs',
      metric: 'metrics',
      key: 'keys',
    })[one.kind] ?? 'link';
  const words = one.text || one.q || one.trace_id || one.kind;
  return html`<li>${icon(name, 14)}${href ? html`<a href=${href}>${words}</a>` : html`<span>${words}</span>`}</li>`;
}

/** @param {any} one @param {() => void} again */
async function unmute(one, again) {
  try {
    await post(`/alerts/${encodeURIComponent(one.id)}/unmute`, {});
    toast('It shows again');
    again();
  } catch (error) {
    toast(/** @type {Error} */ (error).message);
  }
}

/** @param {any} one @param {string} time @param {string} comment @param {() => void} again */
async function mute(one, time, comment, again) {
  try {
    await post(`/alerts/${encodeURIComponent(one.id)}/mute`, { for: time, comment });
    toast(time ? `Muted for ${time}` : 'Muted for good');
    again();
  } catch (error) {
    toast(/** @type {Error} */ (error).message);
  }
}
