// @ts-check
/** Metrics: the catalogue, and one of them drawn as it should be: lines, rates, quantiles or a heat map, with exemplars. */

import { computed, effect, signal } from '../lib/signals.js';
import { html } from '../lib/html.js';
import { get, resource, throttled } from '../lib/api.js';
import { address, go, param, setParams, watched } from '../lib/router.js';
import { keys } from '../lib/keys.js';
import { on } from '../lib/stream.js';
import { colour, serviceColour } from '../lib/colour.js';
import { count, measure, millis, plural, short } from '../lib/format.js';
import { queryBar, timeWindow } from '../parts/querybar.js';
import { chip, services, traceLink } from '../parts/small.js';
import { empty, pruned, view } from '../parts/states.js';
import { plot } from '../parts/plot.js';
import { vlist } from '../parts/vlist.js';
import { icon } from '../parts/icons.js';
import { zoom } from './traces.js';

export function page() {
  const catalogue = resource((signal) =>
    get('/metrics', { q: param('q'), from: param('from'), to: param('to'), limit: 2000 }, signal),
  );
  on('metrics', throttled(catalogue.reload, 3000));
  const name = watched('name');
  const shown = () => catalogue.data.value?.metrics ?? [];
  // The catalogue comes again and again; what is drawn stays as long as its name does.
  const drawn = computed(() => name.value || (shown().length > 0 ? shown()[0].name : ''));
  const chosen = () => drawn.value;
  const list = vlist({
    label: 'Metrics',
    height: 46,
    className: 'catalogue',
    count: () => shown().length,
    row: (at) => entry(catalogue.data.peek().metrics[at], chosen()),
    move: (at) => at >= 0 && setParams({ name: shown()[at].name, as: '', by: '' }, { replace: true }),
  });
  effect(() => {
    name.value;
    list.refresh();
  });
  return html`<div class="page">
    <header class="bar-top">
      <h1>Metrics</h1>
      ${queryBar({ error: () => catalogue.error.value, placeholder: 'name~"^http" service=web', signal: 'metrics' })}${timeWindow()}
    </header>
    ${() => pruned(catalogue.data.value?.pruned)}
    ${view(catalogue, (answer) => (answer.metrics.length === 0 ? empty(answer.empty, { what: 'metrics' }) : null))}
    <div class="side" hidden=${() => shown().length === 0}>
      <div class="side-list">${list.node}</div>
      <div class="scroll">
        ${() => {
          const wanted = chosen();
          return wanted ? one(wanted) : null;
        }}
      </div>
    </div>
  </div>`;

  /** @param {string} wanted */
  function one(wanted) {
    return metric(wanted, () => shown().find((/** @type {any} */ metric) => metric.name === wanted));
  }
}

/** @param {any} metric @param {string} current */
function entry(metric, current) {
  return html`<div class=${metric.name === current ? 'is-current' : ''}>
    <div class="cut"><b>${metric.name}</b></div>
    <div class="meta">
      ${kind(metric)}<span class="faint num">${plural(metric.series, 'series', 'series')}</span
      >${services(metric.services ?? [])}
    </div>
  </div>`;
}

/** @param {any} metric */
function kind(metric) {
  return html`<span class="dim"
    >${metric.type?.replace('exponential_histogram', 'exp. histogram')}${metric.temporality && metric.temporality !== 'unspecified' ? ` · ${metric.temporality}` : ''}</span
  >`;
}

/** @param {any} metric @returns {[string, string][]} */
function ways(metric) {
  if (/histogram/.test(metric.type ?? ''))
    return [
      ['heatmap', 'Heat map'],
      ['p50', 'p50'],
      ['p95', 'p95'],
      ['p99', 'p99'],
      ['rate', 'Rate'],
    ];
  if (metric.type === 'sum' || metric.type === 'counter')
    return [
      ['rate', 'Rate'],
      ['value', 'Value'],
      ['delta', 'Change'],
    ];
  return [
    ['value', 'Value'],
    ['delta', 'Change'],
  ];
}

/** @param {string} name @param {() => any} about */
function metric(name, about) {
  const way = () => param('as') || (about() ? ways(about())[0][0] : 'value');
  const answer = resource((signal) =>
    about()
      ? get(
          '/metrics/query',
          { name, q: param('q'), from: param('from'), to: param('to'), as: way(), by: param('by'), points: 600 },
          signal,
        )
      : null,
  );
  on('metrics', throttled(answer.reload, 2000));
  const hidden = signal(/** @type {Set<string>} */ (new Set()));
  const label = (/** @type {any} */ series) =>
    Object.entries(series.labels ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(' ') || name;
  const by = () => param('by').split(',').filter(Boolean);
  keys('Metric', [
    [
      'w',
      'next way to draw it',
      () => {
        const all = ways(about()).map(([value]) => value);
        setParams({ as: all[(all.indexOf(way()) + 1) % all.length] }, { replace: true });
      },
    ],
  ]);

  const model = () => {
    const data = answer.data.value;
    const unit = about()?.unit ?? data?.unit;
    if (!data || !about()) return null;
    const isRate = way() === 'rate';
    const format = (/** @type {number} */ value) => (isRate ? `${short(value)}/s` : measure(value, unit));
    const exemplars = (data.exemplars ?? [])
      .slice(0, 200)
      .map((/** @type {any} */ one) => ({ x: millis(one.t), y: Number(one.value), ref: one }));
    if (data.heatmap?.columns?.length) {
      const columns = data.heatmap.columns.map((/** @type {any} */ column) => ({
        at: millis(column.t),
        counts: column.counts,
      }));
      const width = columns.length > 1 ? columns[1].at - columns[0].at : 10_000;
      return {
        from: columns[0].at,
        to: columns[columns.length - 1].at + width,
        format,
        heat: { bounds: data.heatmap.bounds, columns },
        exemplars,
      };
    }
    const lines = data.series
      .filter((/** @type {any} */ one) => !hidden.value.has(label(one)))
      .slice(0, 60)
      .map((/** @type {any} */ one, /** @type {number} */ at) => ({
        name: label(one),
        colour:
          data.series.length === 1
            ? colour('accent')
            : one.labels?.['service.name']
              ? serviceColour(one.labels['service.name'])
              : colour(`hue${at % 10}`),
        points: withGaps(
          one.points.map((/** @type {any[]} */ [t, value]) => [millis(t), value === null ? null : Number(value)]),
        ),
        resets: (one.resets ?? []).map(millis),
      }));
    const times = data.series.flatMap((/** @type {any} */ one) =>
      one.points.length ? [millis(one.points[0][0]), millis(one.points[one.points.length - 1][0])] : [],
    );
    if (times.length === 0) return null;
    const [from, to] = [Math.min(...times), Math.max(...times)];
    const onScale = /^p\d/.test(way()) || way() === 'value';
    return {
      from,
      to: to > from ? to : from + 1000,
      format,
      binary: unit === 'By',
      lines,
      exemplars: onScale ? exemplars : [],
    };
  };

  const labels = () => [
    ...new Set(
      answer.data.value?.labels ??
        answer.data.value?.series?.flatMap((/** @type {any} */ one) => Object.keys(one.labels ?? {})) ??
        [],
    ),
  ];
  return html`<article class="metric">
    <header>
      <h2>${name}</h2>
      ${() => {
        const one = about();
        return one
          ? html`<p class="dim">${one.description || 'No description was sent.'}</p>
              <div class="meta">
                ${chip(one.type ?? '')}${one.temporality && one.temporality !== 'unspecified' ? chip(one.temporality) : null}${one.monotonic ? chip('monotonic') : null}${one.unit ? chip(`unit ${one.unit}`) : null}<span
                  class="faint num"
                  >${plural(one.series, 'series', 'series')} · ${plural(one.points, 'point')}
                  ${one.last === null || one.last === undefined ? '' : ` · last ${measure(Number(one.last), one.unit)}`}</span
                >
              </div>`
          : null;
      }}
    </header>
    <div class="metric-bar">
      ${() => (about() ? html`<div class="choice" role="group" aria-label="Draw as">${ways(about()).map(([value, text]) => html`<button aria-pressed=${() => String(way() === value)} @click=${() => setParams({ as: value }, { replace: true })}>${text}</button>`)}</div>` : null)}
      <label class="check"
        >Group by
        <input
          class="field"
          list="metric-keys"
          placeholder="key, key"
          aria-label="Group by keys"
          .value=${() => param('by')}
          @change=${(/** @type {any} */ event) => setParams({ by: event.target.value.replace(/\s/g, '') }, { replace: true })} /></label
      ><datalist id="metric-keys">${() => labels().map((key) => html`<option value=${key}></option>`)}</datalist>
      ${() =>
        by().map(
          (key) =>
            html`<button
              class="button small"
              @click=${() =>
                setParams(
                  {
                    by: by()
                      .filter((one) => one !== key)
                      .join(','),
                  },
                  { replace: true },
                )}
            >
              ${key}${icon('close', 10)}
            </button>`,
        )}
    </div>
    <div class="metric-plot">
      ${plot({ label: name, height: 320, model: /** @type {any} */ (model), brush: zoom, pick: (one) => one.trace_id && go(traceLink(one.trace_id, { span: one.span_id })) })}
    </div>
    ${view(answer, (data) => [data.series.length > 1 && !data.heatmap ? legend(data) : null, exemplarList(data)], { lines: 3 })}
  </article>`;

  /** @param {any} data */
  function legend(data) {
    return html`<div class="table-wrap">
      <table class="table legend" aria-label="Series">
        <thead>
          <tr>
            <th scope="col">Series</th>
            <th class="r" scope="col">Last</th>
            <th class="r" scope="col">Least</th>
            <th class="r" scope="col">Most</th>
          </tr>
        </thead>
        <tbody>
          ${data.series.slice(0, 200).map((/** @type {any} */ one, /** @type {number} */ at) => {
            const values = one.points
              .map((/** @type {any[]} */ [, value]) => value)
              .filter((/** @type {any} */ value) => value !== null)
              .map(Number);
            const text = label(one);
            const show = (/** @type {number | undefined} */ value) =>
              value === undefined || !Number.isFinite(value)
                ? '–'
                : way() === 'rate'
                  ? `${short(value)}/s`
                  : measure(value, about()?.unit);
            const hue = one.labels?.['service.name'] ? null : at % 10;
            return html`<tr class=${() => (hidden.value.has(text) ? 'is-off' : '')}>
              <td class="wide">
                <button
                  class="series"
                  aria-pressed=${() => String(!hidden.value.has(text))}
                  @click=${() => {
                    const next = new Set(hidden.peek());
                    if (!next.delete(text)) next.add(text);
                    hidden.value = next;
                  }}
                >
                  <i
                    class=${hue === null ? 'dot' : `dot h${hue}`}
                    style=${hue === null ? { background: serviceColour(one.labels['service.name']) } : {}}
                  ></i
                  ><span class="cut">${text}</span>
                </button>
              </td>
              <td class="r num">${show(values[values.length - 1])}</td>
              <td class="r num">
                ${show(values.reduce((/** @type {number} */ a, /** @type {number} */ b) => Math.min(a, b), Infinity))}
              </td>
              <td class="r num">
                ${show(values.reduce((/** @type {number} */ a, /** @type {number} */ b) => Math.max(a, b), -Infinity))}
              </td>
            </tr>`;
          })}
        </tbody>
      </table>
    </div>`;
  }

  /** @param {any} data */
  function exemplarList(data) {
    if (!data.exemplars?.length) return null;
    return html`<section class="exemplars">
      <h3>Exemplars <small class="num faint">${count(data.exemplars.length)}</small></h3>
      <div class="chips">
        ${data.exemplars.slice(0, 24).map((/** @type {any} */ one) => html`<a class="chip" href=${one.trace_id ? traceLink(one.trace_id, { span: one.span_id }) : address('/metrics', { name })}>◆ ${measure(Number(one.value), about()?.unit)}</a>`)}
      </div>
    </section>`;
  }
}

/**
 * Nothing came for much longer than usual: the line breaks, rather than telling of values that nobody measured.
 * @param {[number, number | null][]} points @returns {[number, number | null][]}
 */
export function withGaps(points) {
  if (points.length < 8) return points;
  const steps = points.slice(1).map(([at], index) => at - points[index][0]);
  const usual = [...steps].sort((a, b) => a - b)[Math.floor(steps.length * 0.9)];
  /** @type {[number, number | null][]} */
  const whole = [points[0]];
  points.slice(1).forEach((point, index) => {
    if (steps[index] > usual * 3) whole.push([points[index][0] + usual, null]);
    whole.push(point);
  });
  return whole;
}
