// @ts-check
/**
 * `html` and `svg`: template literals that become nodes. What is written in the literal is our own markup and is parsed
 * once; every value put into it becomes a text node, an attribute or a listener, never markup. Telemetry is hostile.
 *
 * - `<p>${value}</p>`: text, a node, a list of these; nothing for null, undefined and booleans; a function is watched.
 * - `<a href=${value}>`: attributes stand without quotes and take the whole value; false removes, true sets it empty.
 *   Addresses are only taken over when they lead to http, https or within this page.
 * - `<b @click=${listener}>`, `<input .value=${value}>` (property), `<i style=${{ width: '3px' }}>` (by CSSOM: the policy
 *   of the page forbids style attributes), `<div ref=${(node) => ...}>`.
 */

import { effect } from './signals.js';

/** @typedef {{ at: number, kind: 'child' | 'attribute', name: string }} Hole */
/** @typedef {{ template: HTMLTemplateElement, holes: Hole[] }} Plan */

/** @type {WeakMap<TemplateStringsArray, Plan>} */
const plans = new WeakMap();
const ADDRESSES = new Set(['href', 'src', 'action', 'formaction', 'xlink:href', 'poster', 'data', 'srcdoc']);

/** @param {TemplateStringsArray} strings @param {...any} values @returns {any} */
export function html(strings, ...values) {
  return make(strings, values, false);
}

/** @param {TemplateStringsArray} strings @param {...any} values @returns {any} */
export function svg(strings, ...values) {
  return make(strings, values, true);
}

/** @param {TemplateStringsArray} strings @param {any[]} values @param {boolean} isSvg */
function make(strings, values, isSvg) {
  let plan = plans.get(strings);
  if (!plan) plans.set(strings, (plan = compile(strings, isSvg)));
  const root = /** @type {DocumentFragment} */ (document.importNode(plan.template.content, true));
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_COMMENT);
  /** @type {Node[]} */
  const targets = [];
  let at = -1;
  for (const hole of plan.holes) {
    while (at < hole.at && walker.nextNode()) at += 1;
    targets.push(walker.currentNode);
  }
  plan.holes.forEach((hole, index) => {
    const target = targets[index];
    if (hole.kind === 'child') fill(/** @type {Comment} */ (target), values[index]);
    else bind(/** @type {Element} */ (target), hole.name, values[index]);
  });
  const only = root.firstElementChild;
  return only && root.childNodes.length === 1 ? root.removeChild(only) : root;
}

/** @param {TemplateStringsArray} strings @param {boolean} isSvg @returns {Plan} */
function compile(strings, isSvg) {
  let text = '';
  strings.forEach((part, index) => {
    text += index === 0 ? part.replace(/^\s*\n\s*/, '') : part;
    if (index === strings.length - 1) return;
    const inTag = text.lastIndexOf('<') > text.lastIndexOf('>');
    const attribute = /\s([@.]?[\w:-]+)=$/.exec(text);
    if (inTag && attribute) text = `${text.slice(0, -attribute[1].length - 1)}hole${index}="${attribute[1]}"`;
    else if (inTag) throw new Error(`a value inside a tag must be a whole attribute: ${part}`);
    else text += `<!--hole${index}-->`;
  });
  text = text.replace(/\s*\n\s*$/, '');
  const template = document.createElement('template');
  template.innerHTML = isSvg ? `<svg>${text}</svg>` : text; // Our own literals only: no value has been put in yet.
  if (isSvg) template.content.replaceChildren(...(template.content.firstElementChild?.childNodes ?? []));
  /** @type {Hole[]} */
  const holes = [];
  const walker = document.createTreeWalker(template.content, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_COMMENT);
  for (let at = 0; walker.nextNode(); at += 1) {
    const node = walker.currentNode;
    if (node instanceof Element) {
      for (const { name, value } of [...node.attributes]) {
        const index = /^hole(\d+)$/.exec(name);
        if (!index) continue;
        node.removeAttribute(name);
        holes[Number(index[1])] = { at, kind: 'attribute', name: value };
      }
    } else {
      const index = /^hole(\d+)$/.exec(node.nodeValue ?? '');
      if (index) holes[Number(index[1])] = { at, kind: 'child', name: '' };
    }
  }
  return { template, holes };
}

/** @param {Comment} place @param {any} value */
function fill(place, value) {
  if (typeof value !== 'function') {
    place.replaceWith(...nodesOf(value));
    return;
  }
  const end = document.createComment('');
  place.after(end);
  effect(() => {
    const nodes = nodesOf(value());
    while (place.nextSibling && place.nextSibling !== end) place.nextSibling.remove();
    place.after(...nodes);
  });
}

/** @param {any} value @returns {Node[]} */
function nodesOf(value) {
  if (value === null || value === undefined || typeof value === 'boolean') return [];
  if (Array.isArray(value)) return value.flatMap(nodesOf);
  if (value instanceof DocumentFragment) return [...value.childNodes];
  if (value instanceof Node) return [value];
  if (typeof value === 'function') {
    const place = document.createComment('');
    const holder = document.createDocumentFragment();
    holder.append(place);
    fill(place, value);
    return [...holder.childNodes];
  }
  return [document.createTextNode(visible(String(value)))];
}

/** Characters that turn the direction of text around, or command a terminal, are shown as signs. @param {string} text */
export function visible(text) {
  if (!/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(text)) return text;
  return text
    .replace(/\r\n/g, '\n')
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (sign) => String.fromCharCode(0x2400 + sign.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
}

/** @param {Element} node @param {string} name @param {any} value */
function bind(node, name, value) {
  if (name === 'ref') value(node);
  else if (name.startsWith('@')) node.addEventListener(name.slice(1), value);
  else if (name.startsWith('on')) throw new Error('listeners are bound with @');
  else if (typeof value === 'function') effect(() => set(node, name, value()));
  else set(node, name, value);
}

/** @param {Element} node @param {string} name @param {any} value */
function set(node, name, value) {
  if (name.startsWith('.')) /** @type {any} */ (node)[name.slice(1)] = value;
  else if (name === 'style') {
    for (const [key, text] of Object.entries(value ?? {}))
      /** @type {HTMLElement} */ (node).style.setProperty(key, String(text));
  } else if (value === false || value === null || value === undefined) node.removeAttribute(name);
  else if (ADDRESSES.has(name) && !isHarmless(String(value))) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? '' : String(value));
}

/** Whether an address leads to http, https or a place of this page. @param {string} address */
export function isHarmless(address) {
  try {
    const url = new URL(address, location.href);
    return (
      url.protocol === 'http:' ||
      url.protocol === 'https:' ||
      (url.protocol === 'blob:' && url.origin === location.origin)
    );
  } catch {
    return false;
  }
}
