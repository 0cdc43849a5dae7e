// @ts-check
/** Everything about one span. Values are shown as what they are; a click on one asks for all spans that have it. */

import { signal } from '../lib/signals.js';
import { html, isHarmless, visible } from '../lib/html.js';
import { get, resource } from '../lib/api.js';
import { address } from '../lib/router.js';
import { clock, count, duration, measure, plural, relative, shortId } from '../lib/format.js';
import { chip, copy, service, term, time, traceLink } from '../parts/small.js';
import { view } from '../parts/states.js';
import { icon } from '../parts/icons.js';
import { logLine } from '../parts/logline.js';
import { json } from '../parts/json.js';

/** @param {string} trace @param {string} id @param {() => void} close */
export function spanDetail(trace, id, close) {
  const source = resource((signal) => get(`/traces/${trace}/spans/${id}`, {}, signal));
  return html`<aside class="detail" aria-label="Span">
    <button class="ghost detail-close" aria-label="Close the span" title="Close (Esc)" @click=${close}>
      ${icon('close', 14)}</button
    >${view(source, (answer) => whole(answer.span, trace), { lines: 10 })}
  </aside>`;
}

/** @param {any} span @param {string} trace */
function whole(span, trace) {
  const dropped = Object.entries(span.dropped ?? {}).filter(([, n]) => Number(n) > 0);
  return html`<div class="detail-body">
    <header>
      <div>
        ${service(span.service)}<span class="dim">${span.kind && span.kind !== 'unspecified' ? span.kind : ''}</span>
      </div>
      <h2>${span.name || 'unnamed'}</h2>
      ${span.status === 'error' ? html`<p class="bad">✖ ${span.status_message || 'error'}</p>` : span.status_message ? html`<p class="dim">${span.status_message}</p>` : null}
    </header>
    <dl class="facts">
      <div>
        <dt>Duration</dt>
        <dd class="num">${duration(span.duration)}</dd>
      </div>
      <div>
        <dt>Self</dt>
        <dd class="num">${duration(span.self)}</dd>
      </div>
      <div>
        <dt>Starts at</dt>
        <dd class="num">${duration(span.start)}</dd>
      </div>
      <div>
        <dt>Span</dt>
        <dd>
          <button class="copy-id mono" title="Copy" @click=${() => copy(span.span_id, 'Span id copied')}>
            ${shortId(span.span_id)}
          </button>
        </dd>
      </div>
    </dl>
    ${lints(span.lints)} ${span.gen_ai ? genAi(span, trace) : null} ${events(span)}
    ${attributes('Attributes', span.attributes, '')}
    ${attributes('Resource', span.resource?.attributes, 'res.', span.resource?.schema_url)} ${scope(span.scope)}
    ${links(span)}
    ${span.logs?.length ? section(`Logs`, span.logs.length, html`<div class="lines">${span.logs.map((/** @type {any} */ log) => logLine(log))}</div>`) : null}
    ${exemplars(span)}
    ${section(
      'More',
      null,
      html`<dl class="attributes">
        ${pair('span id', span.span_id)}${span.parent_id ? pair('parent', span.parent_id) : null}${span.trace_state ? pair('trace state', span.trace_state) : null}
        ${span.flags !== undefined ? pair('flags', flags(Number(span.flags))) : null}${dropped.map(([what, n]) => pair(`dropped ${what}`, html`<span class="warn">${count(Number(n))}: raise the limit of the SDK to see them</span>`))}
      </dl>`,
    )}
    ${raw(span)}
  </div>`;
}

/** @param {string} title @param {number | null} amount @param {any} body @param {any} [aside] */
function section(title, amount, body, aside = null) {
  return html`<section class="detail-section">
    <header>
      <h3>${title}</h3>
      ${amount ? html`<small class="num faint">${count(amount)}</small>` : null}<span class="grow"></span>${aside}
    </header>
    ${body}
  </section>`;
}

/** @param {string} name @param {any} value */
function pair(name, value) {
  return html`<div>
    <dt>${name}</dt>
    <dd><span class="value">${value}</span></dd>
  </div>`;
}

/** @param {string} title @param {any[] | undefined} all @param {string} scope prefix of the keys in a query @param {string} [note] */
export function attributes(title, all, scope, note) {
  if (!all?.length) return null;
  const filter = signal('');
  const sorted = [...all].sort((a, b) => (a.key < b.key ? -1 : 1));
  const shown = () =>
    sorted.filter((one) => `${one.key} ${text(one.value)}`.toLowerCase().includes(filter.value.toLowerCase()));
  return section(
    title,
    all.length,
    html`<dl class="attributes">${() => shown().map((one) => attribute(one, scope))}</dl>
      ${note ? html`<p class="faint small-text">${note}</p>` : null}`,
    all.length > 8
      ? html`<input
          class="field slim"
          type="search"
          placeholder="Filter"
          aria-label=${`Filter ${title.toLowerCase()}`}
          @input=${(/** @type {any} */ event) => (filter.value = event.target.value)}
        />`
      : null,
  );
}

/** @param {any} value */
function text(value) {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** @param {{ key: string, type: string, value: any }} one @param {string} scope */
function attribute(one, scope) {
  const shown = text(one.value) ?? '';
  const asJson =
    one.type === 'string' && /^\s*[[{]/.test(shown)
      ? parsed(shown)
      : one.type === 'array' || one.type === 'map'
        ? one.value
        : undefined;
  const isLink = one.type === 'string' && /^https?:\/\//i.test(shown) && shown.length < 2000 && isHarmless(shown);
  const query = address('/traces', { q: term(`${scope}${one.key}`, shown) });
  const isShort = shown.length < 400;
  const value =
    asJson !== undefined && typeof asJson === 'object' && asJson !== null
      ? json(asJson)
      : one.type === 'none'
        ? html`<span class="faint">no value</span>`
        : isShort
          ? html`<a class=${`value is-${one.type}`} href=${query} title="All traces with this value">${shown}</a>`
          : html`<details class="long">
              <summary><span class="value">${shown.slice(0, 160)}…</span></summary>
              <pre>${shown.slice(0, 100_000)}</pre>
            </details>`;
  return html`<div>
    <dt title=${`${one.key}: ${one.type}`}>${breakable(one.key)}</dt>
    <dd>
      ${value}${isLink ? html`<a class="ghost out" href=${shown} target="_blank" rel="noopener noreferrer" title="Open the address in a new tab" aria-label="Open the address in a new tab">${icon('link', 12)}</a>` : null}<button
        class="ghost out"
        title="Copy"
        aria-label=${`Copy the value of ${one.key}`}
        @click=${() => copy(shown)}
      >
        ${icon('copy', 12)}
      </button>
    </dd>
  </div>`;
}

/** Long keys break behind their dots. @param {string} key */
function breakable(key) {
  return key.split(/(?<=[._/])/).flatMap((part) => [part, html`<wbr />`]);
}

/** @param {string} source */
function parsed(source) {
  try {
    return JSON.parse(source);
  } catch {
    return undefined;
  }
}

/** @param {any} span */
function events(span) {
  if (!span.events?.length) return null;
  return section(
    'Events',
    span.events.length,
    html`<div class="events">
      ${span.events.slice(0, 200).map((/** @type {any} */ event) => oneEvent(event, span))}
    </div>`,
  );
}

/** @param {any} event @param {any} span */
function oneEvent(event, span) {
  const of = (/** @type {string} */ key) => event.attributes?.find((/** @type {any} */ one) => one.key === key)?.value;
  const stack = of('exception.stacktrace');
  const type = of('exception.type');
  const isException = event.exception || event.name === 'exception';
  const rest = (event.attributes ?? []).filter(
    (/** @type {any} */ one) => !isException || !one.key.startsWith('exception.'),
  );
  const at = span.start_time ? relative(event.time, span.start_time) : null;
  return html`<div class=${isException ? 'event is-bad' : 'event'}>
    <p>
      <b>${isException ? `✖ ${type ?? 'exception'}` : event.name}</b
      ><span class="num faint" title=${event.time}>${at !== null ? `+${duration(at)}` : clock(event.time)}</span>
    </p>
    ${isException && of('exception.message') ? html`<p>${of('exception.message')}</p>` : null}
    ${
      stack
        ? html`<details open=${String(stack).length < 600}>
            <summary>Stack</summary>
            <pre>${String(stack).slice(0, 60_000)}</pre>
          </details>`
        : null
    }
    ${rest.length ? html`<dl class="attributes">${rest.map((/** @type {any} */ one) => attribute(one, 'event.'))}</dl>` : null}
    ${event.dropped ? html`<p class="warn">${plural(event.dropped, 'attribute')} dropped by the SDK</p>` : null}
  </div>`;
}

/** @param {any} scope */
function scope(scope) {
  if (!scope?.name) return null;
  return section(
    'Instrumentation',
    null,
    html`<dl class="attributes">
      ${pair('name', scope.name)}${scope.version ? pair('version', scope.version) : null}${(scope.attributes ?? []).map((/** @type {any} */ one) => attribute(one, 'scope.'))}
    </dl>`,
  );
}

/** @param {any} span */
function links(span) {
  const all = [
    ...(span.links ?? []).map((/** @type {any} */ link) => ({ ...link, way: 'to' })),
    ...(span.linked_from ?? []).map((/** @type {any} */ link) => ({ ...link, way: 'from', known: true })),
  ];
  if (all.length === 0) return null;
  return section(
    'Links',
    all.length,
    html`<ul class="links">
      ${all.map((link) => html`<li><span class="dim">${link.way}</span>${link.known ? html`<a class="mono" href=${traceLink(link.trace_id, { span: link.span_id })}>${shortId(link.trace_id)} / ${shortId(link.span_id)}</a>` : html`<span class="mono dim">${shortId(link.trace_id)} / ${shortId(link.span_id)}</span>${chip('not in the store')}`}${(link.attributes ?? []).map((/** @type {any} */ one) => html`<span class="faint">${one.key}=${text(one.value)}</span>`)}</li>`)}
    </ul>`,
  );
}

/** @param {any} span */
function exemplars(span) {
  if (!span.exemplars?.length) return null;
  return section(
    'Exemplar of',
    span.exemplars.length,
    html`<ul class="links">
      ${span.exemplars.map((/** @type {any} */ one) => html`<li><a href=${address('/metrics', { name: one.metric })}>${one.metric}</a><span class="num">${measure(Number(one.value), one.unit)}</span>${time(one.time)}</li>`)}
    </ul>`,
  );
}

/** @param {any[] | undefined} all */
function lints(all) {
  if (!all?.length) return null;
  return html`<div class="lints">
    ${all.map(
      (lint) =>
        html`<div class=${`lint ${lint.severity}`}>
          <p><b>${lint.severity === 'critical' ? '✖' : '▲'} ${lint.title ?? lint.rule}</b></p>
          <p>${lint.text}</p>
          ${[lint.fix]
            .flat()
            .filter(Boolean)
            .map((fix) => html`<p class="dim">${fix}</p>`)}
        </div>`,
    )}
  </div>`;
}

/** @param {any} span @param {string} trace */
function genAi(span, trace) {
  const call = span.gen_ai;
  return section(
    'Model call',
    null,
    html`<dl class="facts">
        <div>
          <dt>Model</dt>
          <dd>${call.model ?? 'unknown'}</dd>
        </div>
        <div>
          <dt>Tokens in</dt>
          <dd class="num">${count(call.input_tokens)}</dd>
        </div>
        <div>
          <dt>Tokens out</dt>
          <dd class="num">${count(call.output_tokens)}</dd>
        </div>
        <div>
          <dt>First token</dt>
          <dd class="num">${duration(call.ttft)}</dd>
        </div>
      </dl>
      <a class="button small" href=${`/genai/${span.trace_id ?? trace}/${span.span_id}`}
        >${icon('genai', 14)}Conversation</a
      >`,
  );
}

/** @param {number} bits */
function flags(bits) {
  const words = [bits & 1 ? 'sampled' : 'not sampled'];
  if (bits & 0x100) words.push(bits & 0x200 ? 'parent is in another process' : 'parent is in this process');
  return `${bits} (${words.join(', ')})`;
}

/** @param {any} span */
function raw(span) {
  if (!span.raw) return null;
  const source = () => JSON.stringify(span.raw, null, 2);
  return html`<details
    class="raw"
    @toggle=${(/** @type {any} */ event) => event.target.open && event.target.querySelector('pre').textContent === '' && (event.target.querySelector('pre').textContent = visible(source().slice(0, 400_000)))}
  >
    <summary>
      OTLP JSON
      <button
        class="ghost"
        title="Copy"
        aria-label="Copy the JSON"
        @click=${(/** @type {Event} */ event) => (event.preventDefault(), copy(source(), 'JSON copied'))}
      >
        ${icon('copy', 12)}
      </button>
    </summary>
    <pre></pre>
  </details>`;
}
