// @ts-check
/** Calls of models: tokens, cost, time to the first token, and the conversation with its tools. */

import { signal } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { get, resource, throttled, unlessTyping } from '../lib/api.js';
import { address, go } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { on } from '../lib/stream.js';
import { count, duration, shortId } from '../lib/format.js';
import { queryBar, timeWindow, windowParams } from '../parts/querybar.js';
import { chip, copy, figures, panel, table, time, traceLink } from '../parts/small.js';
import { empty, pruned, view } from '../parts/states.js';
import { icon } from '../parts/icons.js';
import { json } from '../parts/json.js';
import { traceHead } from '../trace/head.js';

/** @typedef {Record<string, { input: number, output: number }>} Prices in dollars for a million tokens */
const prices = signal(/** @type {Prices} */ (kept()));

/** @param {string} [trace] @param {string} [span] */
export function page(trace, span) {
  if (trace && span && span !== 'genai') return conversation(trace, span);
  const source = resource((signal) => get('/genai', trace ? { q: `trace=${trace}` } : windowParams(), signal));
  on('traces', throttled(unlessTyping(source.reload), 2000));
  const about = trace ? resource((signal) => get(`/traces/${trace}`, { limit: 1 }, signal)) : null;
  if (trace) keys('GenAI', [['Escape', 'back to the waterfall', () => go(traceLink(trace))]]);
  return html`<div class="page">
    ${
      about
        ? view(about, (answer) => traceHead(answer.trace, 'GenAI'), { lines: 2 })
        : html`<header class="bar-top">
            <h1>GenAI</h1>
            ${queryBar({ error: () => source.error.value, placeholder: 'gen_ai.request.model=large-model status=error' })}${timeWindow()}
          </header>`
    }
    ${() => pruned(source.data.value?.pruned)}
    <div class="scroll">
      ${view(source, (answer) => (answer.calls.length === 0 ? nothing(answer, trace) : overview(answer)))}
    </div>
  </div>`;
}

/** @param {any} answer @param {string | undefined} trace */
function nothing(answer, trace) {
  if (trace)
    return html`<div class="state">
      <span class="state-icon">${icon('genai', 20)}</span>
      <h2>No model was called in this trace</h2>
      <p>Spans with <code>gen_ai.*</code> or OpenInference attributes appear here.</p>
    </div>`;
  if (answer.empty && answer.empty !== 'nothing received') return empty(answer.empty, { what: 'calls of models' });
  return empty('nothing received', {
    hint: html`<h2>No calls of models yet</h2>
      <p>
        Spans with <code>gen_ai.*</code> attributes of OpenTelemetry, or those of OpenInference, appear here with their
        tokens, cost and conversation.
      </p>`,
  });
}

/** @param {any} answer */
function overview(answer) {
  const cost = (/** @type {any} */ one) => costOf(one);
  const sum = (/** @type {(one: any) => number} */ of) =>
    answer.models.reduce((/** @type {number} */ total, /** @type {any} */ one) => total + (of(one) || 0), 0);
  const known = answer.models.map(cost).filter((/** @type {number | null} */ one) => one !== null);
  return html`<div class="grid">
    <div class="pad-flat">
      ${() =>
        figures([
          ['Calls', count(sum((one) => one.calls))],
          ['Tokens in', count(sum((one) => one.input_tokens))],
          ['Tokens out', count(sum((one) => one.output_tokens))],
          [
            'Cost',
            known.length
              ? `${money(sum((one) => cost(one) ?? 0))}${known.length < answer.models.length ? ' and more: a price is missing' : ''}`
              : 'unknown: set the prices below',
          ],
        ])}
    </div>
    ${panel(
      'Models',
      () =>
        table(
          [
            {
              head: 'Model',
              wide: true,
              cell: (one) =>
                html`<a class="row-link" href=${address('/genai', { q: `gen_ai.request.model="${one.model}"` })}
                  >${one.model}</a
                >`,
            },
            { head: 'Calls', kind: 'r', cell: (one) => count(one.calls) },
            { head: 'Tokens in', kind: 'r', cell: (one) => count(one.input_tokens) },
            { head: 'Tokens out', kind: 'r', cell: (one) => count(one.output_tokens) },
            { head: '$ / M in', kind: 'r', cell: (one) => price(one.model, 'input') },
            { head: '$ / M out', kind: 'r', cell: (one) => price(one.model, 'output') },
            {
              head: 'Cost',
              kind: 'r',
              cell: (one) => (cost(one) === null ? html`<span class="faint">unknown</span>` : money(cost(one) ?? 0)),
            },
          ],
          answer.models,
          { label: 'Models' },
        ),
      html`<span class="faint small-text">Prices stay in this browser.</span>`,
    )}
    ${panel('Calls', () =>
      table(
        [
          { head: 'Time', cell: (one) => time(one.time) },
          {
            head: 'Model',
            cell: (one) =>
              html`<a class="row-link" href=${`/genai/${one.trace_id}/${one.span_id}`}>${one.model ?? 'unknown'}</a>`,
          },
          { head: 'Operation', cell: (one) => one.operation ?? '' },
          { head: 'Conversation', cell: (one) => (one.conversation ? chip(one.conversation) : null) },
          { head: 'In', kind: 'r', cell: (one) => count(one.input_tokens) },
          { head: 'Out', kind: 'r', cell: (one) => count(one.output_tokens) },
          { head: 'First token', kind: 'r', cell: (one) => duration(one.ttft) },
          { head: 'Duration', kind: 'r', cell: (one) => duration(one.duration) },
          {
            head: 'Cost',
            kind: 'r',
            cell: (one) => (costOf(one) === null ? html`<span class="faint">–</span>` : money(costOf(one) ?? 0)),
          },
          {
            head: '',
            cell: (one) =>
              one.error ? html`<span class="chip bad">✖ ${one.error === true ? 'error' : one.error}</span>` : null,
          },
          {
            head: 'Trace',
            cell: (one) =>
              html`<a class="mono" href=${traceLink(one.trace_id, { span: one.span_id })}>${shortId(one.trace_id)}</a>`,
          },
        ],
        answer.calls,
        { label: 'Calls of models' },
      ),
    )}
  </div>`;
}

/** @param {any} one @returns {number | null} */
function costOf(one) {
  const own = prices.value[one.model];
  if (own) return ((one.input_tokens ?? 0) * own.input + (one.output_tokens ?? 0) * own.output) / 1e6;
  return one.cost === null || one.cost === undefined ? null : Number(one.cost);
}

/** @param {number} dollars */
function money(dollars) {
  return `$${dollars >= 1 ? dollars.toFixed(2) : dollars >= 0.01 ? dollars.toFixed(3) : dollars.toFixed(5)}`;
}

/** @param {string} model @param {'input' | 'output'} which */
function price(model, which) {
  const change = (/** @type {any} */ event) => {
    const value = Number.parseFloat(event.target.value);
    const next = { ...prices.peek() };
    const own = {
      ...(next[model] ?? { input: 0, output: 0 }),
      [which]: Number.isFinite(value) && value >= 0 ? value : 0,
    };
    if (own.input === 0 && own.output === 0) delete next[model];
    else next[model] = own;
    prices.value = next;
    try {
      localStorage.setItem('prices', JSON.stringify(next));
    } catch {
      // Lasts as long as the page.
    }
  };
  return html`<input
    class="field slim r"
    inputmode="decimal"
    placeholder="?"
    aria-label=${`Price of ${model}, ${which}`}
    .value=${prices.value[model]?.[which] || ''}
    @change=${change}
  />`;
}

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem('prices') ?? '{}');
    return found && typeof found === 'object' && !Array.isArray(found) ? found : {};
  } catch {
    return {};
  }
}

/** @param {string} trace @param {string} span */
function conversation(trace, span) {
  const source = resource((signal) => get(`/genai/${trace}/${span}`, {}, signal));
  const about = resource((signal) => get(`/traces/${trace}`, { limit: 1 }, signal));
  const isOpen = signal(false);
  keys('Conversation', [
    ['o', 'show or hide what was said', () => (isOpen.value = !isOpen.peek())],
    ['Escape', 'to the span', () => go(traceLink(trace, { span }))],
  ]);
  return html`<div class="page">
    ${view(about, (answer) => traceHead(answer.trace, 'GenAI'), { lines: 2 })}
    <div class="scroll">
      <div class="chat">
        <header class="row">
          <h2>Conversation</h2>
          <span class="grow"></span
          ><label class="check"
            ><input
              type="checkbox"
              .checked=${() => isOpen.value}
              @change=${(/** @type {any} */ event) => (isOpen.value = event.target.checked)}
            />Show all</label
          ><a class="button small" href=${traceLink(trace, { span })}>${icon('traces', 14)}Span</a>
        </header>
        ${view(source, (answer) => (answer.messages?.length ? answer.messages.map((/** @type {any} */ message) => one(message, () => isOpen.value)) : html`<p class="dim">The span carries no messages. Instrumentation leaves them out unless told to record what was said.</p>`))}
      </div>
    </div>
  </div>`;
}

/** @param {any} message @param {() => boolean} isOpen */
function one(message, isOpen) {
  return html`<section class=${`message is-${/^\w+$/.test(message.role) ? message.role : 'other'}`}>
    <header><b>${message.role}</b></header>
    ${(message.parts ?? []).map((/** @type {any} */ part) => piece(part, isOpen))}
  </section>`;
}

/** Arguments often come as text that is JSON. @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @param {any} part @param {() => boolean} isOpen */
function piece(part, isOpen) {
  const text = typeof part.text === 'string' ? part.text : '';
  if (part.tool || /tool/.test(part.type ?? '')) {
    const tool = part.tool ?? part;
    const name = typeof tool === 'string' ? tool : (tool.name ?? part.name ?? part.type);
    const content =
      part.arguments ??
      part.result ??
      (typeof tool === 'string' ? text || null : (tool.arguments ?? tool.result ?? tool));
    return html`<details open=${isOpen}>
      <summary>
        ${chip(/response|result/.test(part.type ?? '') ? 'result of a tool' : 'tool', 'accent')}
        <code>${name ?? ''}</code>
      </summary>
      <div class="json-box">${json(typeof content === 'string' ? parsed(content) : content)}</div>
    </details>`;
  }
  const first = text.slice(0, 90).replace(/\s+/g, ' ');
  return html`<details open=${isOpen}>
    <summary><span class="dim">${first}${text.length > 90 ? '…' : ''}</span></summary>
    <div class="said">
      <pre>${text.slice(0, 200_000)}</pre>
      <button class="ghost" aria-label="Copy" title="Copy" @click=${() => copy(text)}>${icon('copy', 12)}</button>
    </div>
  </details>`;
}
