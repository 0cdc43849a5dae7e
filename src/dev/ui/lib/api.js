// @ts-check
/** Asks the agent: one answer (`get`, `post`), an answer that follows what it depends on (`resource`), pages of a list. */

import { effect, onCleanup, signal, untracked } from './signals.js';

/** What went wrong, with what the agent said about it. */
export class ApiError extends Error {
  /** @param {string} message @param {{ status?: number, position?: number, suggestion?: string, candidates?: string[] }} [more] */
  constructor(message, more = {}) {
    super(message);
    this.status = more.status ?? 0;
    this.position = more.position;
    this.suggestion = more.suggestion;
    this.candidates = more.candidates;
  }
}

/** @param {string} path below /api/v1 @param {Record<string, any>} [params] @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function get(path, params = {}, signal) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== '') search.set(name, String(value));
  }
  return ask(`/api/v1${path}${search.size ? `?${search}` : ''}`, { signal });
}

/** @param {string} path @param {any} body @returns {Promise<any>} */
export async function post(path, body) {
  return ask(`/api/v1${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

/** @param {string} address @param {RequestInit} options */
async function ask(address, options) {
  let answer;
  try {
    answer = await fetch(address, { credentials: 'same-origin', ...options });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError('The agent does not answer. Is it still running?');
  }
  let body;
  try {
    body = await answer.json();
  } catch {
    body = null;
  }
  if (answer.ok && body) return body;
  const { error, position, suggestion, candidates } = body ?? {};
  throw new ApiError(error ?? `The agent answered ${answer.status}.`, {
    status: answer.status,
    position,
    suggestion,
    candidates,
  });
}

/**
 * @template T @typedef {object} Resource
 * @property {import('./signals.js').Signal<T | null>} data the last good answer; it stays while the next is awaited
 * @property {import('./signals.js').Signal<ApiError | null>} error
 * @property {import('./signals.js').Signal<boolean>} loading
 * @property {() => void} reload
 */

/**
 * Loads what `load` returns, and again whenever something it read synchronously changes. @template T
 * @param {(signal: AbortSignal) => Promise<T> | null} load @returns {Resource<T>}
 */
export function resource(load) {
  const data = signal(/** @type {T | null} */ (null));
  const error = signal(/** @type {ApiError | null} */ (null));
  const loading = signal(true);
  const version = signal(0);
  effect(() => {
    version.value;
    const abort = new AbortController();
    onCleanup(() => abort.abort());
    const promise = load(abort.signal);
    loading.value = promise !== null;
    promise?.then(
      (answer) => {
        if (abort.signal.aborted) return;
        data.value = answer;
        error.value = null;
        loading.value = false;
      },
      (failure) => {
        if (abort.signal.aborted) return;
        error.value = failure instanceof ApiError ? failure : new ApiError(String(failure?.message ?? failure));
        loading.value = false;
      },
    );
  });
  return { data, error, loading, reload: () => untracked(() => (version.value += 1)) };
}

/** Puts `work` off while someone types into what it would draw again. @param {() => void} work */
export function unlessTyping(work) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  onCleanup(() => clearTimeout(timer));
  const attempt = () => {
    timer = undefined;
    if (document.activeElement?.matches('main .scroll input, main .scroll textarea')) timer = setTimeout(attempt, 1000);
    else work();
  };
  return () => {
    if (timer === undefined) attempt();
  };
}

/** Calls `work` at once, then at most every `ms`; the last call is never lost. @param {() => void} work @param {number} ms */
export function throttled(work, ms) {
  let last = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  onCleanup(() => clearTimeout(timer));
  return () => {
    if (timer !== undefined) return;
    const wait = Math.max(0, last + ms - performance.now());
    timer = setTimeout(() => {
      timer = undefined;
      last = performance.now();
      work();
    }, wait);
  };
}
