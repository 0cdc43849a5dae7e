// Sends the made-up shop to an agent as OTLP/JSON: `node tests/ui/send.mjs http://localhost:4318 [LARGE]`; with `--live` it
// goes on. For work on the page over the real store.
import { attributes, generate, language, logs, more } from './data.mjs';

const [endpoint = 'http://localhost:4318', large = '0'] = process.argv.slice(2).filter((one) => !one.startsWith('--'));
const KINDS = { unspecified: 0, internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };
const value = ({ type, value: inner }) =>
  ({
    string: { stringValue: inner },
    bool: { boolValue: inner },
    int: { intValue: inner },
    double: { doubleValue: inner },
    array: { arrayValue: { values: (Array.isArray(inner) ? inner : []).map((one) => ({ stringValue: one })) } },
  })[type];
const list = (all) => all.map((one) => ({ key: one.key, value: value(one) }));
const resource = (service, run) => ({
  attributes: list(
    attributes({
      'service.name': service,
      'service.version': '2.14.0',
      'deployment.environment.name': 'dev',
      'telemetry.sdk.language': language(service),
      'telemetry.sdk.name': 'opentelemetry',
      'telemetry.sdk.version': '2.12.0',
      'host.name': 'laptop',
      'radiosonde.run.id': run,
    }),
  ),
});

async function post(path, body) {
  const answer = await fetch(`${endpoint}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
}

const of = (span) => ({
  traceId: span.trace_id,
  spanId: span.span_id,
  parentSpanId: span.parent_id,
  name: span.name,
  kind: KINDS[span.kind],
  flags: 257,
  startTimeUnixNano: String(span.start),
  endTimeUnixNano: String(span.start + span.duration),
  attributes: list(span.attributes),
  status: span.status === 'error' ? { code: 2, message: span.status_message } : {},
  links: span.links.map((link) => ({
    traceId: link.trace_id,
    spanId: link.span_id,
    attributes: list(link.attributes),
  })),
  events: span.events.map((event) => ({
    timeUnixNano: event.time,
    name: event.name,
    attributes: list(event.attributes),
    droppedAttributesCount: event.dropped,
  })),
});

function byService(all) {
  const by = new Map();
  for (const one of all) (by.get(one.service) ?? by.set(one.service, []).get(one.service)).push(one);
  return by;
}

async function sendSpans(all) {
  for (let at = 0; at < all.length; at += 4000) {
    const by = byService(all.slice(at, at + 4000));
    await post('/v1/traces', {
      resourceSpans: [...by].map(([service, own]) => ({
        resource: resource(service, 'r-18'),
        scopeSpans: [
          { scope: { name: '@opentelemetry/instrumentation-http', version: '0.223.0' }, spans: own.map(of) },
        ],
      })),
    });
  }
}

async function sendLogs(all) {
  const by = byService(all);
  await post('/v1/logs', {
    resourceLogs: [...by].map(([service, own]) => ({
      resource: resource(service, 'r-18'),
      scopeLogs: [
        {
          scope: { name: 'app' },
          logRecords: own.map((log) => ({
            timeUnixNano: log.time,
            observedTimeUnixNano: log.observed,
            severityNumber: log.severity.number,
            severityText: log.severity.text,
            body: { stringValue: log.body },
            traceId: log.trace_id,
            spanId: log.span_id,
            eventName: log.event_name,
            attributes: list(log.attributes),
          })),
        },
      ],
    })),
  });
}

/** A histogram with exemplars, a counter that begins again, a gauge with a gap. */
async function sendMetrics(spans, seconds = 900) {
  const now = BigInt(Date.now()) * 1000000n;
  const begin = now - BigInt(seconds) * 1000000000n;
  const bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5];
  const roots = spans.filter((span) => span.kind === 'server' && span.service === 'web');
  const [histogram, counter, gauge] = [[], [], []];
  const counts = new Array(bounds.length + 1).fill(0);
  let [sum, total] = [0, 0];
  for (let at = 10; at <= seconds; at += 10) {
    const [from, to] = [begin + BigInt(at - 10) * 1000000000n, begin + BigInt(at) * 1000000000n];
    const own = roots.filter((span) => span.start >= from && span.start < to);
    for (const span of own) {
      const length = Number(span.duration) / 1e9;
      const bucket = bounds.findIndex((bound) => length <= bound);
      counts[bucket < 0 ? bounds.length : bucket] += 1;
      sum += length;
    }
    total += own.length * 3;
    const slow = own.find((span) => span.duration > 150000000n);
    const point = { timeUnixNano: String(to), attributes: list(attributes({ 'http.route': '/quote' })) };
    histogram.push({
      ...point,
      startTimeUnixNano: String(begin),
      count: String(counts.reduce((a, b) => a + b, 0)),
      sum,
      bucketCounts: counts.map(String),
      explicitBounds: bounds,
      exemplars: slow
        ? [
            {
              timeUnixNano: String(slow.start),
              asDouble: Number(slow.duration) / 1e9,
              traceId: slow.trace_id,
              spanId: slow.span_id,
            },
          ]
        : [],
    });
    const half = at > seconds / 2;
    counter.push({
      ...point,
      startTimeUnixNano: String(half ? begin + BigInt(seconds / 2) * 1000000000n : begin),
      asInt: String(half ? total - Math.floor(total / 2) : total),
    });
    if (at < 300 || at > 360)
      gauge.push({
        timeUnixNano: String(to),
        asInt: String(Math.round(9e7 + 3e7 * Math.sin(at / 60))),
        attributes: [],
      });
  }
  const metric = (name, unit, description, data) => ({ name, unit, description, ...data });
  await post('/v1/metrics', {
    resourceMetrics: [
      {
        resource: resource('web', 'r-18'),
        scopeMetrics: [
          {
            scope: { name: 'http' },
            metrics: [
              metric('http.server.request.duration', 's', 'Duration of HTTP server requests.', {
                histogram: { aggregationTemporality: 2, dataPoints: histogram },
              }),
              metric('http.server.requests', '{request}', 'Requests that were answered.', {
                sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: counter },
              }),
              metric('process.runtime.nodejs.memory.heap', 'By', 'Heap in use.', { gauge: { dataPoints: gauge } }),
            ],
          },
        ],
      },
    ],
  });
}

const { spans } = generate({ largeSpans: Number(large) });
await sendSpans(spans);
await sendLogs(logs);
await sendMetrics(spans);
console.log(`${spans.length} spans, ${logs.length} records`);
let sent = logs.length;
while (process.argv.includes('--live')) {
  await new Promise((next) => setTimeout(next, 900));
  await sendSpans(more());
  if (logs.length > sent) await sendLogs(logs.slice(sent));
  sent = logs.length;
}
