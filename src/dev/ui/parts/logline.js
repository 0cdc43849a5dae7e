// @ts-check
/** One log record on a line. */

import { html } from '../lib/html.js';
import { clock } from '../lib/format.js';
import { address } from '../lib/router.js';
import { hue } from '../lib/colour.js';

/** @param {string | undefined} level */
export function level(level) {
  const name = (level ?? 'info').toLowerCase();
  return html`<span class=${`level is-${name}`}
    >${name === 'error' || name === 'fatal' ? `✖ ${name}` : name === 'warn' ? '▲ warn' : name}</span
  >`;
}

/** @param {any} log */
export function logLine(log) {
  return html`<a class="log-line" href=${address('/logs', { id: log.id, trace: log.trace_id })}
    ><span class="num faint">${clock(log.time)}</span>${level(log.severity?.level)}<i
      class=${`dot h${hue(log.service)}`}
    ></i
    ><span class="cut">${firstLine(log)}</span></a
  >`;
}

/** @param {any} log */
export function firstLine(log) {
  const text = log.body || log.event_name || '(empty)';
  const end = text.indexOf('\n');
  return (end >= 0 ? text.slice(0, end) : text).slice(0, 500);
}
