// @ts-check
/** A value as a tree: short ones on one line, branches that open, bounded in depth and number. */

import { html } from '../lib/html.js';

const WIDEST = 200;
const DEEPEST = 24;

/** @param {any} value @param {number} [depth] @returns {any} */
export function json(value, depth = 0) {
  if (value === null || typeof value !== 'object') return leaf(value);
  const line = oneLine(value);
  if (line.length <= 60) return html`<code class="json">${line}</code>`;
  if (depth >= DEEPEST) return html`<code class="json dim">${line.slice(0, 200)}…</code>`;
  const entries = Array.isArray(value)
    ? value.map((one, at) => /** @type {[string, any]} */ ([String(at), one]))
    : Object.entries(value);
  const body = html`<ul></ul>`;
  const branch = /** @type {HTMLDetailsElement} */ (
    html`<details class="json-tree">
      <summary>
        <code>${Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`}</code
        ><span class="faint">${line.slice(0, 80)}</span>
      </summary>
      ${body}
    </details>`
  );
  // Branches are made when they are opened: a large document costs what is looked at.
  const open = () => {
    if (!branch.open || body.childNodes.length > 0) return;
    body.append(
      ...entries
        .slice(0, WIDEST)
        .map(([name, one]) => html`<li><span class="key">${name}</span>${json(one, depth + 1)}</li>`),
    );
    if (entries.length > WIDEST) body.append(html`<li class="dim">${entries.length - WIDEST} more</li>`);
  };
  branch.addEventListener('toggle', open);
  if (depth === 0 && entries.length <= 20) {
    branch.open = true;
    open();
  }
  return branch;
}

/** @param {any} value */
function oneLine(value) {
  try {
    return JSON.stringify(value) ?? '';
  } catch {
    return '…';
  }
}

/** @param {any} value */
function leaf(value) {
  const text = typeof value === 'string' ? value : String(value);
  return html`<code class=${`json is-${value === null ? 'none' : typeof value}`}
    >${text.length > 20_000 ? `${text.slice(0, 20_000)}…` : text}</code
  >`;
}
