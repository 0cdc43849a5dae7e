// @ts-check
/** The shell: navigation, which page stands beside it, the keys that hold everywhere, help. */

import { computed, effect, onCleanup, scope, signal } from './lib/signals.js';
import { html } from './lib/html.js';
import { address, go, param, path, start as startRouter } from './lib/router.js';
import { keys, registered, start as startKeys } from './lib/keys.js';
import { get, resource, throttled } from './lib/api.js';
import { connection, on, paused, setPaused } from './lib/stream.js';
import { setTheme, theme } from './lib/colour.js';
import { bytes, short } from './lib/format.js';
import { copy, toasts } from './parts/small.js';
import { failure, skeleton } from './parts/states.js';
import { icon, mark } from './parts/icons.js';

/** @typedef {{ page: (...parts: string[]) => any }} Page */
/** @typedef {{ name: string, at: string, key: string, icon: string, load: () => Promise<Page>, group?: string }} Entry */

/** @type {Entry[]} */
const ENTRIES = [
  { name: 'Live', at: '/live', key: 'l', icon: 'live', load: () => import('./pages/live.js') },
  { name: 'Traces', at: '/traces', key: 't', icon: 'traces', load: () => import('./pages/traces.js') },
  { name: 'Logs', at: '/logs', key: 'o', icon: 'logs', load: () => import('./pages/logs.js') },
  { name: 'Metrics', at: '/metrics', key: 'm', icon: 'metrics', load: () => import('./pages/metrics.js') },
  { name: 'Map', at: '/map', key: 's', icon: 'map', load: () => import('./pages/map.js'), group: 'Understand' },
  { name: 'Alerts', at: '/alerts', key: 'a', icon: 'alerts', load: () => import('./pages/alerts.js') },
  { name: 'GenAI', at: '/genai', key: 'i', icon: 'genai', load: () => import('./pages/genai.js') },
  { name: 'Flame', at: '/flame', key: 'f', icon: 'flame', load: () => import('./pages/flame.js') },
  { name: 'Compare', at: '/compare', key: 'c', icon: 'compare', load: () => import('./pages/compare.js') },
  { name: 'Runs', at: '/runs', key: 'r', icon: 'runs', load: () => import('./pages/runs.js') },
  { name: 'Keys', at: '/keys', key: 'k', icon: 'keys', load: () => import('./pages/keys.js') },
  {
    name: 'Pipeline',
    at: '/pipeline',
    key: 'p',
    icon: 'pipeline',
    load: () => import('./pages/pipeline.js'),
    group: 'Agent',
  },
  { name: 'AWS', at: '/aws', key: 'w', icon: 'aws', load: () => import('./pages/aws.js') },
];

/** @type {[RegExp, string, () => Promise<Page>][]} */
const WITHIN = [
  [/^\/trace\/([\w-]+)$/, 'Trace', () => import('./pages/trace.js')],
  [/^\/trace\/([\w-]+)\/(critical-path)$/, 'Critical path', () => import('./pages/critical.js')],
  [/^\/trace\/([\w-]+)\/(flame)$/, 'Flame', () => import('./pages/flame.js')],
  [/^\/trace\/([\w-]+)\/(logs)$/, 'Logs', () => import('./pages/logs.js')],
  [/^\/trace\/([\w-]+)\/(genai)$/, 'GenAI', () => import('./pages/genai.js')],
  [/^\/genai\/([\w-]+)\/([\w-]+)$/, 'GenAI', () => import('./pages/genai.js')],
];

/** What the address names. */
function found() {
  const here = path.value;
  if (here === '/') return { key: '/traces', name: 'Traces', load: ENTRIES[1].load, parts: [] };
  const entry = ENTRIES.find(({ at }) => at === here);
  if (entry) return { key: entry.at, name: entry.name, load: entry.load, parts: [] };
  for (const [pattern, name, load] of WITHIN) {
    const match = pattern.exec(here);
    if (match) return { key: here, name, load, parts: match.slice(1) };
  }
  return null;
}

/** The page that the address names; the old one stands until the new one is loaded. */
function outlet() {
  const shown = signal(/** @type {any} */ (skeleton(12)));
  const current = computed(() => path.value);
  effect(() => {
    current.value;
    const target = found();
    if (!target) {
      document.title = 'Not found · Radiosonde';
      shown.value = html`<div class="state">
        <h2>There is no such page</h2>
        <a class="button" href="/traces">To the traces</a>
      </div>`;
      return;
    }
    let isGone = false;
    let dispose = () => {};
    onCleanup(() => {
      isGone = true;
      dispose();
    });
    document.title = `${target.name} · Radiosonde`;
    target.load().then(
      (module) => {
        if (isGone) return;
        const [node, end] = scope(() => module.page(...target.parts));
        dispose = end;
        shown.value = node;
      },
      (error) => {
        if (!isGone)
          shown.value = failure(
            {
              message: `This page could not be loaded: ${error.message}`,
              suggestion: 'If the agent was restarted with another version, load the page again.',
            },
            () => location.reload(),
          );
      },
    );
  });
  return () => shown.value;
}

/** @param {import('./lib/api.js').Resource<any>} status @param {import('./lib/api.js').Resource<any>} alerts */
function rail(status, alerts) {
  const firing = () =>
    alerts.data.value?.alerts?.filter((/** @type {any} */ one) => one.state === 'firing').length ?? 0;
  const amounts = () => {
    const store = status.data.value?.store;
    return /** @type {Record<string, any>} */ ({
      Traces: store?.traces,
      Logs: store?.log_records,
      Metrics: store?.series,
    });
  };
  const here = (/** @type {string} */ at) =>
    path.value === at || (at === '/traces' && (path.value === '/' || path.value.startsWith('/trace/')));
  return html`<nav class="rail" aria-label="Pages">
    <a class="brand" href="/traces">${mark()}<span>Radiosonde</span></a>
    ${ENTRIES.map(
      (entry) =>
        html`${entry.group ? html`<p class="group">${entry.group}</p>` : null}<a
            class="item"
            href=${entry.at}
            aria-current=${() => (here(entry.at) ? 'page' : false)}
            title=${`${entry.name} (g ${entry.key})`}
            >${icon(entry.icon)}<span>${entry.name}</span>${() =>
              entry.name === 'Alerts'
                ? firing()
                  ? html`<small class="num bad">${firing()}</small>`
                  : null
                : amounts()[entry.name]
                  ? html`<small class="num">${short(amounts()[entry.name])}</small>`
                  : null}</a
          >`,
    )}
    <div class="foot">
      ${() => storeMeter(status.data.value?.store)}
      <div class="link-state" role="status" data-state=${() => (paused.value ? 'paused' : connection.value)}>
        <i></i
        ><span class="cut"
          >${() => (paused.value ? 'Paused' : connection.value === 'open' ? 'Live' : connection.value === 'lost' ? 'No connection, trying again' : 'Connecting')}</span
        >
      </div>
      <div class="row">
        <button
          class="ghost"
          aria-pressed=${() => String(paused.value)}
          aria-label="Pause live updates"
          title="Pause live updates (p)"
          @click=${() => setPaused(!paused.peek())}
        >
          ${() => icon(paused.value ? 'play' : 'pause', 14)}
        </button>
        ${themeButton()}
        <button class="ghost" aria-label="Keys" title="Keys (?)" @click=${help}>${icon('help', 14)}</button>
      </div>
    </div>
  </nav>`;
}

/** @param {any} store */
function storeMeter(store) {
  if (!store)
    return html`<div class="meter">
      <span>Store</span>
      <div class="track"></div>
    </div>`;
  const share = store.cap > 0 ? Math.min(1, store.used / store.cap) : 0;
  return html`<div class="meter" title=${`${bytes(store.used)} of ${bytes(store.cap)} are used; the oldest goes first`}>
    <span class="num">${bytes(store.used)} of ${bytes(store.cap)}</span>
    <div class="track"><i style=${{ width: `${share * 100}%` }}></i></div>
  </div>`;
}

function themeButton() {
  const now = signal(theme());
  const next = /** @type {const} */ ({ system: 'light', light: 'dark', dark: 'system' });
  const icons = { system: 'auto', light: 'sun', dark: 'moon' };
  return html`<button
    class="ghost"
    aria-label=${() => `Theme: ${now.value}`}
    title=${() => `Theme: ${now.value}`}
    @click=${() => setTheme((now.value = next[now.peek()]))}
  >
    ${() => icon(icons[now.value], 14)}
  </button>`;
}

function help() {
  const groups = registered().filter(({ bindings }) => bindings.length > 0);
  const names = /** @type {Record<string, string>} */ ({
    ArrowDown: '↓',
    ArrowUp: '↑',
    ArrowLeft: '←',
    ArrowRight: '→',
    PageDown: 'PgDn',
    PageUp: 'PgUp',
  });
  const dialog = /** @type {HTMLDialogElement} */ (
    html`<dialog
      aria-label="Keys"
      @close=${() => dialog.remove()}
      @click=${(/** @type {Event} */ event) => event.target === dialog && dialog.close()}
    >
      <header>
        <h2>Keys</h2>
        <button class="ghost" aria-label="Close" @click=${() => dialog.close()}>${icon('close', 14)}</button>
      </header>
      <div class="help">
        ${groups.map(
          (group) =>
            html`<section>
              <h3>${group.title}</h3>
              <dl>
                ${group.bindings.map(
                  ([all, label]) =>
                    html`<dt>
                        ${all.split(' ').map((key) => html`<kbd>${key.startsWith('g') && key.length === 2 ? `g ${key[1]}` : (names[key] ?? key)}</kbd>`)}
                      </dt>
                      <dd>${label}</dd>`,
                )}
              </dl>
            </section>`,
        )}
      </div>
    </dialog>`
  );
  document.body.append(dialog);
  dialog.showModal();
}

function globalKeys() {
  keys(
    'Go to',
    ENTRIES.map((entry) => [`g${entry.key}`, entry.name, () => go(entry.at)]),
  );
  keys('Everywhere', [
    ['p', 'pause and go on', () => setPaused(!paused.peek())],
    ['m', 'map', () => go(address('/map', { q: param('q') }))],
    ['f', 'flame of what is shown', () => go(address('/flame', { q: param('q') }))],
    ['y', 'copy the link', () => void copy(location.href, 'Link copied')],
    ['?', 'this help', help],
  ]);
}

/** A menu closes with a click beside it. */
function closeMenus() {
  document.addEventListener('click', (event) => {
    for (const menu of document.querySelectorAll('details.menu[open]'))
      if (!menu.contains(/** @type {Node} */ (event.target)) || /** @type {Element} */ (event.target).closest('a'))
        menu.removeAttribute('open');
  });
}

function run() {
  startRouter();
  closeMenus();
  startKeys();
  globalKeys();
  const status = resource((signal) => get('/status', {}, signal));
  const alerts = resource((signal) => get('/alerts', {}, signal));
  on('status', throttled(status.reload, 1000));
  on('traces', throttled(status.reload, 2000));
  on('alerts', throttled(alerts.reload, 500));
  const app = document.getElementById('app');
  app?.replaceChildren(
    html`<a
        class="skip"
        href="#main"
        @click=${(/** @type {Event} */ event) => (event.preventDefault(), document.getElementById('main')?.focus())}
        >Skip to the content</a
      >${rail(status, alerts)}
      <main id="main" tabindex="-1">${outlet()}</main>
      ${toasts()}`,
  );
}

scope(run);
