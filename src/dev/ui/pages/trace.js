// @ts-check
/** One trace: its head, the waterfall, and the span that was chosen beside it. */

import { effect, onCleanup } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { get } from '../lib/api.js';
import { go, param, setParams, watched } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { on } from '../lib/stream.js';
import { throttled } from '../lib/api.js';
import { duration, shortId } from '../lib/format.js';
import { Rows } from '../trace/rows.js';
import { traceHead } from '../trace/head.js';
import { waterfall } from '../trace/waterfall.js';
import { spanDetail } from '../trace/span.js';
import { copy, traceLink } from '../parts/small.js';
import { failure, skeleton } from '../parts/states.js';

/** @param {string} id */
export function page(id) {
  const rows = new Rows(id);
  void rows.fetch(0);
  const chosen = watched('span');
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let soon;
  // Walking over many spans with a held key does not fill the history, and asks for the last one only.
  const view = waterfall(rows, (row) => {
    clearTimeout(soon);
    soon = setTimeout(() => setParams({ span: row?.span_id ?? '' }, { replace: true }), 60);
  });
  onCleanup(() => clearTimeout(soon));

  const again = throttled(() => void rows.refresh(), 250);
  on('spans', (data) => {
    const about = rows.about.peek();
    if (!about) void rows.fetch(0);
    else if (data === null || data.trace_id === about.trace.trace_id) again();
  });

  // The address names a span: find its row once, wherever it is.
  effect(() => {
    const span = chosen.value;
    const about = rows.about.value;
    if (!span || !about) return;
    const at = view.active.peek();
    if (at >= 0 && rows.get(at)?.span_id === span) return;
    for (const chunk of rows.chunks.values()) {
      const known = chunk.find((row) => row.span_id === span);
      if (known) {
        rows.reveal(known.i);
        view.select(known.i, { quiet: true, centre: true });
        return;
      }
    }
    get(`/traces/${id}/search`, { q: `span=${span}` }).then(
      (answer) => {
        if (answer.rows?.length && chosen.peek() === span) {
          rows.reveal(answer.rows[0]);
          view.select(answer.rows[0], { quiet: true, centre: true });
        }
      },
      () => {},
    );
  });

  effect(() => {
    const root = rows.about.value?.trace.root;
    if (root) document.title = `${root.name} · ${root.service} · Radiosonde`;
  });

  keys('Trace', [
    ['c', 'critical path', () => go(traceLink(id) + '/critical-path')],
    ['f', 'flame', () => go(traceLink(id) + '/flame')],
    ['Y', 'copy as Markdown, for a ticket', () => void asMarkdown()],
    ['Escape', 'close the span', () => (chosen.peek() ? setParams({ span: '' }, { replace: true }) : go('/traces'))],
  ]);

  async function asMarkdown() {
    const about = rows.about.peek();
    if (!about) return;
    const lines = [
      `### ${about.trace.root?.service ?? '?'}: ${about.trace.root?.name ?? about.trace.trace_id}`,
      `${duration(about.trace.duration)}, ${about.trace.spans} spans, ${about.trace.errors} errors, trace \`${about.trace.trace_id}\``,
      '',
      '| span | service | duration | status |',
      '|---|---|---|---|',
    ];
    for (let at = 0; at < Math.min(rows.total, 200); at += 1) {
      const row = rows.get(at);
      if (row)
        lines.push(
          `| ${'· '.repeat(Math.min(row.depth, 20))}${row.name.replace(/\|/g, '\\|')} | ${row.service} | ${duration(row.duration)} | ${row.status === 'error' ? `error ${row.status_message ?? ''}` : ''} |`,
        );
    }
    if (rows.total > 200) lines.push('', `${rows.total - 200} more spans. ${location.href}`);
    await copy(lines.join('\n'), 'Copied as Markdown');
  }

  return html`<div class="page trace">
    ${() => {
      const about = rows.about.value;
      if (about) return traceHead(about.trace, 'Waterfall', about);
      const error = rows.error.value;
      if (!error) return skeleton(12);
      if (error.candidates?.length)
        return html`<div class="state">
          <h2>Several traces begin with ${id}</h2>
          ${error.candidates.map((/** @type {any} */ one) => html`<a href=${traceLink(one.trace_id ?? one)}>${shortId(one.trace_id ?? one)}…</a>`)}
        </div>`;
      return failure(error, () => void rows.fetch(0));
    }}
    <div class="split" data-open=${() => chosen.value !== ''} hidden=${() => !rows.about.value}>
      ${view.node}
      ${() => (chosen.value ? spanDetail(id, chosen.value, () => setParams({ span: '' }, { replace: true })) : null)}
    </div>
  </div>`;
}
