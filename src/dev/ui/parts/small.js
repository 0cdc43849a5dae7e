// @ts-check
/** The small parts that every page uses: chips, durations, copying, short messages, tabs, sections. */

import { html } from '../lib/html.js';
import { signal } from '../lib/signals.js';
import { clock, count, duration, fullTime } from '../lib/format.js';
import { hue } from '../lib/colour.js';
import { address } from '../lib/router.js';
import { icon } from './icons.js';

/** @param {string | null | undefined} name */
export function service(name) {
  return html`<span class=${`service h${hue(name)}`}><i></i><span class="cut">${name || 'unknown'}</span></span>`;
}

/** Only the dots, where there is little room. @param {string[]} names */
export function services(names) {
  const shown = names.slice(0, 6);
  return html`<span class="dots" title=${names.join(', ')} aria-label=${`services: ${names.join(', ')}`} role="img"
    >${shown.map((name) => html`<i class=${`dot h${hue(name)}`}></i>`)}${names.length > 6 ? `+${names.length - 6}` : null}</span
  >`;
}

/** @param {string | null | undefined} nanoseconds @param {boolean} [seconds] */
export function time(nanoseconds, seconds = false) {
  return html`<time class="num" title=${fullTime(nanoseconds)}>${clock(nanoseconds, seconds)}</time>`;
}

/** @param {number} errors */
export function errors(errors) {
  return errors > 0
    ? html`<span class="num bad" aria-label=${`${errors} errors`}>✖ ${count(errors)}</span>`
    : html`<span class="num faint" aria-label="no errors">·</span>`;
}

/** A bar whose length is a share of the greatest. @param {number} value @param {number} greatest @param {{ text?: string, bad?: boolean }} [how] */
export function bar(value, greatest, how = {}) {
  const share = greatest > 0 ? Math.max(0.006, Math.min(1, value / greatest)) : 0;
  return html`<span class=${`bar${how.bad ? ' is-bad' : ''}${value > greatest ? ' is-beyond' : ''}`}
    ><b class="num">${how.text ?? duration(value)}</b><span><i style=${{ width: `${share * 100}%` }}></i></span
  ></span>`;
}

/** @param {string} text @param {string} [kind] */
export function chip(text, kind = '') {
  return html`<span class=${`chip ${kind}`}>${text}</span>`;
}

const message = signal('');
/** @type {ReturnType<typeof setTimeout> | undefined} */
let fading;

/** Says something for a moment. @param {string} text */
export function toast(text) {
  message.value = text;
  clearTimeout(fading);
  fading = setTimeout(() => (message.value = ''), 2200);
}

/** Where `toast` speaks. */
export function toasts() {
  return html`<div class="toast" role="status" aria-live="polite" data-on=${() => message.value !== ''}>
    ${() => message.value}
  </div>`;
}

/** @param {string} text @param {string} [what] */
export async function copy(text, what = 'Copied') {
  try {
    await navigator.clipboard.writeText(text);
    toast(what);
  } catch {
    // Without the permission: select it in a field that the user can copy from.
    const field = document.createElement('textarea');
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    toast(done ? what : 'The browser does not let this page copy.');
  }
}

/** @param {string} text */
export function copyable(text) {
  return html`<span class="copyable"
    ><code>${text}</code
    ><button class="ghost" title="Copy" aria-label=${`Copy ${text}`} @click=${() => copy(text)}>
      ${icon('copy', 14)}
    </button></span
  >`;
}

/**
 * Tabs as links, since which one is open is part of the address.
 * @param {string} label @param {{ name: string, href: string, key?: string, count?: number | null }[]} all @param {string} current
 */
export function tabs(label, all, current) {
  return html`<nav class="tabs" aria-label=${label}>
    ${all.map((tab) => html`<a href=${tab.href} aria-current=${tab.name === current ? 'page' : false} title=${tab.key ? `Key: ${tab.key}` : false}>${tab.name}${tab.count ? html`<small class="num">${count(tab.count)}</small>` : null}</a>`)}
  </nav>`;
}

/**
 * A choice among few. @param {string} label @param {[value: string, text: string][]} choices @param {() => string} current @param {(value: string) => void} choose
 */
export function choice(label, choices, current, choose) {
  return html`<div class="choice" role="group" aria-label=${label}>
    ${choices.map(([value, text]) => html`<button aria-pressed=${() => String(current() === value)} @click=${() => choose(value)}>${text}</button>`)}
  </div>`;
}

/** What may be taken away of what is shown: files that the agent writes. @param {Record<string, string>} params @param {[format: string, text: string][]} formats */
export function downloads(params, formats) {
  return html`<details class="menu">
    <summary class="ghost" aria-label="Export" title="Export">${icon('download', 14)}</summary>
    <div class="menu-list">
      ${formats.map(([format, text]) => html`<a download="" href=${address('/api/v1/export', { ...params, format })}>${text}</a>`)}
    </div>
  </details>`;
}

/** A term of the query language that matches exactly one value. @param {string} key @param {string} value */
export function term(key, value) {
  return `${/^[\w.\-/]+$/.test(key) ? key : quoted(key)}=${/^[\w.\-/]+$/.test(value) ? value : quoted(value)}`;
}

/** @param {string} text */
export function quoted(text) {
  return `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"')}"`;
}

/** @param {string} id @param {Record<string, any>} [params] */
export function traceLink(id, params = {}) {
  return address(`/trace/${id}`, params);
}

/** A heading, figures beside it and what belongs to it. @param {any} title @param {any} body @param {any} [aside] */
export function panel(title, body, aside = null) {
  return html`<section class="panel">
    <header>
      <h2>${title}</h2>
      ${aside}
    </header>
    ${body}
  </section>`;
}

/** Figures with their names. @param {[name: string, value: any, kind?: string][]} all */
export function figures(all) {
  return html`<dl class="figures">
    ${all.map(
      ([name, value, kind]) =>
        html`<div class=${kind ?? ''}>
          <dt>${name}</dt>
          <dd class="num">${value}</dd>
        </div>`,
    )}
  </dl>`;
}

/**
 * A plain table. @template T
 * @param {{ head: any, cell: (row: T) => any, kind?: string, wide?: boolean }[]} columns @param {T[]} rows
 * @param {{ label: string, open?: (row: T) => string | null, className?: string, limit?: number }} how
 */
export function table(columns, rows, how) {
  const limit = how.limit ?? 500;
  return html`<div class=${`table-wrap ${how.className ?? ''}`}>
    <table class="table" aria-label=${how.label}>
      <thead>
        <tr>
          ${columns.map((column) => html`<th class=${`${column.kind ?? ''}${column.wide ? ' wide' : ''}`} scope="col">${column.head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.slice(0, limit).map(
          (row) =>
            html`<tr>
              ${columns.map((column, at) => cell(column, row, at, how))}
            </tr>`,
        )}
      </tbody>
    </table>
    ${rows.length > limit ? html`<p class="dim pad">${count(rows.length - limit)} more are not shown.</p>` : null}
  </div>`;
}

/** @param {any} column @param {any} row @param {number} at @param {any} how */
function cell(column, row, at, how) {
  const content = column.cell(row);
  const href = at === 0 ? how.open?.(row) : null;
  return html`<td class=${`${column.kind ?? ''}${column.wide ? ' wide' : ''}`}>
    ${href ? html`<a class="row-link" href=${href}>${content}</a>` : content}
  </td>`;
}
