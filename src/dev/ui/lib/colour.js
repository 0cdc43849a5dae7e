// @ts-check
/**
 * Colours: each service has one of ten hues that can be told apart with any colour vision, by a stable hash of its name
 * (FNV-1a of the UTF-8 bytes, modulo ten; the terminal uses the same). Canvases read the palette of the style sheet here.
 */

import { signal } from './signals.js';

const HUES = 10;
const encoder = new TextEncoder();
/** @type {Map<string, number>} */
const known = new Map();

/** @param {string | null | undefined} service @returns {number} 0..9 */
export function hue(service) {
  const name = service ?? '';
  let found = known.get(name);
  if (found === undefined) {
    let hash = 0x811c9dc5;
    for (const byte of encoder.encode(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    found = hash % HUES;
    if (known.size > 10_000) known.clear();
    known.set(name, found);
  }
  return found;
}

/** Counts up when the theme changed, so that canvases are drawn again. */
export const themeVersion = signal(0);
/** @type {Map<string, string>} */
const resolved = new Map();
/** @type {HTMLElement | null} */
let probe = null;

/** A colour of the style sheet as a canvas takes it. @param {string} name without the dashes */
export function colour(name) {
  themeVersion.value;
  let found = resolved.get(name);
  if (found === undefined) {
    if (!probe) {
      probe = document.createElement('span');
      probe.hidden = true;
      document.body.append(probe);
    }
    probe.style.color = `var(--${name})`;
    found = getComputedStyle(probe).color;
    resolved.set(name, found);
  }
  return found;
}

/** @param {string | null | undefined} service */
export function serviceColour(service) {
  return colour(`hue${hue(service)}`);
}

function changed() {
  resolved.clear();
  themeVersion.value += 1;
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed);

/** @returns {'system' | 'light' | 'dark'} */
export function theme() {
  const set = document.documentElement.dataset.theme;
  return set === 'light' || set === 'dark' ? set : 'system';
}

/** @param {'system' | 'light' | 'dark'} wanted */
export function setTheme(wanted) {
  if (wanted === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
  try {
    if (wanted === 'system') localStorage.removeItem('theme');
    else localStorage.setItem('theme', wanted);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  changed();
}

/** Whether motion is unwanted. */
export function isStill() {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}
