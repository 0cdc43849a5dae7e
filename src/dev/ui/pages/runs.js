// @ts-check
/** Runs of `radiosonde dev -- CMD`: how each ended and what it sent; two can be compared. */

import { html } from '../lib/html.js';
import { get, resource, throttled } from '../lib/api.js';
import { address, param, setParams } from '../lib/router.js';
import { on } from '../lib/stream.js';
import { between, count, duration } from '../lib/format.js';
import { chip, copyable, errors, table, time } from '../parts/small.js';
import { empty, view } from '../parts/states.js';
import { icon } from '../parts/icons.js';

export function page() {
  const source = resource((signal) => get('/runs', {}, signal));
  on('status', throttled(source.reload, 2000));
  on('traces', throttled(source.reload, 3000));
  const marked = () => param('sel').split(',').filter(Boolean);
  const mark = (/** @type {string} */ id) =>
    setParams(
      { sel: (marked().includes(id) ? marked().filter((one) => one !== id) : [...marked(), id].slice(-2)).join(',') },
      { replace: true },
    );
  return html`<div class="page">
    <header class="bar-top">
      <h1>Runs</h1>
      <span class="dim">what <code>radiosonde dev -- CMD</code> ran</span
      ><span class="grow"></span
      >${() => (marked().length ? html`<a class="button primary" aria-disabled=${marked().length < 2} href=${marked().length === 2 ? address('/compare', { a: marked()[0], b: marked()[1] }) : '/runs'}>${icon('compare', 14)}${marked().length < 2 ? 'Mark one more' : 'Compare'}</a>` : null)}
    </header>
    <div class="scroll">
      ${view(source, (answer) =>
        answer.runs.length === 0
          ? empty('nothing received', {
              hint: html`<h2>No runs yet</h2>
                <p>
                  Run your program with everything set; its exit code, errors and durations are kept and can be compared
                  with the run before.
                </p>
                ${copyable('radiosonde dev -- npm test')}`,
            })
          : table(
              [
                {
                  head: '',
                  cell: (run) =>
                    html`<input
                      type="checkbox"
                      aria-label=${`Mark ${run.id} to compare`}
                      .checked=${() => marked().includes(run.id)}
                      @change=${() => mark(run.id)}
                    />`,
                },
                {
                  head: 'Run',
                  cell: (run) =>
                    html`<a class="row-link mono" href=${address('/traces', { run: run.id })}>${run.id}</a>`,
                },
                {
                  head: 'Command',
                  wide: true,
                  cell: (run) => html`<code>${Array.isArray(run.command) ? run.command.join(' ') : run.command}</code>`,
                },
                { head: 'Started', cell: (run) => time(run.started, true) },
                {
                  head: 'Took',
                  kind: 'r',
                  cell: (run) =>
                    run.ended ? duration(between(run.ended, run.started)) : html`<span class="good">runs</span>`,
                },
                {
                  head: 'Exit',
                  kind: 'r',
                  cell: (run) =>
                    run.exit_code === null || run.exit_code === undefined
                      ? html`<span class="faint">–</span>`
                      : run.exit_code === 0
                        ? chip('0', 'good')
                        : chip(`✖ ${run.exit_code}`, 'bad'),
                },
                {
                  head: 'Traces',
                  kind: 'r',
                  cell: (run) => html`<a href=${address('/traces', { run: run.id })}>${count(run.traces)}</a>`,
                },
                { head: 'Spans', kind: 'r', cell: (run) => count(run.spans) },
                { head: 'Errors', kind: 'r', cell: (run) => errors(run.errors) },
                {
                  head: 'Logs',
                  kind: 'r',
                  cell: (run) => html`<a href=${address('/logs', { q: `run=${run.id}` })}>${count(run.logs)}</a>`,
                },
              ],
              answer.runs,
              { label: 'Runs' },
            ),
      )}
    </div>
  </div>`;
}
