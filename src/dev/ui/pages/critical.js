// @ts-check
/** The critical path: what the duration of a trace was spent on, piece by piece, and the share of each service. */

import { html } from '../lib/html.js';
import { get, resource } from '../lib/api.js';
import { go } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { hue } from '../lib/colour.js';
import { duration, percent, plural, relative } from '../lib/format.js';
import { panel, service, table, traceLink } from '../parts/small.js';
import { view } from '../parts/states.js';
import { traceHead } from '../trace/head.js';

/** @param {string} id */
export function page(id) {
  const about = resource((signal) => get(`/traces/${id}`, { limit: 1 }, signal));
  const source = resource((signal) => get(`/traces/${id}/critical-path`, {}, signal));
  keys('Critical path', [
    ['c Escape', 'back to the waterfall', () => go(traceLink(id))],
    ['f', 'flame', () => go(`${traceLink(id)}/flame`)],
  ]);
  return html`<div class="page">
    ${view(about, (answer) => traceHead(answer.trace, 'Critical path'), { lines: 2 })}
    <div class="scroll">
      ${view(source, (answer) => (about.data.value ? whole(answer, about.data.value.trace) : null))}
    </div>
  </div>`;
}

/** @param {any} answer @param {any} trace */
function whole(answer, trace) {
  const pieces = answer.path.map((/** @type {any} */ piece) => {
    const [from, to] = [relative(piece.from, trace.start), relative(piece.to, trace.start)];
    return { ...piece, from, to, length: to - from };
  });
  const total = pieces.reduce((/** @type {number} */ sum, /** @type {any} */ piece) => sum + piece.length, 0) || 1;
  const share = (/** @type {any} */ one) => Number(one.duration) / total;
  const longest = Math.max(...pieces.map((/** @type {any} */ piece) => piece.length), 1);
  return html`<div class="grid">
    ${panel(
      'Where the time went',
      html`<div class="pad">
        <div
          class="strip"
          role="img"
          aria-label=${answer.share.map((/** @type {any} */ one) => `${one.service} ${percent(share(one))}`).join(', ')}
        >
          ${pieces.map((/** @type {any} */ piece) => html`<a class=${`h${hue(piece.service)}`} href=${traceLink(trace.trace_id, { span: piece.span_id })} title=${`${piece.name}, ${piece.service}: ${duration(piece.length)}`} style=${{ 'flex-grow': Math.max(piece.length / total, 0.0005) }}></a>`)}
        </div>
        <ul class="shares">
          ${answer.share.map((/** @type {any} */ one) => html`<li>${service(one.service)}<b class="num">${percent(share(one))}</b><span class="num dim">${duration(one.duration)}</span></li>`)}
        </ul>
      </div>`,
      html`<span class="num dim">${duration(total)} on ${plural(pieces.length, 'piece')}</span>`,
    )}
    ${panel(
      'Piece by piece',
      table(
        [
          { head: 'Starts at', kind: 'r', cell: (piece) => duration(piece.from) },
          {
            head: 'Span',
            wide: true,
            cell: (piece) =>
              html`<a class="row-link" href=${traceLink(trace.trace_id, { span: piece.span_id })}>${piece.name}</a>`,
          },
          { head: 'Service', cell: (piece) => service(piece.service) },
          { head: 'Takes', kind: 'r', cell: (piece) => duration(piece.length) },
          {
            head: '',
            cell: (piece) =>
              html`<span class="meter-bar"><i style=${{ width: `${(piece.length / longest) * 100}%` }}></i></span>`,
          },
          { head: 'Share', kind: 'r', cell: (piece) => percent(piece.length / total) },
        ],
        pieces,
        { label: 'Critical path' },
      ),
    )}
  </div>`;
}
