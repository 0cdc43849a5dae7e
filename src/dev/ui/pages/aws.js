// @ts-check
/** What the AWS receivers see: tables, endpoints, jobs, X-Ray, the calls they made and their bill. Opening it calls nobody. */

import { html } from '../lib/html.js';
import { get, resource, throttled } from '../lib/api.js';
import { address, param } from '../lib/router.js';
import { on } from '../lib/stream.js';
import { ago, bytes, count, duration, percent, plural, short } from '../lib/format.js';
import { chip, figures, panel, quoted, table, tabs, traceLink } from '../parts/small.js';
import { view } from '../parts/states.js';
import { icon } from '../parts/icons.js';

export function page() {
  const source = resource((signal) => get('/aws', {}, signal));
  on('metrics', throttled(source.reload, 3000));
  const part = () => param('part') || 'DynamoDB';
  return html`<div class="page">
    <header class="bar-top">
      <h1>AWS</h1>
      ${() => {
        const answer = source.data.value;
        if (!answer || answer.configured === false) return null;
        const all = [
          ['DynamoDB', answer.tables],
          ['SageMaker', [...(answer.endpoints ?? []), ...(answer.jobs ?? [])]],
          ['X-Ray', null],
          ['Calls', answer.calls],
        ];
        return tabs(
          'Parts',
          all.map(([name, list]) => ({
            name,
            href: address('/aws', { part: name === 'DynamoDB' ? '' : name }),
            count: list?.length,
          })),
          part(),
        );
      }}<span class="grow"></span>${() => bill(source.data.value?.bill)}
    </header>
    <div class="scroll">
      ${view(source, (answer) => (answer.configured === false ? none(answer) : html`<div class="grid">${sources(answer.sources)}${forgetting(answer.xray?.retention)}${() => shown(answer, part())}</div>`))}
    </div>
  </div>`;
}

/** @param {any} answer @param {string} part */
function shown(answer, part) {
  if (part === 'SageMaker') return sagemaker(answer);
  if (part === 'X-Ray') return xray(answer.xray);
  return part === 'Calls' ? calls(answer) : tables(answer);
}

/** @param {any} answer */
function none(answer) {
  return html`<div class="state wide-state">
    <span class="state-icon">${icon('aws', 20)}</span>
    <h2>No AWS receiver runs here</h2>
    <p>Tables, endpoints and traces of AWS appear when one does. Opening this page calls nobody.</p>
    <pre class="body left">${answer.how ?? ''}</pre>
  </div>`;
}

/** @param {any} bill */
function bill(bill) {
  const known = bill && bill.estimated_usd !== null && bill.estimated_usd !== undefined;
  return known
    ? html`<span class="dim num" title="An estimate from the calls made and the published prices"
        >about $${Number(bill.estimated_usd).toFixed(4)} so
        far${bill.month_usd === null || bill.month_usd === undefined ? '' : ` · $${Number(bill.month_usd).toFixed(2)} a month`}</span
      >`
    : null;
}

/** @param {any[]} all */
function sources(all) {
  return html`<div class="tiles">
    ${(all ?? []).map((one) => html`<div class=${`tile is-${one.state}`}><span class="dim">${[one.receiver, one.region, one.account].filter(Boolean).join(' · ')}</span><b>${one.state === 'ok' ? html`<span class="good">● reading</span>` : one.state === 'blind' ? html`<span class="bad">✖ blind</span>` : html`<span class="warn">▲ ${one.state}</span>`}</b>${one.last_success ? html`<span class="num dim">last answer ${ago(one.last_success)}</span>` : null}${one.blind_resources ? html`<span class="warn">▲ ${plural(one.blind_resources, 'resource')} without a sign of life</span>` : null}${one.error ? html`<span class="bad">${one.error}</span>` : null}</div>`)}
  </div>`;
}

/** What cannot wait stands above every part. @param {any} retention */
function forgetting(retention) {
  const first = retention?.at_risk?.find((/** @type {any} */ one) => one.left);
  if (!first) return null;
  return html`<p class="notice warn">
    ▲ X-Ray forgets ${plural(retention.at_risk_total, 'trace')} without a complete copy, the next one in
    <b class="num">${days(first.left)}</b>. <a href=${address('/aws', { part: 'X-Ray' })}>Which, and what to do</a>
  </p>`;
}

/** Days and hours of a duration in nanoseconds. @param {any} value */
function days(value) {
  if (value === null || value === undefined) return '–';
  const hours = Math.floor(Number(value) / 3.6e12);
  return hours >= 48 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : hours >= 1 ? `${hours} h` : duration(value);
}

/** @param {number | null | undefined} ratio @param {string} [text] */
function gauge(ratio, text) {
  if (ratio === null || ratio === undefined) return html`<span class="faint">–</span>`;
  return html`<span class=${`gauge${ratio >= 0.8 ? ' is-bad' : ''}`}
    ><i style=${{ width: `${Math.min(1, ratio) * 100}%` }}></i><b class="num">${text ?? percent(ratio)}</b></span
  >`;
}

/** @param {any[] | undefined} all */
function alerts(all) {
  return all?.length
    ? html`<a class="chip bad" href=${address('/alerts', { id: all[0].id ?? all[0] })}
        >✖ ${all.length === 1 ? (all[0].title ?? all[0]) : all.length}</a
      >`
    : null;
}

/** @param {any} answer */
function tables(answer) {
  if (!answer.tables?.length) return html`<p class="dim">No tables were found yet.</p>`;
  return panel(
    'Tables and indexes',
    table(
      [
        {
          head: 'Table',
          cell: (one) =>
            html`<a class="row-link" href=${address('/metrics', { q: `TableName=${quoted(one.table)}` })}
                >${one.table}</a
              >${one.index ? html` <span class="dim">› ${one.index}</span>` : null}`,
        },
        { head: 'Alerts', cell: (one) => alerts(one.alerts) },
        { head: 'Used', cell: (one) => gauge(one.utilisation) },
        {
          head: 'Read',
          kind: 'r',
          cell: (one) =>
            html`${short(one.consumed_read)}<span class="faint"
                >${one.provisioned_read ? ` / ${short(one.provisioned_read)}` : ' on demand'}</span
              >`,
        },
        {
          head: 'Write',
          kind: 'r',
          cell: (one) =>
            html`${short(one.consumed_write)}<span class="faint"
                >${one.provisioned_write ? ` / ${short(one.provisioned_write)}` : ''}</span
              >`,
        },
        {
          head: 'Throttled',
          cell: (one) =>
            one.throttles
              ? html`<span class="bad num">✖ ${count(one.throttles)}</span
                  >${one.pattern ? html` <span class="dim">${one.pattern}${one.cause ? `, ${one.cause.replace(/_/g, ' ')}` : ''}</span>` : null}`
              : html`<span class="faint">·</span>`,
        },
        {
          head: 'Latency',
          cell: (one) =>
            Object.entries(one.latency ?? {})
              .slice(0, 2)
              .map(
                ([op, figures]) =>
                  html`<span class="latency"
                    ><span class="faint">${op}</span>
                    ${milliseconds(/** @type {any} */ (figures).avg ?? /** @type {any} */ (figures).p50)}
                    <span class="faint">p99</span> ${milliseconds(/** @type {any} */ (figures).p99)}</span
                  >`,
              ),
        },
        {
          head: 'Size',
          kind: 'r',
          cell: (one) =>
            html`${one.size === null || one.size === undefined ? '–' : bytes(one.size)}${one.growth ? html`<span class="faint" title=${`since ${duration(one.growth_over)}`}> ${one.growth > 0 ? '+' : '−'}${bytes(Math.abs(one.growth))}</span>` : null}`,
        },
        {
          head: 'Items',
          kind: 'r',
          cell: (one) =>
            html`${one.items === null || one.items === undefined ? '–' : count(one.items)}${one.growth_7d_percent ? html`<span class="faint"> ${one.growth_7d_percent > 0 ? '+' : ''}${one.growth_7d_percent.toFixed(1)} % a week</span>` : null}`,
        },
        {
          head: 'Hot keys',
          wide: true,
          cell: (one) =>
            (one.hot_keys ?? [])
              .slice(0, 3)
              .map((/** @type {any} */ key) => html`<code class="chip" title=${`${key.rule}: ${count(key.requests)} requests`}>${key.key ?? key}</code>`),
        },
        {
          head: '',
          cell: (one) =>
            html`<a href=${address('/traces', { q: `aws.dynamodb.table_names:${quoted(one.table)}` })}>traces</a>`,
        },
      ],
      answer.tables,
      { label: 'DynamoDB tables and indexes' },
    ),
  );
}

/** A latency: milliseconds as a number, or nanoseconds as text. @param {any} value */
function milliseconds(value) {
  if (value === null || value === undefined) return '–';
  return typeof value === 'string' ? duration(value) : duration(value * 1e6);
}

/** SageMaker counts in microseconds. @param {any} value */
function microseconds(value) {
  return value === null || value === undefined ? '–' : duration(Number(value) * 1e3);
}

/** @param {any} endpoint */
function faults(endpoint) {
  return Number(endpoint.errors ?? 0) + Number(endpoint.errors_4xx ?? 0) + Number(endpoint.errors_5xx ?? 0);
}

/** @param {any} answer */
function sagemaker(answer) {
  return [
    answer.endpoints?.length
      ? panel(
          'Endpoints',
          table(
            [
              {
                head: 'Endpoint',
                cell: (one) =>
                  html`<a
                      class="row-link"
                      href=${address('/metrics', { q: `EndpointName=${quoted(one.endpoint ?? one.name)}` })}
                      >${one.endpoint ?? one.name}</a
                    >${one.variant ? html` <span class="dim">› ${one.variant}</span>` : null}`,
              },
              { head: 'Alerts', cell: (one) => alerts(one.alerts) },
              { head: 'Invocations', kind: 'r', cell: (one) => short(one.invocations) },
              {
                head: 'Errors',
                kind: 'r',
                cell: (one) => (faults(one) ? html`<span class="bad num">✖ ${count(faults(one))}</span>` : '·'),
              },
              { head: 'Model p99', kind: 'r', cell: (one) => microseconds(one.model_latency_p99) },
              { head: 'Overhead p99', kind: 'r', cell: (one) => microseconds(one.overhead_latency_p99) },
              { head: 'CPU', cell: (one) => gauge(ratio(one.cpu)) },
              { head: 'GPU', cell: (one) => gauge(ratio(one.gpu)) },
              { head: 'Memory', cell: (one) => gauge(ratio(one.memory)) },
              { head: 'Instances', kind: 'r', cell: (one) => count(one.instances) },
              {
                head: 'Status',
                wide: true,
                cell: (one) => (one.status ? chip(one.status, one.status === 'InService' ? 'good' : 'warn') : null),
              },
            ],
            answer.endpoints,
            { label: 'SageMaker endpoints' },
          ),
        )
      : html`<p class="dim">No endpoints were found yet.</p>`,
    answer.jobs?.length
      ? panel(
          'Jobs',
          table(
            [
              { head: 'Job', cell: (one) => one.name ?? one.job },
              { head: 'Kind', cell: (one) => one.kind ?? '' },
              { head: 'Status', cell: (one) => chip(one.status ?? 'unknown', one.status === 'Failed' ? 'bad' : '') },
              { head: 'Took', kind: 'r', cell: (one) => duration(one.duration) },
              { head: 'Why', wide: true, cell: (one) => one.reason ?? one.error ?? '' },
            ],
            answer.jobs,
            { label: 'SageMaker jobs' },
          ),
        )
      : null,
    answer.pipelines?.length
      ? panel(
          'Pipelines',
          table(
            [
              { head: 'Pipeline', cell: (one) => one.name ?? one.pipeline },
              { head: 'Status', cell: (one) => chip(one.status ?? 'unknown', one.status === 'Failed' ? 'bad' : '') },
              { head: 'Succeeded', kind: 'r', cell: (one) => percent(one.success_ratio) },
              {
                head: 'Steps that failed',
                wide: true,
                cell: (one) =>
                  (one.steps ?? [])
                    .map((/** @type {any} */ step) => (step.reason ? `${step.name}: ${step.reason}` : (step.name ?? step)))
                    .join('; '),
              },
            ],
            answer.pipelines,
            { label: 'SageMaker pipelines' },
          ),
        )
      : null,
  ];
}

/** A share, whether it was given as one or in percent. @param {any} value */
function ratio(value) {
  return value === null || value === undefined ? null : Number(value) > 1 ? Number(value) / 100 : Number(value);
}

/** @param {any} xray */
function xray(xray) {
  if (!xray) return html`<p class="dim">No X-Ray receiver runs here.</p>`;
  const { retention } = xray;
  return [
    html`<div class="pad-flat">
      ${figures([
        ['Traces read', xray.traces === null || xray.traces === undefined ? '–' : count(xray.traces)],
        ['Behind by', xray.lag ? duration(xray.lag) : '–'],
        ['Service graph', xray.service_graph?.length ? plural(xray.service_graph.length, 'service') : '–'],
        ['Sampling', xray.sampling?.length ? plural(xray.sampling.length, 'rule') : '–'],
        ['Next to expire', days(retention?.min_time_to_expiry)],
      ])}
    </div>`,
    retention && (Object.keys(retention.states ?? {}).length || retention.at_risk?.length)
      ? panel(
          'Retention',
          html`<div class="tiles pad">
              ${Object.entries(retention.states ?? {}).map(([state, n]) => html`<div class="tile"><span class="dim">${state.replace(/_/g, ' ')}</span><b class="num">${count(Number(n))}</b></div>`)}
            </div>
            ${
              retention.at_risk?.length
                ? html`<ul class="at-risk">
                    ${retention.at_risk.map(endangered)}
                  </ul>`
                : html`<p class="good pad">No trace is about to be lost.</p>`
            }`,
        )
      : null,
  ];
}

/** A trace that X-Ray is about to forget, and what to do. @param {any} one */
function endangered(one) {
  const name = one.known
    ? html`<a class="mono" href=${traceLink(one.trace_id)}>${one.xray_id}</a>`
    : html`<span class="mono">${one.xray_id}</span>`;
  return html`<li>
    <details>
      <summary>
        ${chip(one.state.replace(/_/g, ' '), one.state === 'lost' ? 'bad' : 'warn')}${name}<span class="num"
          >${one.left ? html`forgotten in <b>${days(one.left)}</b>` : 'forgotten'}</span
        ><span class="dim">began ${ago(one.start)} · ${one.place}</span>${one.reason ? html`<span class="dim">${one.reason}</span>` : null}
      </summary>
      <ol class="fix">
        ${one.steps.map((/** @type {string} */ step) => html`<li>${step}</li>`)}
      </ol>
      <p class="dim">
        ${one.known ? 'Its spans are in the store: open it by its id above.' : 'Its spans are not in the store of this agent.'}
      </p>
    </details>
  </li>`;
}

/** @param {any} answer */
function calls(answer) {
  const parts = answer.bill?.parts ?? [];
  const usd = (/** @type {any} */ value) => (value === null || value === undefined ? '–' : `$${Number(value).toFixed(4)}`);
  const price = parts.length
    ? panel(
        'Estimated bill',
        table(
          [
            { head: 'For', wide: true, cell: (one) => one.of },
            { head: 'So far', kind: 'r', cell: (one) => usd(one.usd) },
            { head: 'A month', kind: 'r', cell: (one) => usd(one.month_usd) },
          ],
          parts,
          { label: 'Estimated bill' },
        ),
      )
    : null;
  const made = panel(
    'Calls to AWS',
    table(
      [
        { head: 'API', wide: true, cell: (one) => html`<code>${one.api}</code>` },
        { head: 'Calls', kind: 'r', cell: (one) => count(one.calls) },
        {
          head: 'Not answered',
          kind: 'r',
          cell: (one) => {
            const failed = one.calls - (one.outcomes?.ok ?? 0);
            return failed > 0 ? html`<span class="bad num">✖ ${count(failed)}</span>` : html`<span class="faint">·</span>`;
          },
        },
        {
          head: 'Billed units',
          kind: 'r',
          cell: (one) => (one.units === null || one.units === undefined ? html`<span class="faint">–</span>` : count(one.units)),
        },
      ],
      answer.calls ?? [],
      { label: 'Calls to AWS' },
    ),
  );
  return [price, made];
}
