// @ts-check
/** Small line drawings, 16 by 16, in the colour of the text around them. */

import { svg } from '../lib/html.js';

/** @type {Record<string, string>} */
const PATHS = {
  live: 'M2 8h2.5l2-5 3 10 2-5H14',
  traces: 'M2 3.5h7M5 8h9M4 12.5h5',
  logs: 'M2.5 3.5h11M2.5 6.5h7M2.5 9.5h11M2.5 12.5h5',
  metrics: 'M2 13.5V9M6 13.5V5M10 13.5V7.5M14 13.5V2.5',
  map: 'M4 4.5a1.5 1.5 0 1 0 0-.01M12 8a1.5 1.5 0 1 0 0-.01M4 12.5a1.5 1.5 0 1 0 0-.01M5.3 4.8 9.2 7.2M5.3 11.7 9.2 8.8',
  alerts: 'M8 2.5 14 13.5H2zM8 6.5v3.5M8 11.8v.01',
  genai: 'M3 3.5h10v7H8l-3 2.5v-2.5H3zM6 7h.01M8 7h.01M10 7h.01',
  pipeline: 'M2 4.5h4v3H2zM10 2.5h4v3h-4zM10 10.5h4v3h-4zM6 6h2v-2h2M8 6v6h2',
  aws: 'M4.5 12a2.8 2.8 0 0 1-.3-5.6A4 4 0 0 1 12 7a2.5 2.5 0 0 1-.3 5z',
  keys: 'M5 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5M7.5 8H14v2.5M11.5 8v2',
  runs: 'M3.5 2.5v11M3.5 3.5h8l-1.8 2.7L11.5 9h-8',
  flame: 'M2 12.5h12M2 9.5h8M3.5 6.5h5M5 3.5h2',
  compare: 'M6.5 3h-4v10h4M9.5 3h4v10h-4M8 1.5v13',
  critical: 'M2 4h5v4h4v4h3M7 4v0M11 8v0',
  search: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.3 10.3 14 14',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  sun: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1',
  moon: 'M13 9.5A5.5 5.5 0 1 1 6.5 3 4.5 4.5 0 0 0 13 9.5',
  auto: 'M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  play: 'M4.5 3v10l8-5z',
  star: 'M8 2l1.8 3.8 4.2.5-3.1 2.9.8 4.1L8 11.3l-3.7 2 .8-4.1L2 6.3l4.2-.5z',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  link: 'M6.5 9.5l3-3M7 4.5l1.5-1.5a3 3 0 0 1 4.3 4.3L11.5 8.5M9 11.5l-1.5 1.5a3 3 0 0 1-4.3-4.3L4.5 7.5',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  check: 'M3 8.5l3.5 3.5L13 4.5',
  mute: 'M3 6v4h2.5L9 13V3L5.5 6zM11.5 6.5l3 3M14.5 6.5l-3 3',
  trash: 'M3 4.5h10M6 4.5v-2h4v2M4.5 4.5l.7 9h5.6l.7-9',
  help: 'M8 14a6 6 0 1 0 0-12 6 6 0 0 0 0 12M6.2 6.2a1.9 1.9 0 1 1 2.6 1.8c-.6.3-.8.6-.8 1.2M8 11.3v.01',
  table: 'M2.5 3.5h11v9h-11zM2.5 6.5h11M6.5 3.5v9',
  menu: 'M2.5 4.5h11M2.5 8h11M2.5 11.5h11',
  download: 'M8 2.5v7.5M4.8 7l3.2 3.2L11.2 7M2.5 13.5h11',
};

/** @param {string} name @param {number} [size] */
export function icon(name, size = 16) {
  return svg`<svg class="icon" viewBox="0 0 16 16" width=${size} height=${size} aria-hidden="true"><path d=${PATHS[name] ?? ''}></path></svg>`;
}

/** The mark: a balloon, its line, and what it carries. */
export function mark() {
  return svg`<svg class="mark" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
    <circle cx="12" cy="8" r="6.2"></circle><path d="M12 14.2v3.3"></path><rect x="9.7" y="17.5" width="4.6" height="4.2" rx="1"></rect>
    <path class="wave" d="M17.2 17.3a4 4 0 0 1 0 4.6M6.8 17.3a4 4 0 0 0 0 4.6"></path></svg>`;
}
