// @ts-check
/**
 * All state of the page is its address: a path that names the page and parameters that say what it shows. Reading is
 * watched; writing pushes or replaces a history entry.
 */

import { computed, scope, signal } from './signals.js';

const route = signal(read());

/** The path, without a slash at its end. */
export const path = computed(() => route.value.path);

function read() {
  return {
    path: location.pathname.replace(/(.)\/+$/, '$1'),
    search: location.search,
    params: new URLSearchParams(location.search),
  };
}

/** @type {Map<string, import('./signals.js').Signal<string>>} */
const watchedParams = new Map();

/** A parameter, '' if absent. Who reads it is woken by its own changes only. @param {string} name */
export function param(name) {
  return watched(name).value;
}

/** @param {string} name @returns {import('./signals.js').Signal<string>} */
export function watched(name) {
  let found = watchedParams.get(name);
  if (!found) {
    // Belongs to nobody: it lives as long as the page.
    [found] = scope(() => computed(() => route.value.params.get(name) ?? ''));
    watchedParams.set(name, found);
  }
  return found;
}

/** Changes parameters; '' or null removes one. @param {Record<string, string | number | null | undefined>} changes @param {{ replace?: boolean }} [how] */
export function setParams(changes, how = {}) {
  go(address(route.peek().path, { ...Object.fromEntries(route.peek().params), ...changes }), how);
}

/** @param {string} to path with parameters @param {Record<string, string | number | null | undefined>} [params] */
export function address(to, params = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== '') search.set(name, String(value));
  }
  // Readable addresses: what need not be escaped in a query is not.
  const text = search.toString().replace(/%3A/g, ':').replace(/%2C/g, ',').replace(/%2F/g, '/');
  return text ? `${to}?${text}` : to;
}

/** @param {string} to @param {{ replace?: boolean }} [how] */
export function go(to, how = {}) {
  if (to === location.pathname + location.search) return;
  history[how.replace ? 'replaceState' : 'pushState'](null, '', to);
  route.value = read();
}

/** Follows links within the page without loading it again. */
export function start() {
  addEventListener('popstate', () => (route.value = read()));
  document.addEventListener('click', (event) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = /** @type {Element} */ (event.target).closest?.('a[href]');
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute('download')) return;
    if (link.origin !== location.origin || link.pathname.startsWith('/api/')) return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}
