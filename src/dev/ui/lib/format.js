// @ts-check
/** Times, durations, counts, sizes and ids as people read them. Times come as decimal strings of unix nanoseconds. */

const NBSP = '\u00a0';
const DURATIONS = /** @type {const} */ ([
  ['h', 3.6e12],
  ['min', 6e10],
  ['s', 1e9],
  ['ms', 1e6],
  ['µs', 1e3],
  ['ns', 1],
]);

/** @param {string | number | null | undefined} nanoseconds */
export function duration(nanoseconds) {
  if (nanoseconds === null || nanoseconds === undefined || nanoseconds === '') return '–';
  const value = Number(nanoseconds);
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return `0${NBSP}ms`;
  const sign = value < 0 ? '−' : '';
  const size = Math.abs(value);
  if (size >= 3.6e12)
    return `${sign}${Math.floor(size / 3.6e12)}${NBSP}h${NBSP}${Math.round((size % 3.6e12) / 6e10)}${NBSP}min`;
  if (size >= 6e10)
    return `${sign}${Math.floor(size / 6e10)}${NBSP}min${NBSP}${Math.round((size % 6e10) / 1e9)}${NBSP}s`;
  const [unit, factor] = DURATIONS.find(([, least]) => size >= least) ?? ['ns', 1];
  return `${sign}${factor === 1 ? Math.round(size) : fixed(size / factor)}${NBSP}${unit}`;
}

/** For axes: round values stay short. @param {number} nanoseconds */
export function axisDuration(nanoseconds) {
  if (nanoseconds >= 6e11) return `${three(nanoseconds / 6e10)}${NBSP}min`;
  if (nanoseconds >= 6e10) return `${three(nanoseconds / 1e9)}${NBSP}s`;
  return duration(nanoseconds)
    .replace(/\.0+(?=\D)/, '')
    .replace(/(\.\d)0(?=\D)/, '$1');
}

/** Three significant digits, so that a column of durations stays in line. @param {number} value below 1000 */
function fixed(value) {
  return value >= 99.95 ? String(Math.round(value)) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

/** Three significant digits without padding zeros beyond the point. @param {number} value */
export function three(value) {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return String(Math.round(value));
  if (size >= 10) return value.toFixed(1);
  return size >= 0.001 || size === 0 ? value.toFixed(2) : value.toExponential(1);
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
/** @param {number | string | null | undefined} value */
export function count(value) {
  if (value === null || value === undefined) return '–';
  return whole.format(Number(value));
}

/** `12.3k`. @param {number | null | undefined} value */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  const size = Math.abs(value);
  for (const [unit, factor] of /** @type {const} */ ([
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ])) {
    if (size >= factor * 0.9995) return `${three(value / factor)}${unit}`;
  }
  return three(value);
}

/** @param {number | string | null | undefined} value in bytes */
export function bytes(value) {
  if (value === null || value === undefined) return '–';
  const size = Number(value);
  for (const [unit, factor] of /** @type {const} */ ([
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ])) {
    if (Math.abs(size) >= factor) return `${three(size / factor)}${NBSP}${unit}`;
  }
  return `${count(size)}${NBSP}B`;
}

/** @param {number | null | undefined} ratio 0..1 */
export function percent(ratio) {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return '–';
  const value = ratio * 100;
  return `${value > 0 && value < 0.1 ? '<0.1' : value >= 10 || value === 0 ? Math.round(value) : value.toFixed(1)}${NBSP}%`;
}

/** A value in the unit a metric declares (UCUM), else as a plain number. @param {number | null} value @param {string} [unit] */
export function measure(value, unit = '') {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (unit === 's') return duration(value * 1e9);
  if (unit === 'ms') return duration(value * 1e6);
  if (unit === 'us') return duration(value * 1e3);
  if (unit === 'ns') return duration(value);
  if (unit === 'By') return bytes(value);
  if (unit === '%') return `${three(value)}${NBSP}%`;
  const plain = unit.replace(/^\{(.*)\}$/, '$1');
  return plain && plain !== '1' ? `${short(value)}${NBSP}${plain}` : short(value);
}

/** @param {string | number | bigint} nanoseconds */
export function millis(nanoseconds) {
  return Number(BigInt(nanoseconds) / 1000n) / 1000;
}

/** `a - b` in nanoseconds, exact before it becomes a number. @param {string} a @param {string} b */
export function between(a, b) {
  return Number(BigInt(a) - BigInt(b));
}

/** A time inside a trace as nanoseconds from its start; takes relative and absolute ones. @param {string | number} time @param {string} start */
export function relative(time, start) {
  const text = String(time);
  return text.length >= 17 && !text.startsWith('-') ? between(text, start) : Number(text);
}

const clockFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { day: '2-digit', month: 'short' });
const fullFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** `14:20:31.008`, with the day where it is not today. @param {string | null | undefined} nanoseconds @param {boolean} [seconds] without the milliseconds */
export function clock(nanoseconds, seconds = false) {
  if (!nanoseconds) return '–';
  const at = new Date(millis(nanoseconds));
  const fraction = seconds ? '' : `.${String(at.getMilliseconds()).padStart(3, '0')}`;
  const day = Math.abs(Date.now() - at.getTime()) > 43_200_000 && at.toDateString() !== new Date().toDateString();
  return `${day ? `${dayFormat.format(at)} ` : ''}${clockFormat.format(at)}${fraction}`;
}

/** For titles: date, time and nanoseconds. @param {string | null | undefined} nanoseconds */
export function fullTime(nanoseconds) {
  if (!nanoseconds) return '';
  return `${fullFormat.format(new Date(millis(nanoseconds)))} · ${new Date(millis(nanoseconds)).toISOString().slice(0, 19)}.${String(BigInt(nanoseconds) % 1000000000n).padStart(9, '0')}Z`;
}

/** `3 min ago`. @param {string | null | undefined} nanoseconds */
export function ago(nanoseconds) {
  if (!nanoseconds) return '–';
  const seconds = (Date.now() - millis(nanoseconds)) / 1000;
  if (seconds < 2) return 'now';
  if (seconds < 90) return `${Math.round(seconds)}${NBSP}s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}${NBSP}min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)}${NBSP}h ago`;
  return `${Math.round(seconds / 86_400)}${NBSP}d ago`;
}

/** @param {string | null | undefined} id */
export function shortId(id) {
  return id ? id.slice(0, 8) : '–';
}

/** @param {number} n @param {string} one @param {string} [many] */
export function plural(n, one, many = `${one}s`) {
  return `${count(n)}${NBSP}${n === 1 ? one : many}`;
}
