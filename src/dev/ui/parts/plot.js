// @ts-check
/**
 * Drawings over time on one canvas: lines with gaps and resets, stacked bars, points, a heat map, exemplars. Drag chooses
 * a window, a click or Enter picks what is under the cursor, arrow keys move the cursor; the same figures as a table
 * stand behind a button.
 */

import { effect, onCleanup, signal } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { colour } from '../lib/colour.js';
import { clock, three } from '../lib/format.js';
import { icon } from './icons.js';

/**
 * @typedef {object} Model times are milliseconds since 1970
 * @property {number} from
 * @property {number} to
 * @property {(value: number) => string} format of the values of y
 * @property {{ name: string, colour: string, points: [number, number | null][], resets?: number[] }[]} [lines]
 * @property {{ buckets: { from: number, to: number, values: number[] }[], names: string[], colours: string[] }} [bars]
 * @property {{ at: [x: number, y: number, bad: boolean, ref: any][] }} [points] drawn with a logarithmic y
 * @property {{ bounds: number[], columns: { at: number, counts: number[] }[] }} [heat]
 * @property {{ x: number, y: number, ref: any }[]} [exemplars]
 * @property {boolean} [logarithmic]
 * @property {boolean} [binary] values are bytes
 */

/** @typedef {{ left: number, right: number, top: number, bottom: number, width: number, height: number, min: number, max: number }} Frame */

/**
 * @param {object} how
 * @param {() => Model | null} how.model watched; null keeps what is drawn
 * @param {number} how.height
 * @param {string} how.label
 * @param {(from: number, to: number) => void} [how.brush] a window was chosen
 * @param {(ref: any) => void} [how.pick]
 * @param {boolean} [how.bare] without axes of y and without a table
 */
export function plot(how) {
  const canvas = /** @type {HTMLCanvasElement} */ (
    html`<canvas tabindex="0" role="img" aria-label=${how.label}></canvas>`
  );
  const tip = html`<div class="tip" hidden></div>`;
  const spoken = html`<div class="unseen" aria-live="polite"></div>`;
  const isTable = signal(false);
  const holder = html`<div class="plot" style=${{ height: `${how.height}px` }} hidden=${() => isTable.value}>
    ${canvas}${tip}
  </div>`;
  /** @type {Model | null} */
  let model = null;
  const drawn = signal(0);
  /** @type {number | null} */
  let cursor = null;
  let cursorY = 0;
  /** @type {number | null} */
  let dragFrom = null;
  let pending = 0;

  const redraw = () => {
    pending ||= requestAnimationFrame(() => {
      pending = 0;
      if (model && canvas.clientWidth) draw(canvas, model, how, { cursor, dragFrom });
    });
  };
  effect(() => {
    const next = how.model();
    if (next) {
      model = next;
      drawn.value += 1;
    }
    colour('text');
    redraw();
  });
  const observer = new ResizeObserver(redraw);
  observer.observe(holder);
  onCleanup(() => {
    observer.disconnect();
    cancelAnimationFrame(pending);
  });

  /** @param {number} x in pixels */
  const timeAt = (x) => {
    if (!model) return 0;
    const frame = frameOf(canvas, model, how);
    return model.from + ((x - frame.left) / frame.width) * (model.to - model.from);
  };

  /** @param {number | null} at @param {number} [y] */
  function point(at, y = 0) {
    cursor = at;
    cursorY = y;
    const lines = model && at !== null ? describe(model, at, frameOf(canvas, model, how), y) : null;
    tip.hidden = !lines || lines.length < 2;
    if (model && lines && at !== null) {
      tip.replaceChildren(
        ...lines.map(
          (line) =>
            html`<div class=${line.kind ?? ''}>
              ${line.colour ? html`<i style=${{ background: line.colour }}></i>` : null}<span>${line.text}</span>${line.value ? html`<b class="num">${line.value}</b>` : null}
            </div>`,
        ),
      );
      const frame = frameOf(canvas, model, how);
      const x = frame.left + ((at - model.from) / (model.to - model.from)) * frame.width;
      const isRight = x > canvas.clientWidth * 0.6;
      tip.style.left = isRight ? 'auto' : `${x + 12}px`;
      tip.style.right = isRight ? `${canvas.clientWidth - x + 12}px` : 'auto';
      spoken.textContent = lines.map((line) => `${line.text} ${line.value ?? ''}`).join(', ');
    }
    redraw();
  }

  canvas.addEventListener('pointermove', (event) => point(timeAt(event.offsetX), event.offsetY));
  canvas.addEventListener('pointerleave', () => dragFrom === null && point(null));
  canvas.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    if (how.brush) {
      dragFrom = timeAt(event.offsetX);
      canvas.setPointerCapture(event.pointerId);
    }
  });
  canvas.addEventListener('pointerup', (event) => {
    const [from, to] = [dragFrom ?? 0, timeAt(event.offsetX)].sort((a, b) => a - b);
    const isDrag = dragFrom !== null && model && (to - from) / (model.to - model.from) > 0.01;
    dragFrom = null;
    if (isDrag) how.brush?.(from, to);
    else pick();
    redraw();
  });
  canvas.addEventListener('blur', () => point(null));
  canvas.addEventListener('keydown', (event) => {
    if (!model) return;
    const step = (model.to - model.from) / 60;
    if (event.key === 'ArrowRight') point(Math.min(model.to, (cursor ?? model.from) + step), cursorY);
    else if (event.key === 'ArrowLeft') point(Math.max(model.from, (cursor ?? model.to) - step), cursorY);
    else if (event.key === 'Enter') pick();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function pick() {
    if (!model || cursor === null || !how.pick) return;
    const found = nearest(model, cursor, frameOf(canvas, model, how), cursorY);
    if (found) how.pick(found);
  }

  if (how.bare) return html`<div class="plot-box">${holder}${spoken}</div>`;
  return html`<div class="plot-box">
    ${holder}${() => (isTable.value ? asTable(model, how.label, drawn.value) : null)}
    <button
      class="ghost plot-table"
      aria-pressed=${() => String(isTable.value)}
      title="The figures as a table"
      aria-label=${`${how.label} as a table`}
      @click=${() => (isTable.value = !isTable.value)}
    >
      ${icon('table', 14)}</button
    >${spoken}
  </div>`;
}

/** @param {HTMLCanvasElement} canvas @param {Model} model @param {{ bare?: boolean }} how @returns {Frame} */
function frameOf(canvas, model, how) {
  const [left, right, top, bottom] = how.bare ? [0, 0, 2, 2] : [56, 8, 8, 20];
  const [min, max] = rangeOf(model);
  return {
    left,
    right,
    top,
    bottom,
    width: Math.max(1, canvas.clientWidth - left - right),
    height: Math.max(1, canvas.clientHeight - top - bottom),
    min,
    max,
  };
}

/** @type {WeakMap<Model, [number, number]>} */
const ranges = new WeakMap();

/** @param {Model} model @returns {[number, number]} */
function rangeOf(model) {
  let range = ranges.get(model);
  if (!range) ranges.set(model, (range = findRange(model)));
  return range;
}

/** @param {Model} model @returns {[number, number]} */
function findRange(model) {
  let [min, max] = [0, 0];
  if (model.points) {
    min = Infinity;
    for (const [, y] of model.points.at) {
      if (y > 0 && y < min) min = y;
      if (y > max) max = y;
    }
    return min === Infinity ? [1, 10] : [min * 0.7, max * 1.4];
  }
  if (model.heat) return [0, Math.max(1, model.heat.bounds.length + 1)];
  for (const line of model.lines ?? []) {
    for (const [, y] of line.points) {
      if (y === null) continue;
      if (y > max) max = y;
      if (y < min) min = y;
    }
  }
  for (const bucket of model.bars?.buckets ?? [])
    max = Math.max(
      max,
      bucket.values.reduce((sum, value) => sum + value, 0),
    );
  for (const exemplar of model.exemplars ?? []) max = Math.max(max, exemplar.y);
  return max === min ? [min, min + 1] : [min, max + (max - min) * 0.06];
}

/** @param {HTMLCanvasElement} canvas @param {Model} model @param {any} how @param {{ cursor: number | null, dragFrom: number | null }} marks */
function draw(canvas, model, how, marks) {
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const frame = frameOf(canvas, model, how);
  const x = (/** @type {number} */ at) =>
    frame.left + ((at - model.from) / Math.max(1e-9, model.to - model.from)) * frame.width;
  const y = (/** @type {number} */ value) => yOf(model, frame, value);
  if (!how.bare) axes(pen, model, frame, x, y);
  pen.save();
  pen.beginPath();
  pen.rect(frame.left, 0, frame.width, height);
  pen.clip();
  if (model.heat) drawHeat(pen, model.heat, frame, x);
  if (model.bars) drawBars(pen, model.bars, frame, x, y, height);
  if (model.points) drawPoints(pen, model.points.at, x, y);
  for (const line of model.lines ?? []) drawLine(pen, line, frame, x, y, (model.lines ?? []).length === 1);
  for (const exemplar of model.exemplars ?? [])
    diamond(pen, x(exemplar.x), model.heat ? heatY(model.heat, frame, exemplar.y) : y(exemplar.y));
  if (marks.dragFrom !== null && marks.cursor !== null) {
    pen.fillStyle = colour('brush');
    pen.fillRect(x(marks.dragFrom), frame.top, x(marks.cursor) - x(marks.dragFrom), frame.height);
  } else if (marks.cursor !== null) {
    pen.fillStyle = colour('faint');
    pen.fillRect(Math.round(x(marks.cursor)), frame.top, 1, frame.height);
  }
  pen.restore();
}

/** @param {Model} model @param {Frame} frame @param {number} value */
function yOf(model, frame, value) {
  const share =
    model.points || model.logarithmic
      ? (Math.log(Math.max(value, frame.min)) - Math.log(frame.min)) / (Math.log(frame.max) - Math.log(frame.min))
      : (value - frame.min) / (frame.max - frame.min);
  return frame.top + frame.height * (1 - share);
}

/** @param {CanvasRenderingContext2D} pen @param {Model} model @param {Frame} frame @param {(v: number) => number} x @param {(v: number) => number} y */
function axes(pen, model, frame, x, y) {
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  pen.fillStyle = colour('dim');
  pen.textBaseline = 'middle';
  pen.textAlign = 'right';
  const marks = model.heat ? [] : model.points ? logTicks(frame.min, frame.max) : roundMarks(model, frame);
  let last = '';
  for (const mark of marks) {
    const at = Math.round(y(mark)) + 0.5;
    const text = tidy(model.format(mark));
    if (text === last) continue;
    last = text;
    pen.fillStyle = colour('line');
    pen.fillRect(frame.left, at, frame.width, 0.6);
    pen.fillStyle = colour('dim');
    pen.fillText(text, frame.left - 6, at);
  }
  if (model.heat) {
    const { bounds } = model.heat;
    const step = Math.max(1, Math.ceil(bounds.length / (frame.height / 22)));
    for (let at = 0; at < bounds.length; at += step)
      pen.fillText(
        tidy(model.format(bounds[at])),
        frame.left - 6,
        frame.top + frame.height * (1 - (at + 1) / (bounds.length + 1)),
      );
  }
  pen.textAlign = 'center';
  const every = timeStep((model.to - model.from) / Math.max(2, frame.width / 96));
  const offset = new Date(model.from).getTimezoneOffset() * 60_000;
  for (let at = Math.ceil((model.from - offset) / every) * every + offset; at <= model.to; at += every) {
    const text = clock(String(Math.round(at * 1e6)), every >= 1000);
    const left = x(at);
    if (left > frame.left + 20 && left < frame.left + frame.width - 20)
      pen.fillText(text, left, frame.top + frame.height + 12);
  }
}

/** `50.0 ms` is `50 ms` beside an axis. @param {string} text */
function tidy(text) {
  return text.replace(/\.0+(?=\D|$)/, '').replace(/(\.\d)0(?=\D|$)/, '$1');
}

/** @param {number} least @returns {number} milliseconds */
function timeStep(least) {
  const steps = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5,
    216e5, 432e5, 864e5,
  ];
  return steps.find((step) => step >= least) ?? Math.ceil(least / 864e5) * 864e5;
}

/** Bytes are round in powers of 1024. @param {Model} model @param {Frame} frame */
function roundMarks(model, frame) {
  const unit = model.binary && frame.max > 1024 ? 1024 ** Math.floor(Math.log(frame.max) / Math.log(1024)) : 1;
  return ticks(frame.min / unit, frame.max / unit, Math.max(2, Math.round(frame.height / 42))).map(
    (mark) => mark * unit,
  );
}

/** Round values between two. @param {number} min @param {number} max @param {number} about */
export function ticks(min, max, about) {
  const raw = (max - min) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? raw;
  const found = [];
  for (let at = Math.ceil(min / step) * step; at <= max + step * 1e-6; at += step)
    found.push(Math.abs(at) < step * 1e-6 ? 0 : at);
  return found;
}

/** @param {number} min @param {number} max */
function logTicks(min, max) {
  const found = [];
  for (let power = 10 ** Math.floor(Math.log10(min)); power <= max; power *= 10) if (power >= min) found.push(power);
  return found;
}

/** @param {CanvasRenderingContext2D} pen @param {any} line @param {Frame} frame @param {(v: number) => number} x @param {(v: number) => number} y @param {boolean} isOnly */
function drawLine(pen, line, frame, x, y, isOnly) {
  const path = new Path2D();
  /** @type {[number, number][]} */
  let run = [];
  const area = new Path2D();
  const finish = () => {
    if (run.length === 1) path.rect(run[0][0] - 1, run[0][1] - 1, 2, 2);
    if (isOnly && run.length > 1) {
      area.moveTo(run[0][0], y(Math.max(0, frame.min)));
      for (const [left, top] of run) area.lineTo(left, top);
      area.lineTo(run[run.length - 1][0], y(Math.max(0, frame.min)));
    }
    run = [];
  };
  for (const [at, value] of line.points) {
    if (value === null) {
      finish();
      continue;
    }
    const [left, top] = [x(at), y(value)];
    if (run.length === 0) path.moveTo(left, top);
    else path.lineTo(left, top);
    run.push([left, top]);
  }
  finish();
  pen.globalAlpha = 0.1;
  pen.fillStyle = line.colour;
  pen.fill(area);
  pen.globalAlpha = 1;
  pen.strokeStyle = line.colour;
  pen.lineWidth = 1.4;
  pen.lineJoin = 'round';
  pen.stroke(path);
  // A counter that began again.
  pen.setLineDash([2, 3]);
  pen.strokeStyle = colour('warn');
  for (const at of line.resets ?? []) {
    pen.beginPath();
    pen.moveTo(Math.round(x(at)) + 0.5, frame.top);
    pen.lineTo(Math.round(x(at)) + 0.5, frame.top + frame.height);
    pen.stroke();
  }
  pen.setLineDash([]);
}

/** @param {CanvasRenderingContext2D} pen @param {NonNullable<Model['bars']>} bars @param {Frame} frame @param {(v: number) => number} x @param {(v: number) => number} y @param {number} height */
function drawBars(pen, bars, frame, x, y, height) {
  const base = y(0);
  for (const bucket of bars.buckets) {
    const left = Math.round(x(bucket.from));
    const width = Math.max(1, Math.round(x(bucket.to)) - left - 1);
    let sum = 0;
    bucket.values.forEach((value, at) => {
      if (value <= 0) return;
      const top = y(sum + value);
      pen.fillStyle = bars.colours[at];
      pen.fillRect(left, Math.min(top, y(sum) - 1), width, Math.max(1, y(sum) - top));
      sum += value;
    });
    if (sum === 0) {
      pen.fillStyle = colour('line');
      pen.fillRect(left, Math.min(base, height) - 1, width, 1);
    }
  }
}

/** @param {CanvasRenderingContext2D} pen @param {[number, number, boolean, any][]} points @param {(v: number) => number} x @param {(v: number) => number} y */
function drawPoints(pen, points, x, y) {
  const [good, bad] = [colour('accent'), colour('bad')];
  pen.globalAlpha = points.length > 500 ? 0.45 : 0.7;
  for (const isBad of [false, true]) {
    pen.fillStyle = isBad ? bad : good;
    if (isBad) pen.globalAlpha = 0.95;
    for (const [at, value, wrong] of points) {
      if (wrong !== isBad) continue;
      pen.beginPath();
      // Never by colour alone: what failed is a square standing on its corner.
      if (isBad) {
        const [left, top] = [x(at), y(value)];
        pen.moveTo(left, top - 4);
        pen.lineTo(left + 4, top);
        pen.lineTo(left, top + 4);
        pen.lineTo(left - 4, top);
      } else pen.arc(x(at), y(value), 2.5, 0, 7);
      pen.fill();
    }
  }
  pen.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} pen @param {NonNullable<Model['heat']>} heat @param {Frame} frame @param {(v: number) => number} x */
function drawHeat(pen, heat, frame, x) {
  let most = 1;
  for (const column of heat.columns) for (const value of column.counts) most = Math.max(most, value);
  const rows = heat.bounds.length + 1;
  const height = frame.height / rows;
  pen.fillStyle = colour('accent');
  heat.columns.forEach((column, index) => {
    const next =
      heat.columns[index + 1]?.at ?? column.at + (column.at - (heat.columns[index - 1]?.at ?? column.at - 1000));
    const left = Math.round(x(column.at));
    const width = Math.max(1, Math.round(x(next)) - left);
    column.counts.forEach((value, row) => {
      if (value <= 0) return;
      pen.globalAlpha = 0.1 + 0.9 * (Math.log1p(value) / Math.log1p(most));
      const top = Math.round(frame.top + frame.height - (row + 1) * height);
      pen.fillRect(left, top, width, Math.round(frame.top + frame.height - row * height) - top);
    });
  });
  pen.globalAlpha = 1;
}

/** @param {NonNullable<Model['heat']>} heat @param {Frame} frame @param {number} value */
function heatY(heat, frame, value) {
  const row = heat.bounds.findIndex((bound) => value <= bound);
  return frame.top + frame.height * (1 - ((row < 0 ? heat.bounds.length : row) + 0.5) / (heat.bounds.length + 1));
}

/** @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y */
function diamond(pen, x, y) {
  pen.beginPath();
  pen.moveTo(x, y - 5);
  pen.lineTo(x + 5, y);
  pen.lineTo(x, y + 5);
  pen.lineTo(x - 5, y);
  pen.closePath();
  pen.fillStyle = colour('surface');
  pen.fill();
  pen.lineWidth = 1.5;
  pen.strokeStyle = colour('warn');
  pen.stroke();
}

/** What is under the cursor, for picking. @param {Model} model @param {number} at @param {Frame} frame @param {number} top */
function nearest(model, at, frame, top) {
  const perPixel = (model.to - model.from) / frame.width;
  let best = /** @type {any} */ (null);
  let distance = 18;
  for (const [x, y, , ref] of model.points?.at ?? []) {
    const far = Math.hypot((x - at) / perPixel, top ? yOf(model, frame, y) - top : 0);
    if (far < distance) [best, distance] = [ref, far];
  }
  for (const exemplar of model.exemplars ?? []) {
    const y = model.heat ? heatY(model.heat, frame, exemplar.y) : yOf(model, frame, exemplar.y);
    const far = Math.hypot((exemplar.x - at) / perPixel, top ? y - top : 0);
    if (far < distance) [best, distance] = [exemplar.ref, far];
  }
  return best;
}

/** The words of the tooltip. @param {Model} model @param {number} at @param {Frame} frame @param {number} top @returns {{ text: string, value?: string, colour?: string, kind?: string }[]} */
function describe(model, at, frame, top) {
  const words = [{ text: clock(String(Math.round(at * 1e6)), model.to - model.from > 60_000), kind: 'dim' }];
  const found = nearest(model, at, frame, top);
  if (model.points) {
    if (found) words.push(/** @type {any} */ ({ text: found.text ?? '', value: found.value, colour: found.colour }));
    return words;
  }
  for (const line of (model.lines ?? []).slice(0, 12)) {
    const value = valueAt(line.points, at);
    if (value !== null)
      words.push(/** @type {any} */ ({ text: line.name, value: model.format(value), colour: line.colour }));
  }
  const bucket = model.bars?.buckets.find((one) => at >= one.from && at < one.to);
  bucket?.values.forEach((value, index) => {
    if (value > 0)
      words.push(
        /** @type {any} */ ({
          text: model.bars?.names[index] ?? '',
          value: three(value),
          colour: model.bars?.colours[index],
        }),
      );
  });
  if (model.heat) {
    const column = [...model.heat.columns].reverse().find((one) => one.at <= at);
    const row = Math.floor((1 - (top - frame.top) / frame.height) * (model.heat.bounds.length + 1));
    if (column && row >= 0 && row <= model.heat.bounds.length) {
      const { bounds } = model.heat;
      const name =
        row === 0
          ? `≤ ${model.format(bounds[0])}`
          : row === bounds.length
            ? `> ${model.format(bounds[row - 1])}`
            : `${model.format(bounds[row - 1])} to ${model.format(bounds[row])}`;
      words.push(/** @type {any} */ ({ text: name, value: three(column.counts[row] ?? 0) }));
    }
  }
  if (found) words.push({ text: 'exemplar: open its trace', kind: 'dim' });
  return words;
}

/** @param {[number, number | null][]} points @param {number} at */
function valueAt(points, at) {
  let [low, high] = [0, points.length - 1];
  if (high < 0) return null;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < at) low = middle + 1;
    else high = middle;
  }
  const before = points[Math.max(0, low - 1)];
  const after = points[low];
  return (Math.abs(before[0] - at) < Math.abs(after[0] - at) ? before : after)[1];
}

/** @param {Model | null} model @param {string} label @param {number} _version */
function asTable(model, label, _version) {
  if (!model) return null;
  /** @type {[string, ...string[]][]} */
  let rows = [];
  let head = ['time'];
  const moment = (/** @type {number} */ at) => clock(String(Math.round(at * 1e6)));
  if (model.bars) {
    head = ['time', ...model.bars.names];
    rows = model.bars.buckets.map((bucket) => [moment(bucket.from), ...bucket.values.map(String)]);
  } else if (model.points) {
    head = ['time', 'value', 'failed'];
    rows = model.points.at.map(([x, y, bad]) => [moment(x), model.format(y), bad ? 'yes' : '']);
  } else if (model.heat) {
    head = ['time', ...model.heat.bounds.map((bound) => `≤ ${model.format(bound)}`), 'above'];
    rows = model.heat.columns.map((column) => [moment(column.at), ...column.counts.map(String)]);
  } else if (model.lines) {
    head = ['time', ...model.lines.map((line) => line.name)];
    const times = [...new Set(model.lines.flatMap((line) => line.points.map(([at]) => at)))].sort((a, b) => a - b);
    const maps = model.lines.map((line) => new Map(line.points));
    rows = times.map((at) => [
      moment(at),
      ...maps.map((map) =>
        map.get(at) === null || map.get(at) === undefined ? '' : model.format(/** @type {number} */ (map.get(at))),
      ),
    ]);
  }
  return html`<div class="table-wrap plot-figures">
    <table class="table" aria-label=${label}>
      <thead>
        <tr>
          ${head.map((name) => html`<th scope="col">${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.slice(0, 1000).map(
          (row) =>
            html`<tr>
              ${row.map((text) => html`<td class="num">${text}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
