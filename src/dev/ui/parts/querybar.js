// @ts-check
/** The query field with completion of keys and values, and the window of time. */

import { effect, signal } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { ApiError, get } from '../lib/api.js';
import { param, setParams } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { count } from '../lib/format.js';
import { icon } from './icons.js';

const WINDOWS = /** @type {[string, string][]} */ ([
  ['', 'All'],
  ['-5m', '5 min'],
  ['-15m', '15 min'],
  ['-1h', '1 h'],
  ['-24h', '24 h'],
]);

let fields = 0;

/**
 * @param {{ placeholder?: string, error?: () => ApiError | null, name?: string, signal?: string }} [how]
 */
export function queryBar(how = {}) {
  const name = how.name ?? 'q';
  const id = `query${(fields += 1)}`;
  const text = signal(param(name));
  const items = signal(/** @type {{ text: string, kind: string, count?: number }[]} */ ([]));
  const chosen = signal(-1);
  let range = [0, 0];
  let asked = 0;

  const input = /** @type {HTMLInputElement} */ (
    html`<input
      type="text"
      class="query"
      role="combobox"
      aria-label="Query"
      aria-autocomplete="list"
      aria-controls=${id}
      aria-expanded=${() => String(items.value.length > 0)}
      aria-activedescendant=${() => (chosen.value >= 0 ? `${id}-${chosen.value}` : false)}
      autocomplete="off"
      autocapitalize="off"
      spellcheck="false"
      placeholder=${how.placeholder ?? 'service=cart status=error duration>100ms "card declined"'}
      .value=${param(name)}
      @input=${onInput}
      @keydown=${onKey}
      @focus=${() => complete()}
      @blur=${() => setTimeout(close, 120)}
    />`
  );

  // The address may change elsewhere: a link, the history.
  effect(() => {
    const now = param(name);
    if (document.activeElement !== input && input.value !== now) text.value = input.value = now;
  });

  function onInput() {
    text.value = input.value;
    complete();
  }

  async function complete() {
    const own = (asked += 1);
    try {
      const answer = await get('/complete', {
        q: input.value || ' ',
        pos: input.selectionStart ?? input.value.length,
        signal: how.signal,
      });
      if (own !== asked || document.activeElement !== input) return;
      range = [answer.from ?? 0, answer.to ?? input.value.length];
      const typed = input.value.slice(range[0], range[1]);
      items.value = (answer.items ?? []).filter((/** @type {any} */ item) => item.text !== typed).slice(0, 10);
      chosen.value = -1;
    } catch {
      if (own === asked) close();
    }
  }

  function close() {
    items.value = [];
    chosen.value = -1;
  }

  /** @param {{ text: string, kind: string }} item */
  function take(item) {
    const value = input.value;
    const after = item.kind === 'value' ? ' ' : '';
    input.value = `${value.slice(0, range[0])}${item.text}${after}${value.slice(range[1])}`;
    const caret = range[0] + item.text.length + after.length;
    input.setSelectionRange(caret, caret);
    input.focus();
    onInput();
  }

  function submit() {
    asked += 1;
    close();
    setParams({ [name]: input.value.trim(), cursor: '', sel: '' });
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const all = items.peek();
    if (event.key === 'ArrowDown' && all.length) chosen.value = (chosen.peek() + 1) % all.length;
    else if (event.key === 'ArrowUp' && all.length) chosen.value = (chosen.peek() - 1 + all.length) % all.length;
    else if (event.key === 'Tab' && all.length && !event.shiftKey) take(all[Math.max(0, chosen.peek())]);
    else if (event.key === 'Enter') {
      if (chosen.peek() >= 0) take(all[chosen.peek()]);
      else submit();
    } else if (event.key === 'Escape') {
      if (all.length) close();
      else input.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  keys('Query', [['/', 'search', () => (input.focus(), input.select())]]);

  const problem = () => {
    const error = how.error?.();
    if (!error || error.status !== 400) return null;
    const at = error.position;
    return html`<div class="query-error" role="alert">
      <code
        >${at !== undefined ? [text.value.slice(0, at), html`<mark>${text.value.slice(at, at + 1) || ' '}</mark>`, text.value.slice(at + 1)] : null}</code
      >
      <span>${error.message}</span>${error.suggestion ? html`<span class="dim">${error.suggestion}</span>` : null}
    </div>`;
  };

  return html`<div class="querybar">
    <div class="query-field">
      ${icon('search', 14)}${input}
      ${() => (text.value ? html`<button class="ghost" title="Clear" aria-label="Clear the query" @click=${() => ((text.value = input.value = ''), submit())}>${icon('close', 12)}</button>` : html`<kbd>/</kbd>`)}
      <ul class="complete" id=${id} role="listbox" aria-label="Completions" hidden=${() => items.value.length === 0}>
        ${() =>
          items.value.map(
            (item, at) =>
              html`<li
                id=${`${id}-${at}`}
                role="option"
                aria-selected=${() => String(chosen.value === at)}
                @mousedown=${(/** @type {Event} */ event) => (event.preventDefault(), take(item))}
              >
                <span class=${`kind ${item.kind}`}></span
                ><code>${item.text}</code>${item.count ? html`<small class="num">${count(item.count)}</small>` : null}
              </li>`,
          )}
      </ul>
    </div>
    ${problem}
  </div>`;
}

/** The window: fixed spans back from now, or the one chosen in a chart. */
export function timeWindow() {
  return html`<div class="choice" role="group" aria-label="Time">
    ${WINDOWS.map(([from, text]) => html`<button aria-pressed=${() => String(param('from') === from && !param('to'))} @click=${() => setParams({ from, to: '', cursor: '' })}>${text}</button>`)}${() =>
      param('to')
        ? html`<button
            aria-pressed="true"
            title="Back to the whole store"
            @click=${() => setParams({ from: '', to: '' })}
          >
            chosen ${icon('close', 10)}
          </button>`
        : null}
  </div>`;
}

/** The parameters that every list takes from the address. */
export function windowParams() {
  return { q: param('q'), from: param('from'), to: param('to') };
}
