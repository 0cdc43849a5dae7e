// @ts-check
/**
 * A list of any length of which only the rows in view exist. Rows have one height; the list has the focus and points at
 * its active row, so that rows may come and go without losing it. Arrow keys, j k, Home, End, Enter.
 */

import { effect, onCleanup, signal } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { keys } from '../lib/keys.js';

let lists = 0;

/**
 * @param {object} how
 * @param {() => number} how.count watched
 * @param {number} how.height of a row in pixels
 * @param {(at: number) => Element} how.row
 * @param {string} how.label
 * @param {any} [how.head] the names of the columns
 * @param {(at: number) => void} [how.open]
 * @param {(at: number) => void} [how.move] the active row changed
 * @param {() => void} [how.nearEnd] the last rows are in view
 * @param {string} [how.className]
 */
export function vlist(how) {
  const id = `list${(lists += 1)}`;
  const active = signal(-1);
  /** @type {Map<number, Element>} */
  let shown = new Map();
  const body = html`<div class="vbody" role="presentation"></div>`;
  const scroller = html`<div
    class="vscroll"
    tabindex="0"
    role="grid"
    aria-label=${how.label}
    @scroll=${() => drawSoon()}
  >
    ${body}
  </div>`;
  const node = html`<div class=${`vlist ${how.className ?? ''}`}>
    ${how.head ? html`<div class="vhead" aria-hidden="true">${how.head}</div>` : null}${scroller}
  </div>`;

  let drawing = 0;
  function drawSoon() {
    drawing ||= requestAnimationFrame(() => {
      drawing = 0;
      draw();
    });
  }
  onCleanup(() => cancelAnimationFrame(drawing));

  function draw() {
    const total = how.count();
    const first = Math.max(0, Math.floor(scroller.scrollTop / how.height) - 6);
    const last = Math.min(total, Math.ceil((scroller.scrollTop + (scroller.clientHeight || 800)) / how.height) + 6);
    const kept = new Map();
    for (let at = first; at < last; at += 1) {
      let row = shown.get(at);
      if (!row) {
        row = how.row(at);
        row.classList.add('vrow');
        row.id = `${id}-${at}`;
        row.setAttribute('role', 'row');
        row.setAttribute('aria-rowindex', String(at + 1));
        for (const cell of row.children) if (!cell.hasAttribute('role')) cell.setAttribute('role', 'gridcell');
        /** @type {HTMLElement} */ (row).style.transform = `translateY(${at * how.height}px)`;
        row.addEventListener('click', () => {
          select(at);
          scroller.focus({ preventScroll: true });
        });
        if (how.open) row.addEventListener('dblclick', () => how.open?.(at));
        body.append(row);
      }
      row.toggleAttribute('data-active', at === active.peek());
      kept.set(at, row);
    }
    for (const [at, row] of shown) if (!kept.has(at)) row.remove();
    shown = kept;
    if (how.nearEnd && last >= total - 5 && total > 0) how.nearEnd();
  }

  /** Draws all rows anew: their content changed. */
  function refresh() {
    for (const row of shown.values()) row.remove();
    shown = new Map();
    draw();
  }

  /** @param {number} at */
  function select(at) {
    const total = how.count();
    const next = total === 0 ? -1 : Math.max(-1, Math.min(total - 1, at));
    active.value = next;
    if (next >= 0) {
      scroller.setAttribute('aria-activedescendant', `${id}-${next}`);
      show(next);
    } else scroller.removeAttribute('aria-activedescendant');
    draw();
    how.move?.(next);
  }

  /** @param {number} at */
  function show(at) {
    const top = at * how.height;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + how.height > scroller.scrollTop + scroller.clientHeight)
      scroller.scrollTop = top + how.height - scroller.clientHeight;
  }

  const page = () => Math.max(1, Math.floor(scroller.clientHeight / how.height) - 1);
  keys('List', [
    ['j ArrowDown', 'next row', () => select(active.peek() + 1)],
    ['k ArrowUp', 'previous row', () => select(Math.max(0, active.peek() - 1))],
    ['PageDown', 'a page down', () => select(active.peek() + page())],
    ['PageUp', 'a page up', () => select(Math.max(0, active.peek() - page()))],
    ['Home', 'first row', () => select(0)],
    ['End', 'last row', () => select(how.count() - 1)],
    ['Enter', 'open', () => (active.peek() >= 0 && how.open ? how.open(active.peek()) : false)],
  ]);

  effect(() => {
    const total = how.count();
    body.style.height = `${total * how.height}px`;
    scroller.setAttribute('aria-rowcount', String(total));
    refresh();
  });
  const observer = new ResizeObserver(() => drawSoon());
  observer.observe(scroller);
  onCleanup(() => observer.disconnect());

  // A pointer that moves over rows reads them; one that rests does not.
  let pointed = -Infinity;
  scroller.addEventListener('pointermove', () => (pointed = performance.now()));
  scroller.addEventListener('pointerleave', () => (pointed = -Infinity));
  /** Whether someone reads: a row is active, the list is scrolled, or the pointer moves over it. */
  const isRead = () => scroller.scrollTop >= how.height || active.peek() >= 0 || performance.now() - pointed < 2500;

  return { node, scroller, active, select, refresh, isRead };
}
