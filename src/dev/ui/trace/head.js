// @ts-check
/** The head of all pages of one trace: what it is, its figures, the ways to look at it. */

import { html } from '../lib/html.js';
import { count, duration, plural, shortId } from '../lib/format.js';
import { address } from '../lib/router.js';
import { chip, copy, downloads, figures, service, tabs, time } from '../parts/small.js';
import { status } from '../pages/traces.js';
import { icon } from '../parts/icons.js';

/** @param {any} trace @param {'Waterfall' | 'Critical path' | 'Flame' | 'Logs' | 'GenAI'} current @param {any} [about] the rest of the answer */
export function traceHead(trace, current, about) {
  const to = (/** @type {string} */ name) => address(`/trace/${trace.trace_id}${name}`);
  const ways = [
    { name: 'Waterfall', href: to('') },
    { name: 'Critical path', href: to('/critical-path'), key: 'c' },
    { name: 'Flame', href: to('/flame'), key: 'f' },
    { name: 'Logs', href: to('/logs'), count: trace.logs },
    { name: 'GenAI', href: to('/genai') },
  ];
  return html`<header class="trace-head">
    <div class="trace-title">
      <a class="ghost" href="/traces" aria-label="Back to the traces" title="Back to the traces"
        >${icon('traces', 14)}</a
      >
      ${service(trace.root?.service ?? trace.services?.[0])}
      <h1 class="cut">${trace.root?.name ?? 'Root span not received'}</h1>
      ${status(trace.root)}
      ${trace.pending ? chip('arriving', 'accent') : null}${trace.partial ? chip('partly removed from the store', 'warn') : null}
      <button
        class="copy-id mono"
        title=${`Copy ${trace.trace_id}`}
        @click=${() => copy(trace.trace_id, 'Trace id copied')}
      >
        ${shortId(trace.trace_id)}
      </button>
      <span class="grow"></span>${tabs('Ways to look at this trace', ways, current)}${downloads(
        { trace_id: trace.trace_id },
        [
          ['html', 'One page (HTML)'],
          ['md', 'Markdown'],
          ['json', 'OTLP JSON'],
          ['protobuf', 'OTLP protobuf'],
        ],
      )}
    </div>
    ${figures([
      ['Duration', duration(trace.duration)],
      ['Start', time(trace.start)],
      ['Spans', count(trace.spans)],
      ['Errors', count(trace.errors), trace.errors > 0 ? 'bad' : ''],
      ['Services', count(trace.services?.length)],
      ...(about ? /** @type {[string, any][]} */ ([['Levels', count(about.max_depth + 1)]]) : []),
      ...(trace.run ? /** @type {[string, any][]} */ ([['Run', trace.run]]) : []),
    ])}
    ${about ? notices(about) : null}
  </header>`;
}

/** @param {any} about */
function notices(about) {
  const found = [];
  if (about.missing_parents > 0)
    found.push(
      `${plural(about.missing_parents, 'parent span')} did not arrive; their children stand at the outer level`,
    );
  for (const skew of about.skew ?? [])
    found.push(`the clock of ${skew.service} seems to be ${duration(skew.by)} off; nothing was shifted here`);
  const lints = (about.lints ?? []).map(
    (/** @type {any} */ lint) =>
      html`<a
        class=${`chip ${lint.severity === 'info' ? 'info' : 'warn'}`}
        href=${address('/alerts', { id: lint.id })}
        title=${lint.text ?? ''}
        >▲ ${lint.title ?? lint.rule}</a
      >`,
  );
  if (found.length === 0 && lints.length === 0) return null;
  return html`<div class="trace-notes">${lints}${found.map((text) => html`<span class="warn">▲ ${text}</span>`)}</div>`;
}
