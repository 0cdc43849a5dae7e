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
      ${view(source, (answer) => (answer.configured === false ? none(answer) : html`<div class="grid">${sources(answer.sources)}${() => shown(answer, part())}</div>`))}
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
    ${(all ?? []).map((one) => html`<div class=${`tile is-${one.state}`}><span class="dim">${[one.receiver, one.region, one.account].filter(Boolean).join(' · ')}</span><b>${one.state === 'ok' ? html`<span class="good">● reading</span>` : one.state === 'blind' ? html`<span class="bad">✖ blind</span>` : html`<span class="warn">▲ ${one.state}</span>`}</b>${one.last_success ? html`<span class="num dim">last answer ${ago(one.last_success)}</span>` : null}${one.error ? html`<span class="bad">${one.error}</span>` : null}</div>`)}
  </div>`;
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
                  >${one.pattern ? html` <span class="dim">${one.pattern}</span>` : null}`
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
            html`${bytes(one.size)}${one.growth ? html`<span class="faint"> ${one.growth > 0 ? '+' : ''}${typeof one.growth === 'number' ? bytes(one.growth) : one.growth}</span>` : null}`,
        },
        {
          head: 'Hot keys',
          wide: true,
          cell: (one) =>
            (one.hot_keys ?? [])
              .slice(0, 3)
              .map((/** @type {any} */ key) => html`<code class="chip">${key.key ?? key}</code>`),
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
              {
                head: 'Steps',
                wide: true,
                cell: (one) => (one.steps ?? []).map((/** @type {any} */ step) => step.name ?? step).join(', '),
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
  const days = (/** @type {any} */ value) =>
    value === null || value === undefined
      ? '–'
      : typeof value === 'string'
        ? `${(Number(value) / 8.64e13).toFixed(1)} days`
        : `${Number(value).toFixed(1)} days`;
  return [
    html`<div class="pad-flat">
      ${figures([
        [
          'Traces read',
          count(typeof xray.traces === 'object' ? (xray.traces?.read ?? xray.traces?.total) : xray.traces),
        ],
        [
          'Service graph',
          xray.service_graph && (!Array.isArray(xray.service_graph) || xray.service_graph.length)
            ? plural(
                Array.isArray(xray.service_graph)
                  ? xray.service_graph.length
                  : Number(xray.service_graph.services ?? xray.service_graph),
                'service',
              )
            : '–',
        ],
        [
          'Sampling',
          Array.isArray(xray.sampling)
            ? xray.sampling.length
              ? plural(xray.sampling.length, 'rule')
              : '–'
            : typeof xray.sampling === 'object' && xray.sampling
              ? plural(xray.sampling.rules?.length ?? xray.sampling.rules ?? 0, 'rule')
              : (xray.sampling ?? '–'),
        ],
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
                ? table(
                    [
                      {
                        head: 'Trace',
                        cell: (one) =>
                          html`<a class="row-link mono" href=${traceLink(one.trace_id ?? one)}
                            >${(one.trace_id ?? one).slice(0, 16)}</a
                          >`,
                      },
                      { head: 'State', cell: (one) => chip(one.state ?? 'at risk', 'warn') },
                      { head: 'Left', kind: 'r', cell: (one) => days(one.left ?? one.time_to_expiry) },
                      { head: 'Why', wide: true, cell: (one) => one.reason ?? '' },
                    ],
                    retention.at_risk,
                    { label: 'Traces at risk' },
                  )
                : html`<p class="good pad">No trace is about to be lost.</p>`
            }`,
        )
      : null,
  ];
}

/** @param {any} answer */
function calls(answer) {
  return panel(
    'Calls to AWS',
    table(
      [
        { head: 'API', wide: true, cell: (one) => html`<code>${one.api}</code>` },
        { head: 'Calls', kind: 'r', cell: (one) => count(one.calls ?? one.value) },
        { head: 'Units', kind: 'r', cell: (one) => count(one.units) },
      ],
      answer.calls ?? [],
      { label: 'Calls to AWS' },
    ),
  );
}
