// @ts-check
/**
 * The rows of one trace in tree order, fetched by ranges as they come into view, and which of them are hidden. A row
 * knows how many descendants it has, so a subtree is hidden without having been read, and 100,000 rows cost nothing.
 */

import { signal } from '../lib/signals.js';
import { get } from '../lib/api.js';

const CHUNK = 500;

/** @typedef {{ from: number, to: number, by: number }} Hidden rows from (inclusive) to (exclusive), hidden by a row */

export class Rows {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    /** Counts up when rows came, went or changed. */
    this.version = signal(0);
    /** What the agent said beside the rows. */
    this.about = signal(/** @type {any} */ (null));
    this.error = signal(/** @type {any} */ (null));
    /** @type {Map<number, any[]>} */
    this.chunks = new Map();
    /** @type {Map<number, Promise<void>>} */
    this.asked = new Map();
    /** @type {Hidden[]} not nested, in order */
    this.hidden = [];
    /** @type {Map<number, Hidden[]>} what a row hides of its own, nested or not */
    this.byRow = new Map();
    this.total = 0;
    this.generation = 0;
  }

  /** @param {number} at @returns {any} the row, or undefined while it is on its way */
  get(at) {
    const rows = this.chunks.get(Math.floor(at / CHUNK));
    if (!rows) {
      void this.fetch(Math.floor(at / CHUNK));
      return undefined;
    }
    return rows[at % CHUNK];
  }

  /** @param {number} number of the chunk @returns {Promise<void>} */
  fetch(number) {
    if (number < 0 || (this.total > 0 && number * CHUNK >= this.total)) return Promise.resolve();
    let coming = this.asked.get(number);
    if (!coming) this.asked.set(number, (coming = this.read(number)));
    return coming;
  }

  /** @param {number} number of the chunk */
  async read(number) {
    const { generation } = this;
    try {
      const answer = await get(`/traces/${this.id}`, { offset: number * CHUNK, limit: CHUNK });
      if (generation !== this.generation) return;
      this.total = answer.rows_total;
      this.chunks.set(number, answer.rows);
      if (!this.about.peek() || number === 0) this.about.value = answer;
      this.error.value = null;
      this.version.value += 1;
    } catch (error) {
      this.asked.delete(number);
      if (generation === this.generation && this.chunks.size === 0) this.error.value = error;
    }
  }

  /** Reads again what has been read, keeping what is shown until it has come. More spans arrived. */
  async refresh() {
    const generation = (this.generation += 1);
    const numbers = [...this.chunks.keys()].sort((a, b) => a - b).slice(0, 8);
    if (numbers.length === 0) numbers.push(0);
    const closed = [...this.byRow.keys()].map((at) => this.chunks.get(Math.floor(at / CHUNK))?.[at % CHUNK]?.span_id);
    const answers = await Promise.all(
      numbers.map((number) => get(`/traces/${this.id}`, { offset: number * CHUNK, limit: CHUNK }).catch(() => null)),
    );
    if (generation !== this.generation || !answers[0]) return;
    this.chunks = new Map();
    this.asked = new Map();
    this.byRow = new Map();
    answers.forEach((answer, index) => {
      if (!answer) return;
      this.chunks.set(numbers[index], answer.rows);
      this.asked.set(numbers[index], Promise.resolve());
      this.total = answer.rows_total;
      for (const row of answer.rows)
        if (closed.includes(row.span_id))
          this.byRow.set(row.i, [{ from: row.i + 1, to: row.i + 1 + row.descendants, by: row.i }]);
    });
    this.settle();
    this.about.value = answers[0];
    this.version.value += 1;
  }

  /** @param {number} at reads all rows up to here, for what needs neighbours @param {number} to */
  async ensure(at, to) {
    const numbers = [];
    for (let number = Math.floor(at / CHUNK); number <= Math.floor((to - 1) / CHUNK); number += 1) numbers.push(number);
    await Promise.all(numbers.slice(0, 40).map((number) => this.fetch(number)));
  }

  /** @param {number} at */
  isClosed(at) {
    return this.byRow.has(at);
  }

  /** @param {number} at a row with descendants @param {boolean} [close] */
  toggle(at, close = !this.isClosed(at)) {
    const row = this.get(at);
    if (!row || row.descendants === 0) return;
    if (close) this.byRow.set(at, [{ from: at + 1, to: at + 1 + row.descendants, by: at }]);
    else this.byRow.delete(at);
    this.settle();
    this.version.value += 1;
  }

  /** Hides the siblings that are the same as this one, or shows them again. @param {number} at */
  async toggleAlike(at) {
    const row = this.get(at);
    if (!row?.alike) return;
    if (this.byRow.get(at)?.some((span) => span.from > at + row.descendants)) this.byRow.delete(at);
    else {
      let parent = at - 1;
      while (parent >= 0 && (this.get(parent)?.depth ?? -1) >= row.depth) parent -= 1;
      const end = parent >= 0 ? parent + 1 + (this.get(parent)?.descendants ?? 0) : this.total;
      await this.ensure(at, Math.min(end, at + 20_000));
      /** @type {Hidden[]} */
      const spans = [];
      for (let next = at + 1 + row.descendants; next < end;) {
        const other = this.chunks.get(Math.floor(next / CHUNK))?.[next % CHUNK];
        if (!other) break;
        if (other.name === row.name && other.service === row.service)
          spans.push({ from: next, to: next + 1 + other.descendants, by: at });
        next += 1 + other.descendants;
      }
      if (spans.length) this.byRow.set(at, spans);
    }
    this.settle();
    this.version.value += 1;
  }

  /** Opens whatever hides a row. @param {number} at */
  reveal(at) {
    let changed = false;
    for (const [by, spans] of [...this.byRow]) {
      if (spans.some((span) => at >= span.from && at < span.to)) {
        this.byRow.delete(by);
        changed = true;
      }
    }
    if (changed) {
      this.settle();
      this.version.value += 1;
    }
  }

  /** Puts what all rows hide into one list without overlaps. */
  settle() {
    const all = [...this.byRow.values()].flat().sort((a, b) => a.from - b.from || b.to - a.to);
    this.hidden = [];
    for (const span of all) {
      const last = this.hidden[this.hidden.length - 1];
      if (last && span.from < last.to) last.to = Math.max(last.to, span.to);
      else this.hidden.push({ ...span });
    }
  }

  /** How many rows are shown. */
  visible() {
    let count = this.total;
    for (const span of this.hidden) count -= Math.min(span.to, this.total) - span.from;
    return Math.max(0, count);
  }

  /** The row at a place among those shown. @param {number} place */
  rowAt(place) {
    let at = place;
    for (const span of this.hidden) {
      if (span.from > at) break;
      at += span.to - span.from;
    }
    return at;
  }

  /** The place of a row among those shown; of a hidden one, that of what hides it. @param {number} at @returns {number} */
  placeOf(at) {
    let place = at;
    for (const span of this.hidden) {
      if (span.from > at) break;
      if (at < span.to) return this.placeOf(span.by);
      place -= span.to - span.from;
    }
    return place;
  }
}
