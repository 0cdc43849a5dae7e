// @ts-check
/**
 * Values that are watched: `signal` holds one, `computed` derives one, `effect` runs again when what it read changed.
 * Effects run in a microtask, so that several changes cause one run. Everything created inside a `scope` or an effect
 * belongs to it and ends with it. Knows nothing of the page.
 */

/** @typedef {{ run: () => void, sources: Set<Set<any>>, cleanups: Array<() => void>, owner: Node_ | null, eager: boolean, dead: boolean }} Node_ */
/** @template T @typedef {{ value: T, peek: () => T }} Signal */

/** @type {Node_ | null} */
let reader = null;
/** @type {Node_ | null} */
let owner = null;
/** @type {Set<Node_>} */
let waiting = new Set();
let flushing = false;

/** @template T @param {T} value @param {(a: T, b: T) => boolean} [same] @returns {Signal<T>} */
export function signal(value, same = Object.is) {
  /** @type {Set<Node_>} */
  const readers = new Set();
  return {
    get value() {
      if (reader) {
        readers.add(reader);
        reader.sources.add(readers);
      }
      return value;
    },
    set value(next) {
      if (same(value, next)) return;
      value = next;
      for (const node of [...readers]) {
        if (node.eager) node.run();
        else schedule(node);
      }
    },
    peek: () => value,
  };
}

/** Derived, kept up to date at once, and quiet when the result is the same. @template T @param {() => T} derive @param {(a: T, b: T) => boolean} [same] @returns {Signal<T>} */
export function computed(derive, same = Object.is) {
  /** @type {Signal<T> | null} */
  let result = null;
  create(() => {
    const next = derive();
    if (result) result.value = next;
    else result = signal(next, same);
  }, true);
  return /** @type {any} */ (result);
}

/** @param {() => void} work @returns {() => void} ends it */
export function effect(work) {
  const node = create(work, false);
  return () => end(node);
}

/** Runs `work`; what it creates lives until the returned function is called. @template T @param {() => T} work @returns {[T, () => void]} */
export function scope(work) {
  const node = blank(() => {}, false);
  node.owner = null;
  return [within(node, null, work), () => end(node)];
}

/** @param {() => void} work runs when the current effect or scope ends or runs again */
export function onCleanup(work) {
  owner?.cleanups.push(work);
}

/** Reads without watching. @template T @param {() => T} work @returns {T} */
export function untracked(work) {
  return within(owner, null, work);
}

/** @param {() => void} run @param {boolean} eager @returns {Node_} */
function blank(run, eager) {
  return { run, sources: new Set(), cleanups: [], owner, eager, dead: false };
}

/** @param {() => void} work @param {boolean} eager */
function create(work, eager) {
  const node = blank(() => {
    if (node.dead) return;
    clear(node);
    within(node, node, work);
  }, eager);
  owner?.cleanups.push(() => end(node));
  node.run();
  return node;
}

/** @template T @param {Node_ | null} as @param {Node_ | null} reading @param {() => T} work @returns {T} */
function within(as, reading, work) {
  const [oldOwner, oldReader] = [owner, reader];
  [owner, reader] = [as, reading];
  try {
    return work();
  } finally {
    [owner, reader] = [oldOwner, oldReader];
  }
}

/** @param {Node_} node */
function clear(node) {
  for (const source of node.sources) source.delete(node);
  node.sources.clear();
  const cleanups = node.cleanups;
  node.cleanups = [];
  for (const cleanup of cleanups) cleanup();
}

/** @param {Node_} node */
function end(node) {
  node.dead = true;
  waiting.delete(node);
  clear(node);
}

/** @param {Node_} node */
function schedule(node) {
  waiting.add(node);
  if (flushing) return;
  flushing = true;
  queueMicrotask(flush);
}

/** Runs what waits; effects that keep waking each other are cut off rather than freezing the page. */
export function flush() {
  let rounds = 0;
  while (waiting.size > 0 && rounds < 100) {
    const now = waiting;
    waiting = new Set();
    for (const node of now) {
      try {
        node.run();
      } catch (error) {
        reportError(error);
      }
    }
    rounds += 1;
  }
  waiting.clear();
  flushing = false;
}
