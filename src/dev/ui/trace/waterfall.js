// @ts-check
/**
 * The waterfall: a scrolled canvas that draws only the rows in view, so that the size of a trace does not matter. Beside
 * it stands a tree of elements for those who do not see it, with the same rows, which is also what the table shows.
 */

import { computed, effect, onCleanup, signal, untracked } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { get } from '../lib/api.js';
import { param, setParams } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { themeVersion } from '../lib/colour.js';
import { count, duration } from '../lib/format.js';
import { icon } from '../parts/icons.js';
import { drawAxis, drawMinimap, drawRows, indentOf, momentAt, penOf, ROW } from './draw.js';

// Browsers stop at about 17 million pixels; beyond, the scroll bar stands for a share of the rows.
const TALLEST = 12_000_000;

/** @param {import('./rows.js').Rows} rows @param {(row: any | null) => void} choose the active row changed */
export function waterfall(rows, choose) {
  const active = signal(-1);
  const hover = signal(-1);
  const cursor = signal(/** @type {number | null} */ (null));
  const found = signal(/** @type {number[]} */ ([]));
  const matches = computed(() => new Set(found.value));
  const tree = signal(initialTree());
  const scrolled = signal(0);
  const size = signal({ width: 0, height: 0 });
  const font = getComputedStyle(document.body).fontFamily;
  const length = () => Math.max(1, Number(rows.about.value?.trace.duration ?? 1));
  const start = () => rows.about.value?.trace.start ?? '0';

  /** The part of the trace that is shown. */
  const zoom = computed(
    () => {
      const [from, to] = param('z').split('-').map(Number);
      return Number.isFinite(from) && to > from
        ? { from: Math.max(0, from), to: Math.min(to, length()) }
        : { from: 0, to: length() };
    },
    (a, b) => a.from === b.from && a.to === b.to,
  );
  /** @param {number} from @param {number} to */
  const show = (from, to) => {
    const [least, most] = [0, length()];
    const wide = Math.max(10, Math.min(most, to - from));
    const left = Math.max(least, Math.min(most - wide, from));
    setParams({ z: wide >= most * 0.999 ? '' : `${Math.round(left)}-${Math.round(left + wide)}` }, { replace: true });
  };
  /** @param {number} factor @param {number} [around] */
  const scale = (factor, around) => {
    const { from, to } = zoom.peek();
    const middle = around ?? (from + to) / 2;
    show(middle - (middle - from) * factor, middle + (to - middle) * factor);
  };

  const canvas = /** @type {HTMLCanvasElement} */ (html`<canvas class="rows" aria-hidden="true"></canvas>`);
  const axis = /** @type {HTMLCanvasElement} */ (html`<canvas class="axis" aria-hidden="true"></canvas>`);
  const map = /** @type {HTMLCanvasElement} */ (html`<canvas class="minimap" aria-hidden="true"></canvas>`);
  const spacer = html`<div class="spacer"></div>`;
  const mirror = html`<div class="mirror" role="presentation"></div>`;
  const scroller = html`<div
    class="waterfall-scroll"
    tabindex="0"
    role="treegrid"
    aria-label="Spans"
    @scroll=${() => (scrolled.value = scroller.scrollTop)}
  >
    ${canvas}${spacer}${mirror}
  </div>`;
  const grip = html`<div
    class="grip"
    role="separator"
    aria-orientation="vertical"
    aria-label="Width of the names"
    tabindex="-1"
  ></div>`;

  const places = () => {
    rows.version.value;
    return rows.visible();
  };
  const tall = () => Math.min(TALLEST, places() * ROW);
  /** The first pixel shown, in rows of full height. */
  const offset = () => {
    const total = places() * ROW;
    if (total <= TALLEST) return scrolled.value;
    const most = Math.max(1, TALLEST - size.value.height);
    return (scrolled.value / most) * (total - size.value.height);
  };

  effect(() => {
    spacer.style.height = `${tall() + 8}px`;
    scroller.setAttribute('aria-rowcount', String(places()));
  });

  const scene = () => {
    const first = Math.max(0, Math.floor(offset() / ROW));
    const last = Math.min(places(), Math.ceil((offset() + size.value.height) / ROW));
    const list = [];
    for (let place = first; place < last; place += 1) {
      const at = rows.rowAt(place);
      list.push({ at, row: rows.get(at), closed: rows.isClosed(at) });
    }
    if (last < places()) rows.get(rows.rowAt(Math.min(places() - 1, last + 120)));
    return { first, list, shift: offset() - first * ROW };
  };

  let pending = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let idle;
  effect(() => {
    places();
    size.value;
    scrolled.value;
    active.value;
    hover.value;
    cursor.value;
    matches.value;
    tree.value;
    zoom.value;
    themeVersion.value;
    pending ||= requestAnimationFrame(() => {
      pending = 0;
      untracked(draw);
    });
  });

  function draw() {
    const { width, height } = size.value;
    if (!width) return;
    canvas.style.height = `${height}px`;
    const { first, list, shift } = scene();
    const base = {
      width,
      height,
      tree: tree.value,
      ...zoom.value,
      start: start(),
      shift,
      rows: list,
      active: active.value,
      hover: hover.value,
      matches: matches.value,
      cursor: cursor.value,
      outlives,
      font,
    };
    drawRows({ ...base, pen: penOf(canvas) });
    drawAxis({ ...base, pen: penOf(axis), height: axis.clientHeight });
    clearTimeout(idle);
    idle = setTimeout(() => drawMirror(first, list), 140);
  }

  /** The same rows as elements. @param {number} first @param {{ at: number, row: any, closed: boolean }[]} list */
  function drawMirror(first, list) {
    mirror.replaceChildren(
      ...list
        .filter(({ row }) => row)
        .map(
          ({ at, row, closed }, index) =>
            html`<div
              role="row"
              id=${`span-${at}`}
              aria-level=${row.depth + 1}
              aria-rowindex=${first + index + 1}
              aria-expanded=${row.descendants > 0 ? String(!closed) : false}
              aria-selected=${String(at === active.peek())}
            >
              <span role="gridcell">${`${row.name}, ${row.service}${row.status === 'error' ? ', error' : ''}`}</span
              ><span role="gridcell">${`${duration(row.duration)}, starts at ${duration(row.start)}`}</span>
            </div>`,
        ),
    );
    if (active.peek() >= 0) scroller.setAttribute('aria-activedescendant', `span-${active.peek()}`);
    else scroller.removeAttribute('aria-activedescendant');
  }

  /** When the last of what a closed row hides ended, as far as it was read. @param {number} at */
  function outlives(at) {
    const row = rows.get(at);
    if (row?.subtree_end !== undefined) return Number(row.subtree_end);
    let end = -1;
    for (let next = at + 1; next <= at + Math.min(row?.descendants ?? 0, 2000); next += 1) {
      const child = rows.chunks.get(Math.floor(next / 500))?.[next % 500];
      if (child) end = Math.max(end, Number(child.start) + Number(child.duration));
    }
    return end < 0 ? null : end;
  }

  const observer = new ResizeObserver(
    () => (size.value = { width: scroller.clientWidth, height: scroller.clientHeight }),
  );
  observer.observe(scroller);
  onCleanup(() => {
    observer.disconnect();
    cancelAnimationFrame(pending);
    clearTimeout(idle);
  });

  /** @param {number} at a row @param {{ quiet?: boolean, centre?: boolean }} [how] */
  function select(at, how = {}) {
    if (at < 0 || at >= rows.total) return;
    active.value = at;
    bring(rows.placeOf(at), how.centre);
    const row = rows.get(at);
    if (!how.quiet && row) choose(row);
    if (!row) {
      // Not read yet: told when it comes.
      void rows
        .ensure(at, at + 1)
        .then(() => !how.quiet && active.peek() === at && rows.get(at) && choose(rows.get(at)));
    }
  }

  /** @param {number} place @param {boolean} [centre] */
  function bring(place, centre = false) {
    const { height } = size.peek();
    const total = rows.visible() * ROW;
    const top = untracked(offset);
    const wanted = place * ROW;
    let next = top;
    if (centre && (wanted < top || wanted + ROW > top + height)) next = wanted - height / 2;
    else if (wanted < top) next = wanted;
    else if (wanted + ROW > top + height - 10) next = wanted + ROW - height + 10;
    if (next !== top) scroller.scrollTop = total <= TALLEST ? next : (next / (total - height)) * (TALLEST - height);
  }

  const step = (/** @type {number} */ by) => {
    const place = active.peek() < 0 ? (by > 0 ? -1 : 0) : rows.placeOf(active.peek());
    select(rows.rowAt(Math.max(0, Math.min(rows.visible() - 1, place + by))));
  };
  const parentOf = (/** @type {number} */ at) => {
    const row = rows.get(at);
    for (let up = at - 1; up >= 0 && up > at - 5000; up -= 1) {
      const other = rows.get(up);
      if (other && row && other.depth < row.depth) return up;
    }
    return at;
  };

  keys('Waterfall', [
    ['j ArrowDown', 'next span', () => step(1)],
    ['k ArrowUp', 'previous span', () => step(-1)],
    [
      'h ArrowLeft',
      'close, or to the parent',
      () =>
        rows.get(active.peek())?.descendants > 0 && !rows.isClosed(active.peek())
          ? rows.toggle(active.peek(), true)
          : select(parentOf(active.peek())),
    ],
    [
      'l ArrowRight',
      'open, or to the first child',
      () =>
        rows.isClosed(active.peek())
          ? rows.toggle(active.peek(), false)
          : rows.get(active.peek())?.descendants > 0
            ? select(active.peek() + 1)
            : undefined,
    ],
    ['a', 'fold spans that are alike', () => void rows.toggleAlike(active.peek())],
    ['PageDown', 'a page down', () => step(Math.floor(size.peek().height / ROW) - 1)],
    ['PageUp', 'a page up', () => step(1 - Math.floor(size.peek().height / ROW))],
    ['Home', 'first span', () => select(0)],
    ['End', 'last span', () => select(rows.rowAt(rows.visible() - 1))],
    ['n', 'next match', () => jump(found.peek(), 1)],
    ['N', 'previous match', () => jump(found.peek(), -1)],
    ['e', 'next error', () => void errors().then((all) => jump(all, 1))],
    ['E', 'previous error', () => void errors().then((all) => jump(all, -1))],
    ['+ =', 'zoom in', () => scale(0.6, middleOfActive())],
    ['-', 'zoom out', () => scale(1 / 0.6)],
    ['0', 'the whole trace', () => setParams({ z: '' }, { replace: true })],
    ['z', 'zoom to the span', zoomToActive],
  ]);

  function middleOfActive() {
    const row = rows.get(active.peek());
    return row ? Number(row.start) + Number(row.duration) / 2 : undefined;
  }

  function zoomToActive() {
    const row = rows.get(active.peek());
    if (!row) return;
    const margin = Math.max(10, Number(row.duration) * 0.1);
    show(Number(row.start) - margin, Number(row.start) + Number(row.duration) + margin);
  }

  /** @param {number[]} all in order @param {number} by */
  function jump(all, by) {
    if (all.length === 0) return;
    const now = active.peek();
    const next =
      by > 0
        ? (all.find((at) => at > now) ?? all[0])
        : ([...all].reverse().find((at) => at < now) ?? all[all.length - 1]);
    rows.reveal(next);
    select(next, { centre: true });
  }

  /** @type {Promise<number[]> | null} */
  let errorRows = null;
  const errors = () =>
    (errorRows ??= get(`/traces/${rows.id}/search`, { q: 'status=error' }).then(
      (answer) => answer.rows,
      () => [],
    ));
  effect(() => {
    rows.version.value;
    errorRows = null;
  });

  // Search within the trace.
  effect(() => {
    const text = param('find');
    if (!text) {
      found.value = [];
      return;
    }
    const abort = new AbortController();
    onCleanup(() => abort.abort());
    get(`/traces/${rows.id}/search`, { q: text }, abort.signal).then(
      (answer) => (found.value = answer.rows ?? []),
      () => !abort.signal.aborted && (found.value = []),
    );
  });

  pointer();
  minimap();

  function pointer() {
    const rowUnder = (/** @type {PointerEvent | MouseEvent} */ event) => {
      const y = event.clientY - scroller.getBoundingClientRect().top;
      const place = Math.floor((untracked(offset) + y) / ROW);
      return place < rows.visible() ? rows.rowAt(place) : -1;
    };
    const xUnder = (/** @type {MouseEvent} */ event) => event.clientX - scroller.getBoundingClientRect().left;
    const moment = (/** @type {number} */ x) =>
      momentAt({ tree: tree.peek(), width: size.peek().width, ...zoom.peek() }, x);
    scroller.addEventListener('pointermove', (/** @type {PointerEvent} */ event) => {
      hover.value = rowUnder(event);
      cursor.value = xUnder(event) > tree.peek() ? moment(xUnder(event)) : null;
    });
    scroller.addEventListener('pointerleave', () => {
      hover.value = -1;
      cursor.value = null;
    });
    scroller.addEventListener('click', (/** @type {MouseEvent} */ event) => {
      const at = rowUnder(event);
      if (at < 0) return;
      const row = rows.get(at);
      const left = indentOf(row?.depth ?? 0, tree.peek());
      const x = xUnder(event);
      if (row?.descendants > 0 && x >= left - 8 && x < left + 12) rows.toggle(at);
      else select(at);
    });
    scroller.addEventListener('dblclick', (/** @type {MouseEvent} */ event) =>
      xUnder(event) > tree.peek() ? zoomToActive() : rows.toggle(rowUnder(event)),
    );
    scroller.addEventListener(
      'wheel',
      (/** @type {WheelEvent} */ event) => {
        if (event.ctrlKey) scale(event.deltaY > 0 ? 1.2 : 1 / 1.2, moment(xUnder(event)));
        else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY) * 2) {
          const by = ((zoom.peek().to - zoom.peek().from) * (event.deltaX || event.deltaY)) / 800;
          show(zoom.peek().from + by, zoom.peek().to + by);
        } else return;
        event.preventDefault();
      },
      { passive: false },
    );
    grip.addEventListener('pointerdown', (/** @type {PointerEvent} */ event) =>
      grip.setPointerCapture(event.pointerId),
    );
    grip.addEventListener('pointermove', (/** @type {PointerEvent} */ event) => {
      if (!grip.hasPointerCapture(event.pointerId)) return;
      tree.value = Math.max(
        160,
        Math.min(size.peek().width - 160, event.clientX - scroller.getBoundingClientRect().left),
      );
      try {
        localStorage.setItem('tree', String(tree.peek()));
      } catch {
        // Lasts as long as the page.
      }
    });
    effect(() => {
      grip.style.left = `${tree.value - 4}px`;
    });
  }

  function minimap() {
    const buckets = signal(/** @type {any[]} */ ([]));
    effect(() => {
      rows.about.value;
      get(`/traces/${rows.id}/minimap`, { width: 400 }).then(
        (answer) => (buckets.value = answer.buckets ?? []),
        () => {},
      );
    });
    const wide = signal(0);
    const watch = new ResizeObserver(() => (wide.value = map.clientWidth));
    watch.observe(map);
    onCleanup(() => watch.disconnect());
    /** @type {number | null} */
    let from = null;
    const moment = (/** @type {PointerEvent} */ event) => (event.offsetX / Math.max(1, map.clientWidth)) * length();
    map.addEventListener('pointerdown', (event) => {
      from = moment(event);
      map.setPointerCapture(event.pointerId);
    });
    map.addEventListener('pointermove', (event) => {
      if (from === null) return;
      const [left, right] = [from, moment(event)].sort((a, b) => a - b);
      if (right - left > length() * 0.005) show(left, right);
    });
    map.addEventListener('pointerup', () => (from = null));
    map.addEventListener('dblclick', () => setParams({ z: '' }, { replace: true }));
    effect(() => {
      themeVersion.value;
      if (wide.value > 0) drawMinimap(map, { buckets: buckets.value, start: start(), length: length(), ...zoom.value });
    });
  }

  const search = /** @type {HTMLInputElement} */ (
    html`<input
      class="query"
      type="text"
      role="searchbox"
      autocomplete="off"
      spellcheck="false"
      aria-label="Search in this trace"
      placeholder="Find in this trace"
      .value=${param('find')}
      @keydown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key !== 'Enter') return;
        event.preventDefault();
        const same = search.value.trim() === param('find');
        setParams({ find: search.value.trim() }, { replace: true });
        if (same) jump(found.peek(), event.shiftKey ? -1 : 1);
      }}
      @input=${() => search.value === '' && setParams({ find: '' }, { replace: true })}
    />`
  );
  keys('Query', [['/', 'search in this trace', () => (search.focus(), search.select())]]);

  const node = html`<div class="waterfall">
    <div class="waterfall-bar">
      <div class="query-field narrow">
        ${icon('search', 14)}${search}<span class="num faint" role="status"
          >${() => {
            if (!param('find')) return '';
            const at = found.value.indexOf(active.value);
            return found.value.length === 0
              ? 'no match'
              : `${at >= 0 ? `${count(at + 1)} of ` : ''}${count(found.value.length)}`;
          }}</span
        >
      </div>
      <button
        class="ghost"
        title="Previous match (N)"
        aria-label="Previous match"
        @click=${() => jump(found.peek(), -1)}
      >
        ‹</button
      ><button class="ghost" title="Next match (n)" aria-label="Next match" @click=${() => jump(found.peek(), 1)}>
        ›
      </button>
      <button
        class="button small"
        hidden=${() => !rows.about.value?.trace.errors}
        @click=${() => errors().then((all) => jump(all, 1))}
      >
        ✖ Next error
      </button>
      <span class="grow"></span>
      <button class="button small" hidden=${() => !param('z')} @click=${() => setParams({ z: '' }, { replace: true })}>
        Whole trace
      </button>
      <button class="ghost" title="Zoom out (-)" aria-label="Zoom out" @click=${() => scale(1 / 0.6)}>−</button
      ><button class="ghost" title="Zoom in (+)" aria-label="Zoom in" @click=${() => scale(0.6)}>+</button>
      <button
        class="ghost"
        aria-pressed=${() => String(param('view') === 'table')}
        title="As a table"
        aria-label="As a table"
        @click=${() => setParams({ view: param('view') === 'table' ? '' : 'table' }, { replace: true })}
      >
        ${icon('table', 14)}
      </button>
    </div>
    ${map}${axis}
    <div class="waterfall-body" data-table=${() => param('view') === 'table'}>${scroller}${grip}</div>
  </div>`;
  return { node, select, active, focus: () => scroller.focus({ preventScroll: true }) };
}

function initialTree() {
  try {
    const kept = Number(localStorage.getItem('tree'));
    if (kept >= 160) return Math.min(kept, innerWidth * 0.6);
  } catch {
    // The usual width.
  }
  return Math.max(220, Math.min(460, innerWidth * 0.3));
}
