// @ts-check
/** What stands where data will be: while loading, when there is none (and why), when it could not be had. */

import { html } from '../lib/html.js';
import { clock, plural } from '../lib/format.js';
import { setParams } from '../lib/router.js';
import { copyable } from './small.js';
import { icon, mark } from './icons.js';

/**
 * Shows a resource: its last good data if there is any, else a skeleton or what went wrong. @template T
 * @param {import('../lib/api.js').Resource<T>} source @param {(data: T) => any} show @param {{ lines?: number }} [how]
 */
export function view(source, show, how = {}) {
  return () => {
    const data = source.data.value;
    keepFocus();
    if (data !== null) return show(data);
    const error = source.error.value;
    return error ? failure(error, source.reload) : skeleton(how.lines);
  };
}

/** What had the focus is drawn anew: its successor gets it, found by what it is and where it leads. */
function keepFocus() {
  const before = document.activeElement;
  if (!before || before === document.body) return;
  const nameOf = (/** @type {Element} */ node) =>
    node.getAttribute('data-key') ?? node.getAttribute('href') ?? node.getAttribute('aria-label');
  const name = nameOf(before);
  if (!name) return;
  queueMicrotask(() => {
    if (before.isConnected) return;
    const after = [...document.querySelectorAll(before.tagName)].find((node) => nameOf(node) === name);
    if (after instanceof HTMLElement || after instanceof SVGElement) after.focus({ preventScroll: true });
  });
}

/** Grey bars in the place of rows; they appear late, so that a quick answer causes no flicker. @param {number} [lines] */
export function skeleton(lines = 8) {
  return html`<div class="skeleton" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, (_, at) => html`<i style=${{ width: `${88 - ((at * 37) % 45)}%` }}></i>`)}
  </div>`;
}

/** @param {{ message: string, suggestion?: string }} error @param {() => void} [again] */
export function failure(error, again) {
  return html`<div class="state" role="alert">
    <span class="state-icon bad">${icon('alerts', 20)}</span>
    <h2>This could not be read</h2>
    <p>${error.message}</p>
    ${error.suggestion ? html`<p class="dim">${error.suggestion}</p>` : null}
    ${again ? html`<button class="button" @click=${again}>Try again</button>` : null}
  </div>`;
}

/**
 * Why a list is empty, in the words of the agent's answer. @param {string | undefined | null} why
 * @param {{ what?: string, endpoint?: string, hint?: any }} [more]
 */
export function empty(why, more = {}) {
  const what = more.what ?? 'records';
  if (why === 'filtered') {
    return html`<div class="state">
      <span class="state-icon">${icon('search', 20)}</span>
      <h2>Nothing matches</h2>
      <p>There are ${what} here, but none that this query lets through.</p>
      <button class="button" @click=${() => setParams({ q: '' })}>Clear the query</button>
    </div>`;
  }
  if (why === 'outside the window') {
    return html`<div class="state">
      <span class="state-icon">${icon('search', 20)}</span>
      <h2>Nothing in this time</h2>
      <p>There are ${what} in the store, all outside the window shown.</p>
      <button class="button" @click=${() => setParams({ from: '', to: '' })}>Show the whole store</button>
    </div>`;
  }
  if (why?.startsWith('pruned')) {
    return html`<div class="state">
      <span class="state-icon">${icon('trash', 20)}</span>
      <h2>No longer here</h2>
      <p>These ${what} were ${why}.</p>
    </div>`;
  }
  if (why && why !== 'nothing received')
    return html`<div class="state">
      <span class="state-icon">${mark()}</span>
      <p>${why}</p>
    </div>`;
  return more.hint
    ? html`<div class="state"><span class="state-icon">${mark()}</span>${more.hint}</div>`
    : firstSteps(what, more.endpoint);
}

/** @param {string} what @param {string} [endpoint] */
function firstSteps(what, endpoint = 'http://localhost:4318') {
  return html`<div class="state">
    <span class="state-icon">${mark()}</span>
    <h2>Waiting for the first ${what}</h2>
    <p>Point any OpenTelemetry SDK here; they appear the moment they arrive.</p>
    <dl class="steps">
      <dt>Run your program with everything set</dt>
      <dd>${copyable('radiosonde dev -- npm start')}</dd>
      <dt>Or set it yourself: gRPC and HTTP, on either port</dt>
      <dd>${copyable(`OTEL_EXPORTER_OTLP_ENDPOINT=${endpoint}`)}</dd>
      <dt>Or send one record to try it</dt>
      <dd>${copyable('radiosonde send')}</dd>
    </dl>
  </div>`;
}

/** What was removed from the store within the window that is shown. @param {any[] | undefined} tombstones */
export function pruned(tombstones) {
  if (!tombstones?.length) return null;
  const newest = tombstones[tombstones.length - 1];
  const lost = tombstones.reduce(
    (sum, stone) => sum + (stone.spans ?? 0) + (stone.metric_points ?? 0) + (stone.log_records ?? 0),
    0,
  );
  const reason =
    /** @type {Record<string, string>} */ ({
      cap: 'to stay within the memory limit',
      age: 'because of their age',
      clear: 'when the store was cleared',
    })[newest.reason] ?? newest.reason;
  return html`<div class="notice" role="note">
    ${icon('trash', 14)}<span
      >${plural(lost, 'record')} of this window ${lost === 1 ? 'was' : 'were'} removed ${reason}, last at
      ${clock(newest.at, true)}.</span
    >
  </div>`;
}
