// @ts-check
/** Keys: whoever is on the page registers its own, the latest first; the help shows what is registered. */

import { onCleanup } from './signals.js';

/** @typedef {[keys: string, label: string, work: (event: KeyboardEvent) => void | boolean]} Binding several keys are separated by spaces; returning false passes on */
/** @typedef {{ title: string, bindings: Binding[] }} Group */

/** @type {Group[]} */
const groups = [];
let afterG = 0;

/** Registers keys until the owner ends. @param {string} title @param {Binding[]} bindings */
export function keys(title, bindings) {
  const group = { title, bindings };
  groups.push(group);
  onCleanup(() => groups.splice(groups.indexOf(group), 1));
}

/** What can be pressed now, the page's own first. */
export function registered() {
  return [...groups].reverse();
}

export function start() {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const isTyping = target.matches?.(
      'input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]',
    );
    if (isTyping) {
      if (event.key === 'Escape') target.blur();
      return;
    }
    if (document.querySelector('dialog[open]')) return;
    // Enter and space belong to the button or link that has the focus.
    if ((event.key === 'Enter' || event.key === ' ') && target.closest?.('a, button, summary, input')) return;
    const pressed = afterG > performance.now() ? `g${event.key}` : event.key;
    afterG = 0;
    for (const { bindings } of registered()) {
      for (const [names, , work] of bindings) {
        if (!names.split(' ').includes(pressed)) continue;
        if (work(event) === false) continue;
        event.preventDefault();
        return;
      }
    }
    if (event.key === 'g') afterG = performance.now() + 1200;
  });
}
