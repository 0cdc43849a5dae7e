// @ts-check
/**
 * What the agent pushes. All tabs share one connection through a shared worker, since browsers allow a host only six over
 * HTTP/1.1; where there are no shared workers a tab has its own.
 */

import { onCleanup, signal } from './signals.js';

/** @typedef {'traces' | 'spans' | 'logs' | 'metrics' | 'alerts' | 'status' | 'pipeline'} Topic */

/** 'connecting', 'open' or 'lost'. */
export const connection = signal('connecting');
/** Nothing is delivered while this is on; pages load again when it goes off. */
export const paused = signal(false);

/** @type {Map<string, Set<(data: any) => void>>} */
const listeners = new Map();
/** @type {((topics: string[]) => void) | null} */
let tell = null;

/** Calls `work` with what is pushed on a topic, and with `null` after something was missed, until the owner ends. @param {Topic} topic @param {(data: any) => void} work */
export function on(topic, work) {
  const own = listeners.get(topic) ?? new Set();
  listeners.set(topic, own.add(work));
  announce();
  onCleanup(() => {
    own.delete(work);
    if (own.size === 0) listeners.delete(topic);
    announce();
  });
}

/** @param {boolean} value */
export function setPaused(value) {
  if (paused.peek() === value) return;
  paused.value = value;
  if (!value) missed();
}

function missed() {
  for (const own of listeners.values()) for (const work of own) work(null);
}

let announcing = false;
function announce() {
  if (announcing) return;
  announcing = true;
  queueMicrotask(() => {
    announcing = false;
    if (!tell) connect();
    tell?.([...listeners.keys()].sort());
  });
}

/** @param {{ kind: string, topic?: string, data?: any, state?: string }} message */
function take(message) {
  if (message.kind === 'state') {
    connection.value = message.state ?? 'lost';
    return;
  }
  if (paused.peek()) return;
  if (message.kind === 'gap') return missed();
  for (const work of listeners.get(message.topic ?? '') ?? []) work(message.data);
}

function connect() {
  const address = new URL('../stream-worker.js', import.meta.url);
  if (typeof SharedWorker === 'function') {
    try {
      const worker = new SharedWorker(address, { type: 'module', name: `radiosonde ${address.pathname}` });
      worker.port.onmessage = (event) => take(event.data);
      tell = (topics) => worker.port.postMessage({ topics });
      worker.port.start();
      addEventListener('pagehide', () => worker.port.postMessage({ topics: null }));
      addEventListener('pageshow', () => tell?.([...listeners.keys()].sort()));
      return;
    } catch {
      // Blocked by the browser's settings: a connection of our own works as well.
    }
  }
  const own = import('../stream-connection.js').then(({ connection: open }) => open(take));
  tell = (topics) => void own.then((change) => change(topics));
}
