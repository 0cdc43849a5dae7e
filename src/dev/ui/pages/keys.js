// @ts-check
/** Attribute keys: where they occur, of what type, how many values, and what the conventions say of them. */

import { html } from '../lib/html.js';
import { get, resource, throttled } from '../lib/api.js';
import { address, param, setParams } from '../lib/router.js';
import { on } from '../lib/stream.js';
import { count, percent, plural } from '../lib/format.js';
import { choice, chip, quoted, table, term } from '../parts/small.js';
import { empty, view } from '../parts/states.js';

const SCOPES = /** @type {[string, string][]} */ ([
  ['', 'All'],
  ['resource', 'Resource'],
  ['span', 'Spans'],
  ['log', 'Logs'],
  ['metric', 'Metrics'],
  ['event', 'Events'],
  ['scope', 'Scopes'],
]);

export function page() {
  const source = resource((signal) => get('/keys', { limit: 2000 }, signal));
  const libraries = resource((signal) => get('/services', {}, signal));
  on('traces', throttled(source.reload, 10_000));
  const shown = (/** @type {any} */ answer) =>
    answer.keys.filter(
      (/** @type {any} */ one) =>
        (!param('scope') || one.scope === param('scope')) &&
        (!param('verdict') || one.semconv === param('verdict')) &&
        one.key.toLowerCase().includes(param('find').toLowerCase()),
    );
  return html`<div class="page">
    <header class="bar-top">
      <h1>Keys</h1>
      <input
        class="field grow"
        type="search"
        placeholder="Find a key"
        aria-label="Find a key"
        .value=${() => param('find')}
        @input=${(/** @type {any} */ event) => setParams({ find: event.target.value }, { replace: true })}
      />${choice(
        'Where',
        SCOPES,
        () => param('scope'),
        (scope) => setParams({ scope }, { replace: true }),
      )}${choice(
        'Verdict',
        [
          ['', 'Any'],
          ['known', 'Known'],
          ['deprecated', 'Deprecated'],
          ['custom', 'Own'],
        ],
        () => param('verdict'),
        (verdict) => setParams({ verdict }, { replace: true }),
      )}
    </header>
    <div class="scroll">
      ${view(source, (answer) => {
        if (answer.keys.length === 0) return empty(answer.empty, { what: 'attributes' });
        const rows = shown(answer);
        return [
          html`<p class="dim pad num">
            ${plural(rows.length, 'key')},
            ${count(rows.filter((/** @type {any} */ one) => one.semconv === 'deprecated').length)} deprecated
          </p>`,
          table(
            [
              {
                head: 'Key',
                cell: (one) =>
                  html`<a
                    class="row-link mono"
                    href=${address(one.scope === 'log' ? '/logs' : one.scope === 'metric' ? '/metrics' : '/traces', { q: `has(${/^[\w.\-/]+$/.test(one.key) ? one.key : quoted(one.key)})` })}
                    >${one.key}</a
                  >`,
              },
              { head: 'Where', cell: (one) => one.scope },
              { head: 'Type', cell: (one) => types(one.types) },
              { head: 'Records', kind: 'r', cell: (one) => count(one.count) },
              { head: 'Values', kind: 'r', cell: (one) => values(one) },
              { head: 'Verdict', cell: verdict },
              {
                head: 'Examples',
                wide: true,
                cell: (one) =>
                  html`<span class="examples"
                    >${(one.examples ?? []).slice(0, 4).map((/** @type {any} */ example) => html`<a class="chip mono" href=${address(one.scope === 'log' ? '/logs' : '/traces', { q: term(one.key, text(example)) })}>${text(example).slice(0, 40)}</a>`)}</span
                  >`,
              },
            ],
            rows,
            { label: 'Attribute keys', limit: 1000 },
          ),
        ];
      })}
      ${() => libraryTable(source.data.value?.scopes)}
      ${view(
        libraries,
        (answer) =>
          answer.services?.length
            ? html`<h3 class="pad">Services and their instrumentation</h3>
                ${table(
                  [
                    {
                      head: 'Service',
                      cell: (one) =>
                        html`<a class="row-link" href=${address('/traces', { q: term('service', one.name) })}
                          >${one.name}</a
                        >`,
                    },
                    { head: 'Language', cell: (one) => one.language ?? '' },
                    { head: 'SDK', cell: (one) => one.sdk ?? '' },
                    { head: 'Spans', kind: 'r', cell: (one) => count(one.spans) },
                    { head: 'Errors', kind: 'r', cell: (one) => percent(one.spans ? one.errors / one.spans : 0) },
                    {
                      head: 'Operations',
                      wide: true,
                      cell: (one) =>
                        html`<span class="dim"
                          >${(one.operations ?? [])
                            .slice(0, 6)
                            .map((/** @type {any} */ op) => op.name ?? op)
                            .join(', ')}</span
                        >`,
                    },
                  ],
                  answer.services,
                  { label: 'Services' },
                )}`
            : null,
        { lines: 3 },
      )}
    </div>
  </div>`;
}

/** @param {[name: string, version: string, spans: number][] | undefined} scopes */
function libraryTable(scopes) {
  if (!scopes?.length) return null;
  return html`<h3 class="pad">Instrumentation libraries</h3>
    ${table(
      [
        { head: 'Library', cell: ([name]) => html`<code>${name || 'unnamed'}</code>` },
        { head: 'Version', cell: ([, version]) => version },
        { head: 'Records', kind: 'r', cell: ([, , n]) => count(n) },
        { head: '', wide: true, cell: () => null },
      ],
      scopes,
      { label: 'Instrumentation libraries' },
    )}`;
}

/** @param {any} example */
function text(example) {
  return typeof example === 'string'
    ? example
    : example?.value !== undefined
      ? String(example.value)
      : JSON.stringify(example);
}

/** @param {any} all */
function types(all) {
  const names = Array.isArray(all) ? all.map((one) => one.type ?? one) : Object.keys(all ?? {});
  return names.length > 1
    ? html`<span class="warn" title="One key with several types">▲ ${names.join(', ')}</span>`
    : names.join('');
}

/** @param {any} one */
function values(one) {
  const many = one.count > 100 && one.values / one.count > 0.9 && !/id$|_id|address|time/.test(one.key);
  return html`<span class=${`num ${many ? 'warn' : ''}`} title=${many ? 'Nearly every record has its own value' : ''}
    >${count(one.values)}</span
  >`;
}

/** @param {any} one */
function verdict(one) {
  if (one.semconv === 'deprecated')
    return html`${chip('▲ deprecated', 'warn')}${one.instead ? html` <span class="dim">use <code>${one.instead}</code></span>` : null}`;
  return one.semconv === 'known' ? chip('known', 'good') : chip('own');
}
