// @ts-check
/** Draws the rows of the waterfall that are in view, and its minimap. Takes plain data, keeps nothing. */

import { colour, serviceColour } from '../lib/colour.js';
import { visible } from '../lib/html.js';
import { axisDuration, duration, relative } from '../lib/format.js';
import { ticks } from '../parts/plot.js';

export const ROW = 24;
const INDENT = 12;

/**
 * @typedef {object} Scene
 * @property {CanvasRenderingContext2D} pen
 * @property {number} width
 * @property {number} height
 * @property {number} tree width of the left part
 * @property {number} from shown part of the trace in nanoseconds
 * @property {number} to
 * @property {string} start of the trace
 * @property {number} shift pixels that the first row stands above the edge
 * @property {{ at: number, row: any, closed: boolean }[]} rows
 * @property {number} active
 * @property {number} hover
 * @property {Set<number>} matches
 * @property {number | null} cursor a moment under the pointer
 * @property {(at: number) => number | null} outlives the end of what a closed row hides
 * @property {string} font
 */

/** @param {HTMLCanvasElement} canvas @returns {CanvasRenderingContext2D} cleared, in CSS pixels */
export function penOf(canvas) {
  const scale = devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return pen;
}

/** How far a row stands to the right; deep ones move closer together, so that names stay legible. @param {number} depth @param {number} tree */
export function indentOf(depth, tree) {
  const room = Math.max(60, tree * 0.5);
  const plain = depth * INDENT;
  return 8 + (plain <= room * 0.7 ? plain : room * 0.7 + (1 - Math.exp(-(plain - room * 0.7) / room)) * room * 0.3);
}

/** @param {Scene} scene */
export function drawRows(scene) {
  const { pen, width, height, tree, rows } = scene;
  rows.forEach(({ at }, index) => {
    const top = index * ROW - scene.shift;
    const fill = at === scene.active ? 'active' : at === scene.hover ? 'hover' : null;
    if (fill) {
      pen.fillStyle = colour(fill);
      pen.fillRect(0, top, width, ROW);
    }
    if (scene.matches.has(at)) {
      pen.fillStyle = colour('match');
      pen.fillRect(tree - 4, top + 1, 3, ROW - 2);
    }
    if (at === scene.active) {
      pen.fillStyle = colour('accent');
      pen.fillRect(0, top, 2, ROW);
    }
  });
  grid(scene);
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, tree - 6, height);
  pen.clip();
  rows.forEach((entry, index) => entry.row && drawName(scene, entry, index * ROW - scene.shift));
  pen.restore();
  pen.save();
  pen.beginPath();
  pen.rect(tree, 0, width - tree, height);
  pen.clip();
  rows.forEach((entry, index) => entry.row && drawBar(scene, entry, index * ROW - scene.shift));
  if (scene.cursor !== null) {
    pen.fillStyle = colour('faint');
    pen.fillRect(Math.round(xOf(scene, scene.cursor)), 0, 0.7, height);
  }
  pen.restore();
  pen.fillStyle = colour('line');
  pen.fillRect(tree - 0.5, 0, 1, height);
}

/** @param {Scene} scene @param {number} moment */
function xOf(scene, moment) {
  return scene.tree + 8 + ((moment - scene.from) / (scene.to - scene.from)) * (scene.width - scene.tree - 24);
}

/** @param {{ tree: number, width: number, from: number, to: number }} scene @param {number} x */
export function momentAt(scene, x) {
  return scene.from + ((x - scene.tree - 8) / (scene.width - scene.tree - 24)) * (scene.to - scene.from);
}

/** @param {Scene} scene */
function grid(scene) {
  scene.pen.fillStyle = colour('line');
  scene.pen.globalAlpha = 0.6;
  for (const mark of ticks(scene.from, scene.to, Math.max(2, (scene.width - scene.tree) / 120))) {
    scene.pen.fillRect(Math.round(xOf(scene, mark)), 0, 1, scene.height);
  }
  scene.pen.globalAlpha = 1;
}

/** The names of the moments above the rows. @param {Scene} scene */
export function drawAxis(scene) {
  const { pen } = scene;
  pen.font = `11px ${scene.font}`;
  pen.fillStyle = colour('dim');
  pen.textBaseline = 'middle';
  for (const mark of ticks(scene.from, scene.to, Math.max(2, (scene.width - scene.tree) / 120))) {
    const x = xOf(scene, mark);
    const text = axisDuration(mark);
    const isLast = x + pen.measureText(text).width + 8 > scene.width;
    pen.textAlign = isLast ? 'right' : 'left';
    pen.fillText(text, isLast ? x - 4 : x + 4, scene.height / 2);
    pen.fillRect(Math.round(x), 4, 0.7, scene.height);
  }
  pen.textAlign = 'left';
}

/** @param {Scene} scene @param {{ at: number, row: any, closed: boolean }} entry @param {number} top */
function drawName(scene, { row, closed }, top) {
  const { pen } = scene;
  const left = indentOf(row.depth, scene.tree);
  const middle = top + ROW / 2;
  pen.fillStyle = colour('line');
  for (let depth = Math.max(0, row.depth - 14); depth < row.depth; depth += 1)
    pen.fillRect(Math.round(indentOf(depth, scene.tree)) + 4, top, 1, ROW);
  pen.textBaseline = 'middle';
  pen.textAlign = 'left';
  if (row.descendants > 0) chevron(pen, left + 4, middle, closed);
  pen.fillStyle = serviceColour(row.service);
  if (row.missing_parent) {
    // Stands where its parent would be.
    pen.strokeStyle = colour('warn');
    pen.setLineDash([2, 2]);
    pen.strokeRect(left + 12.5, middle - 4.5, 9, 9);
    pen.setLineDash([]);
  }
  pen.fillRect(left + 13, middle - 4, 8, 8);
  let x = left + 27;
  const bad = row.status === 'error';
  if (bad) x += write(scene, '✖ ', x, middle, colour('bad'), 500);
  x += write(scene, row.name || 'unnamed', x, middle, bad ? colour('bad') : colour('text'), 500) + 8;
  if (closed) x += tag(scene, `+${row.descendants}`, x, middle, 'dim');
  if (row.alike)
    x += tag(
      scene,
      `×${row.alike.count} · ${duration(row.alike.sum)}`,
      x,
      middle,
      row.alike.count >= 5 ? 'warn' : 'dim',
    );
  if (row.gen_ai) x += tag(scene, tokens(row.gen_ai), x, middle, 'accent');
  if (row.missing_parent) x += tag(scene, 'parent missing', x, middle, 'warn');
  if (row.late) x += tag(scene, 'late', x, middle, 'dim');
  if (row.cut_cycle) x += tag(scene, 'cycle cut here', x, middle, 'warn');
  write(scene, row.service || 'unknown', x, middle, colour('faint'), 400);
}

/** @param {any} call */
function tokens(call) {
  return call.input_tokens || call.output_tokens
    ? `${call.input_tokens ?? '?'} → ${call.output_tokens ?? '?'} tok`
    : (call.model ?? 'model');
}

/** @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y @param {boolean} closed */
function chevron(pen, x, y, closed) {
  pen.strokeStyle = colour('dim');
  pen.lineWidth = 1.3;
  pen.beginPath();
  if (closed) {
    pen.moveTo(x - 1.5, y - 3.5);
    pen.lineTo(x + 2, y);
    pen.lineTo(x - 1.5, y + 3.5);
  } else {
    pen.moveTo(x - 3.5, y - 1.5);
    pen.lineTo(x, y + 2);
    pen.lineTo(x + 3.5, y - 1.5);
  }
  pen.stroke();
}

/** @type {Map<string, number>} */
const widths = new Map();

/** @param {Scene} scene @param {string} text @param {number} x @param {number} y @param {string} fill @param {number} weight @returns {number} its width */
function write(scene, text, x, y, fill, weight) {
  const { pen } = scene;
  const shown = visible(text.length > 160 ? `${text.slice(0, 160)}…` : text);
  pen.font = `${weight} 12px ${scene.font}`;
  pen.fillStyle = fill;
  pen.fillText(shown, x, y + 0.5);
  const key = weight + shown;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > 5000) widths.clear();
    width = pen.measureText(shown).width;
    widths.set(key, width);
  }
  return width;
}

/** @param {Scene} scene @param {string} text @param {number} x @param {number} y @param {string} kind */
function tag(scene, text, x, y, kind) {
  const { pen } = scene;
  pen.font = `11px ${scene.font}`;
  const width = pen.measureText(text).width;
  pen.fillStyle = colour(kind === 'dim' ? 'line' : `${kind}-soft`);
  pen.beginPath();
  pen.roundRect(x - 1, y - 8, width + 8, 16, 4);
  pen.fill();
  pen.fillStyle = colour(kind);
  pen.fillText(text, x + 3, y + 0.5);
  return width + 14;
}

/** @param {Scene} scene @param {{ at: number, row: any, closed: boolean }} entry @param {number} top */
function drawBar(scene, { at, row, closed }, top) {
  const { pen } = scene;
  pen.textBaseline = 'middle';
  pen.textAlign = 'left';
  const [start, length] = [Number(row.start), Number(row.duration)];
  const [left, right] = [xOf(scene, start), xOf(scene, start + length)];
  const middle = top + ROW / 2;
  const end = closed ? scene.outlives(at) : null;
  if (end !== null && end > start + length) {
    pen.fillStyle = serviceColour(row.service);
    pen.globalAlpha = 0.5;
    pen.fillRect(right, middle - 0.5, xOf(scene, end) - right, 1.5);
    pen.globalAlpha = 1;
  }
  const shownLeft = Math.max(left, scene.tree - 4);
  const shownRight = Math.min(right, scene.width + 4);
  const size = Math.max(2, shownRight - shownLeft);
  if (shownRight >= scene.tree && shownLeft <= scene.width) {
    pen.fillStyle = serviceColour(row.service);
    pen.beginPath();
    pen.roundRect(shownLeft, middle - 5, size, 10, Math.min(2, size / 2));
    pen.fill();
    if (row.status === 'error') {
      pen.strokeStyle = colour('bad');
      pen.lineWidth = 1.5;
      pen.stroke();
    }
    for (const log of row.logs ?? []) {
      const x = xOf(scene, relative(log.t, scene.start));
      pen.fillStyle = severityColour(log.severity);
      pen.fillRect(x - 1, middle + 6, 2.5, 3.5);
    }
    for (const event of row.events ?? [])
      drawEvent(pen, xOf(scene, relative(event.t, scene.start)), middle, event.exception);
  } else {
    // Outside of what is shown: an arrow says where.
    write(
      scene,
      shownRight < scene.tree ? '◂' : '▸',
      shownRight < scene.tree ? scene.tree + 4 : scene.width - 14,
      middle,
      colour('faint'),
      400,
    );
    return;
  }
  const text =
    Number(row.self) > 0 && row.descendants > 0 && Number(row.self) < length
      ? `${duration(length)}  self ${duration(row.self)}`
      : duration(length);
  pen.font = `400 11px ${scene.font}`;
  const space = pen.measureText(text).width;
  const beside = Math.min(shownRight, scene.width) + 6;
  if (beside + space < scene.width - 4) write(scene, text, beside, middle, colour('dim'), 400);
  else if (shownLeft - space - 14 > scene.tree) write(scene, text, shownLeft - space - 14, middle, colour('dim'), 400);
  else if (size > space + 16) write(scene, text, shownLeft + 6, middle, colour('surface'), 500);
}

/** @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y @param {boolean} isException */
function drawEvent(pen, x, y, isException) {
  if (!isException) {
    pen.fillStyle = colour('surface');
    pen.fillRect(x - 1.5, y - 7, 3, 14);
    pen.fillStyle = colour('text');
    pen.fillRect(x - 0.5, y - 7, 1.5, 14);
    return;
  }
  pen.fillStyle = colour('surface');
  pen.beginPath();
  pen.arc(x, y, 6, 0, 7);
  pen.fill();
  pen.strokeStyle = colour('bad');
  pen.lineWidth = 1.8;
  pen.beginPath();
  pen.moveTo(x - 3, y - 3);
  pen.lineTo(x + 3, y + 3);
  pen.moveTo(x + 3, y - 3);
  pen.lineTo(x - 3, y + 3);
  pen.stroke();
}

/** @param {string | { level?: string } | null} severity */
export function severityColour(severity) {
  const level = typeof severity === 'string' ? severity : (severity?.level ?? 'trace');
  return colour(
    /** @type {Record<string, string>} */ ({
      error: 'bad',
      fatal: 'fatal',
      warn: 'warn',
      info: 'info',
      debug: 'debug',
    })[level.toLowerCase()] ?? 'trace',
  );
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{ buckets: any[], start: string, length: number, from: number, to: number }} what the window that is shown is marked
 */
export function drawMinimap(canvas, { buckets, start, length, from, to }) {
  const pen = penOf(canvas);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const most = Math.max(1, ...buckets.map((bucket) => bucket.spans));
  const x = (/** @type {number} */ moment) => (moment / length) * width;
  let failing = 0;
  for (const bucket of buckets) {
    // Where an error begins: those that go on are not marked again.
    const isNew = bucket.errors > failing;
    failing = bucket.errors;
    if (!bucket.spans) continue;
    const left = Math.round(x(relative(bucket.from, start)));
    const size = Math.max(1, Math.round(x(relative(bucket.to, start))) - left);
    const tall = 3 + (height - 8) * (Math.log1p(bucket.spans) / Math.log1p(most));
    pen.fillStyle = colour('accent');
    pen.globalAlpha = 0.42;
    pen.fillRect(left, height - tall, size, tall);
    if (isNew) {
      pen.globalAlpha = 1;
      pen.fillStyle = colour('bad');
      pen.fillRect(left, height - tall - 3, Math.max(3, size), 3);
    }
  }
  pen.globalAlpha = 1;
  if (from > 0 || to < length) {
    pen.fillStyle = colour('bg');
    pen.globalAlpha = 0.72;
    pen.fillRect(0, 0, x(from), height);
    pen.fillRect(x(to), 0, width - x(to), height);
    pen.globalAlpha = 1;
    pen.fillStyle = colour('accent');
    pen.fillRect(x(from) - 1, 0, 2, height);
    pen.fillRect(x(to) - 1, 0, 2, height);
  }
}
