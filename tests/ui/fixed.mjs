// The answers of the fake server that do not come from its spans: metrics, the map, alerts, models, runs, the agent, AWS.
import { attributes, HOSTILE, now } from './data.mjs';

const SECOND = 1000000000n;
const back = (seconds) => String(now - BigInt(Math.round(seconds)) * SECOND);
const wave = (at, period, low, high) => low + ((Math.sin((at / period) * 6.283) + 1) / 2) * (high - low);

const METRICS = [
  {
    name: 'http.server.request.duration',
    type: 'histogram',
    unit: 's',
    description: 'Duration of HTTP server requests.',
    temporality: 'cumulative',
    monotonic: false,
    services: ['web', 'pricing', 'fx', 'catalog'],
    series: 14,
    points: 8120,
  },
  {
    name: 'http.server.active_requests',
    type: 'sum',
    unit: '{request}',
    description: 'Requests in flight.',
    temporality: 'cumulative',
    monotonic: false,
    services: ['web', 'pricing'],
    series: 4,
    points: 2400,
  },
  {
    name: 'http.server.requests',
    type: 'sum',
    unit: '{request}',
    description: 'Requests that were answered.',
    temporality: 'cumulative',
    monotonic: true,
    services: ['web', 'pricing', 'fx'],
    series: 9,
    points: 5210,
  },
  {
    name: 'process.runtime.nodejs.memory.heap',
    type: 'gauge',
    unit: 'By',
    description: 'Heap in use.',
    temporality: 'unspecified',
    monotonic: false,
    services: ['web', 'catalog'],
    series: 2,
    points: 1800,
  },
  {
    name: 'db.client.operation.duration',
    type: 'exponential_histogram',
    unit: 's',
    description: 'Duration of database operations.',
    temporality: 'delta',
    monotonic: false,
    services: ['pricing', 'orders', 'cart'],
    series: 6,
    points: 3600,
  },
  {
    name: 'gen_ai.client.token.usage',
    type: 'histogram',
    unit: '{token}',
    description: 'Tokens used by calls of models.',
    temporality: 'delta',
    monotonic: false,
    services: ['assistant', 'llm'],
    series: 4,
    points: 410,
  },
  {
    name: 'aws.dynamodb.ConsumedWriteCapacityUnits',
    type: 'gauge',
    unit: '1',
    description: 'Write capacity consumed in a minute.',
    temporality: 'unspecified',
    monotonic: false,
    services: ['aws'],
    series: 6,
    points: 720,
  },
  {
    name: 'payments.declined',
    type: 'sum',
    unit: '{payment}',
    description: '',
    temporality: 'delta',
    monotonic: true,
    services: ['payment'],
    series: 3,
    points: 640,
  },
];

function query(p) {
  const metric = METRICS.find((one) => one.name === p.name);
  if (!metric) return null;
  const way = p.as || 'value';
  const names = /memory/.test(p.name) ? ['web', 'catalog'] : metric.services.slice(0, 4);
  const factor = metric.unit === 'By' ? 9e7 : metric.unit === 's' ? 0.05 : 40;
  const series = names.map((name, index) => ({
    labels: { 'service.name': name },
    points: Array.from({ length: 120 }, (_, at) => {
      const gap = index === 1 && at > 60 && at < 66;
      const spike = at > 88 && at < 96 && index === 0 ? 2.6 : 1;
      const noise = 0.92 + ((at * 7919 * (index + 3)) % 17) / 100;
      return [
        back((120 - at) * 7.5),
        gap
          ? null
          : (wave(at, 43 + index * 11, 0.4, 1) *
              factor *
              (way === 'p99' ? 4 : way === 'p95' ? 2.6 : 1) *
              spike *
              noise) /
            (index + 1),
      ];
    }),
    resets: index === 0 && way === 'rate' ? [back(61 * 7.5)] : [],
  }));
  const bounds =
    metric.unit === 's'
      ? [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5]
      : [1, 4, 16, 64, 256, 1024, 4096];
  const columns = Array.from({ length: 90 }, (_, at) => ({
    t: back((90 - at) * 10),
    counts: Array.from({ length: bounds.length + 1 }, (_, row) => {
      const main = Math.exp(-((row - wave(at, 50, 2.6, 4.2)) ** 2) / 1.6) * 60;
      const slow = at > 55 && at < 68 ? Math.exp(-((row - 7) ** 2) / 0.8) * 26 : Math.exp(-((row - 7) ** 2) / 0.5) * 2;
      return Math.round(main + slow + ((at * 31 + row * 17) % 3) * (row < 8 ? 0.6 : 0));
    }),
  }));
  return {
    series: way === 'heatmap' ? [] : p.by || names.length === 1 ? series : series.slice(0, Math.max(1, names.length)),
    heatmap: way === 'heatmap' ? { bounds, columns } : null,
    exemplars: /histogram/.test(metric.type)
      ? [12, 30, 44, 61, 63, 66, 80].map((at, index) => ({
          t: back((90 - at) * 10),
          value: index > 2 && index < 6 ? 0.212 : 0.04,
          trace_id: p.trace,
          span_id: '',
        }))
      : [],
    unit: metric.unit,
    type: metric.type,
    temporality: metric.temporality,
  };
}

const NODES = [
  ['web', 'service', 2900, 31, 3.2, 48e6, 251e6],
  ['pricing', 'service', 2140, 30, 1.6, 41e6, 244e6],
  ['fx', 'service', 420, 30, 0.5, 14e6, 104e6],
  ['cart', 'service', 180, 0, 0.2, 11e6, 12e6],
  ['payment', 'service', 120, 0, 0.2, 150e6, 240e6],
  ['orders', 'service', 240, 0, 0.2, 62e6, 101e6],
  ['catalog', 'service', 460, 0, 0.6, 17e6, 28e6],
  ['worker', 'service', 130, 2, 0.2, 38e6, 60e6],
  ['postgresql', 'database', 1320, 0, 9.6, 6e6, 9e6],
  ['redis', 'database', 280, 0, 0.8, 1.4e6, 2.2e6],
  ['dynamodb', 'database', 70, 2, 0.2, 30e6, 51e6],
  ['order-placed', 'queue', 60, 0, 0.2, 6e6, 7e6],
  ['small-model', 'model', 117, 0, 0.5, 15e6, 15e6],
  ['api.rates.example', 'external', 117, 30, 0.5, 10e6, 100e6],
  ['acme-pay.example', 'external', 60, 0, 0.2, 140e6, 230e6],
].map(([name, kind, spans, errors, rate, p50, p99]) => ({
  id: name,
  kind,
  name,
  spans,
  errors,
  rate,
  p50: String(p50),
  p99: String(p99),
}));
const EDGES = [
  ['web', 'pricing', 117, 30],
  ['web', 'cart', 60, 0],
  ['web', 'payment', 60, 0],
  ['web', 'orders', 60, 0],
  ['web', 'catalog', 123, 0],
  ['pricing', 'postgresql', 702, 0],
  ['pricing', 'fx', 117, 30],
  ['pricing', 'small-model', 117, 0],
  ['fx', 'api.rates.example', 117, 30],
  ['cart', 'redis', 60, 0],
  ['catalog', 'redis', 123, 0],
  ['catalog', 'postgresql', 49, 0],
  ['payment', 'acme-pay.example', 60, 0],
  ['orders', 'dynamodb', 60, 2],
  ['orders', 'order-placed', 60, 0],
  ['order-placed', 'worker', 60, 0],
  ['worker', 'dynamodb', 8, 0],
].map(([from, to, calls, errors]) => {
  const node = NODES.find((one) => one.id === to);
  return { from, to, calls, errors, rate: calls / 900, p50: node.p50, p99: node.p99, q: `service=${from}` };
});

function alerts({ named }) {
  const one = (
    id,
    rule,
    severity,
    source,
    title,
    text,
    fix,
    seconds,
    count,
    evidence,
    labels = {},
    state = 'firing',
  ) => ({
    id,
    rule,
    severity,
    source,
    title,
    text,
    fix,
    first: back(seconds),
    last: back(seconds / 30),
    count,
    state,
    evidence,
    labels,
  });
  return [
    one(
      'a1',
      'DynamoDBWriteThrottled',
      'critical',
      'rule',
      'orders is throttled: one key takes most of the writes',
      'Writes to table orders are throttled in bursts while the table as a whole uses 41 % of its capacity. The pattern is that of a hot partition.',
      [
        'Look at the contributors: customer#4711 receives 62 % of the writes.',
        'Spread the key: add a suffix of 0 to 9 to the partition key of the writers, and read all ten.',
        'Until then, let the SDK retry with backoff: adaptive mode, 8 attempts.',
      ],
      840,
      37,
      [
        { kind: 'metric', q: 'TableName=orders', text: 'WriteThrottleEvents of orders' },
        { kind: 'trace', trace_id: named.bad, text: 'a checkout that was throttled' },
      ],
      { table: 'orders', region: 'eu-west-1' },
    ),
    one(
      'n-plus-one-1',
      'n-plus-one',
      'warning',
      'lint',
      'One statement 6 times: SELECT rate',
      'pricing runs SELECT rate once for each item under POST /price; 6 times in one request, 40 ms of its 74.',
      'Read all rates with one statement: WHERE sku = ANY($1).',
      890,
      117,
      [{ kind: 'trace', trace_id: named.bad, text: 'GET /quote, 6 times' }],
      { service: 'pricing' },
    ),
    one(
      'slow-1',
      'slow-vs-baseline',
      'warning',
      'lint',
      'GET /quote is 4.4 times slower than in run r-17',
      'p95 is 210 ms over 43 requests; it was 48 ms in run r-17.',
      [
        'Compare the two runs to see which span grew.',
        'fx GET /rates waits for its timeout: api.rates.example does not answer.',
      ],
      600,
      43,
      [{ kind: 'trace', q: 'name="GET /quote" duration>190ms', text: 'slow requests' }],
      { service: 'web' },
    ),
    one(
      'a2',
      'XRayTraceExpires',
      'warning',
      'rule',
      'A trace expires from X-Ray in 1.4 days',
      '1 trace that is linked from an open alert has 1.4 days left before X-Ray forgets it.',
      'Archive it: radiosonde retention restore --trace 1-68a0, or set retention.archive.',
      400,
      1,
      [],
      { region: 'eu-west-1' },
    ),
    one(
      'secret-1',
      'secret-in-attribute',
      'critical',
      'lint',
      'A credential stands in an attribute',
      'http.request.header.authorization of web carries what looks like a bearer token. Its value is masked here and in exports.',
      'Remove the header from the captured ones, or drop it in the pipeline with attributes/delete.',
      300,
      12,
      [{ kind: 'key', q: 'http.request.header.authorization', text: 'http.request.header.authorization' }],
      { service: 'web' },
    ),
    one(
      'orphan-1',
      'orphan-span',
      'warning',
      'lint',
      'A parent never came: retry order-placed',
      'The parent of 1 span of worker did not arrive within 10 s.',
      'Let the producer export too, or check its sampler: parent and child must agree.',
      41,
      1,
      [],
      { service: 'worker' },
    ),
    one(
      'dep-1',
      'deprecated-semconv',
      'info',
      'lint',
      'http.method is now http.request.method',
      'catalog sends a key that the conventions replaced.',
      'Update @opentelemetry/instrumentation-http to 0.200 or later.',
      880,
      460,
      [{ kind: 'key', q: 'http.method', text: 'http.method' }],
      { service: 'catalog' },
    ),
    one(
      'port-1',
      'wrong-port-or-protocol',
      'info',
      'lint',
      'gRPC arrives on the HTTP port',
      'Client cart sends gRPC to 4318. It works here, and will not with other collectors.',
      'Set the endpoint to http://localhost:4317.',
      890,
      60,
      [],
      {},
    ),
    one(
      'hostile-1',
      'ids-in-span-name',
      'info',
      'lint',
      HOSTILE[1],
      HOSTILE[0],
      HOSTILE[2],
      33,
      1,
      [{ kind: 'trace', trace_id: named.hostile, text: HOSTILE[4] }],
      { [HOSTILE[0]]: HOSTILE[4] },
    ),
    one(
      'done-1',
      'clock-skew',
      'warning',
      'lint',
      'The clock of payment was 2.1 s ahead',
      'Children of web started before it.',
      'Run an NTP client in the container host.',
      3600,
      4,
      [],
      { service: 'payment' },
      'resolved',
    ),
  ];
}

const KEYS = [
  ['service.name', 'resource', 'string', 4900, 9, ['web', 'pricing'], 'known'],
  ['http.route', 'span', 'string', 900, 6, ['/quote', '/checkout'], 'known'],
  ['http.method', 'span', 'string', 460, 2, ['GET', 'PUT'], 'deprecated', 'http.request.method'],
  ['http.response.status_code', 'span', 'int', 900, 5, ['200', '502'], 'known'],
  ['db.query.text', 'span', 'string', 702, 1, ['SELECT value FROM rate WHERE sku = $1'], 'known'],
  ['cart.value', 'span', 'double', 117, 98, ['129.9', '12.4'], 'custom'],
  ['user.is_member', 'span', 'bool', 117, 2, ['true', 'false'], 'custom'],
  ['session.payload', 'span', 'string', 117, 117, ['{"user":{"id":7'], 'custom'],
  ['messaging.system', 'span', 'string', 120, 1, ['aws_sqs'], 'known'],
  ['exception.type', 'event', 'string', 62, 2, ['TimeoutError'], 'known'],
  ['order.id', 'log', 'int', 60, 60, ['4711'], 'custom'],
  ['code.file.path', 'log', 'string', 117, 3, ['src/routes/quote.ts'], 'known'],
  ['gen_ai.request.model', 'span', 'string', 119, 2, ['small-model', 'large-model'], 'known'],
].map(([key, scope, types, count, values, examples, semconv, instead]) => ({
  key,
  scope,
  types: [types],
  count,
  values,
  examples,
  semconv,
  instead: instead ?? null,
}));

const PIPELINE = {
  pipelines: [
    {
      id: 'traces',
      signal: 'traces',
      receivers: ['otlp', 'xray'],
      processors: ['memory_limiter', 'tail_sampling', 'batch'],
      exporters: ['devstore', 'otlp/backend'],
    },
    {
      id: 'metrics',
      signal: 'metrics',
      receivers: ['otlp', 'dynamodb'],
      processors: ['batch'],
      exporters: ['devstore'],
    },
    { id: 'logs', signal: 'logs', receivers: ['otlp'], processors: ['batch'], exporters: ['devstore'] },
  ],
  components: [
    {
      id: 'otlp',
      kind: 'receiver',
      state: 'ok',
      signals: ['traces', 'metrics', 'logs'],
      in: 51402,
      out: 51402,
      failed: 0,
      dropped: [],
      rate_in: 57.2,
      rate_out: 57.2,
      queue: null,
      in_flight: 0,
    },
    {
      id: 'xray',
      kind: 'receiver',
      state: 'ok',
      signals: ['traces'],
      in: 1240,
      out: 1240,
      failed: 0,
      dropped: [],
      rate_in: 1.4,
      rate_out: 1.4,
      queue: null,
      in_flight: 0,
    },
    {
      id: 'dynamodb',
      kind: 'receiver',
      state: 'degraded',
      signals: ['metrics'],
      in: 720,
      out: 720,
      failed: 0,
      dropped: [],
      rate_in: 0.8,
      rate_out: 0.8,
      queue: null,
      in_flight: 0,
    },
    {
      id: 'memory_limiter',
      kind: 'processor',
      state: 'ok',
      in: 52642,
      out: 52642,
      failed: 0,
      dropped: [],
      rate_in: 58.6,
      rate_out: 58.6,
      queue: null,
    },
    {
      id: 'tail_sampling',
      kind: 'processor',
      state: 'ok',
      in: 52642,
      out: 20104,
      failed: 0,
      dropped: [{ reason: 'not sampled: healthy and fast', items: 32538 }],
      rate_in: 58.6,
      rate_out: 21.3,
      queue: null,
    },
    {
      id: 'batch',
      kind: 'processor',
      state: 'ok',
      in: 20104,
      out: 20104,
      failed: 0,
      dropped: [],
      rate_in: 21.3,
      rate_out: 21.3,
      queue: null,
    },
    {
      id: 'devstore',
      kind: 'exporter',
      state: 'ok',
      in: 20104,
      out: 20104,
      failed: 0,
      dropped: [],
      rate_in: 21.3,
      rate_out: 21.3,
      queue: null,
      in_flight: 0,
    },
    {
      id: 'otlp/backend',
      kind: 'exporter',
      state: 'degraded',
      in: 20104,
      out: 19810,
      failed: 12,
      dropped: [{ reason: 'refused by the far end: 413', items: 18 }],
      rate_in: 21.3,
      rate_out: 17.9,
      queue: { items: 276, bytes: 48000000, capacity: 67108864 },
      in_flight: 10,
    },
  ],
  clients: [
    {
      sdk: 'opentelemetry',
      language: 'nodejs',
      version: '2.12.0',
      protocol: 'http/protobuf',
      encoding: 'gzip',
      requests: 812,
      items: 30210,
      last: back(1),
    },
    {
      sdk: 'opentelemetry',
      language: 'python',
      version: '1.45.0',
      protocol: 'grpc',
      encoding: 'gzip',
      requests: 640,
      items: 14022,
      last: back(2),
    },
    {
      sdk: 'opentelemetry',
      language: 'go',
      version: '1.43.0',
      protocol: 'grpc',
      encoding: 'none',
      requests: 220,
      items: 4100,
      last: back(2),
    },
    {
      sdk: 'opentelemetry',
      language: 'java',
      version: '1.60.0',
      protocol: 'http/protobuf',
      encoding: 'none',
      requests: 204,
      items: 3070,
      last: back(14),
    },
  ],
  config:
    'receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: localhost:4317\n      http:\n        endpoint: localhost:4318\nexporters:\n  devstore:\n    memory: 512MB\n  otlp/backend:\n    endpoint: backend.example:4317\n    headers:\n      authorization: "[REDACTED]"\nservice:\n  pipelines:\n    traces:\n      receivers: [otlp, xray]\n      processors: [memory_limiter, tail_sampling, batch]\n      exporters: [devstore, otlp/backend]\n',
  memory: { rss: 71303168, limit: 2147483648 },
};

const AWS = {
  configured: true,
  sources: [
    {
      receiver: 'dynamodb',
      account: '123456789012',
      region: 'eu-west-1',
      last_success: back(31),
      state: 'ok',
      error: null,
    },
    {
      receiver: 'sagemaker',
      account: '123456789012',
      region: 'eu-west-1',
      last_success: back(44),
      state: 'ok',
      error: null,
    },
    {
      receiver: 'xray',
      account: '123456789012',
      region: 'eu-west-1',
      last_success: back(380),
      state: 'throttled',
      error: null,
    },
    {
      receiver: 'dynamodb',
      account: '123456789012',
      region: 'us-east-1',
      last_success: null,
      state: 'blind',
      error: 'AccessDenied: cloudwatch:GetMetricData',
    },
  ],
  tables: [
    {
      account: '123456789012',
      region: 'eu-west-1',
      table: 'orders',
      index: null,
      consumed_read: 210,
      consumed_write: 410,
      provisioned_read: 500,
      provisioned_write: 1000,
      utilisation: 0.41,
      throttles: 37,
      pattern: 'sustained',
      cause: 'hot_partition',
      latency: { PutItem: { avg: 6.1, p99: 48 }, GetItem: { avg: 3.2, p99: 11 } },
      size: 8.1e9,
      items: 41000000,
      growth: 4.2e7,
      growth_over: '21600000000000',
      growth_7d_percent: 3.4,
      hot_keys: [{ key: 'customer#4711', rule: 'PKT', requests: 4120 }],
      alerts: [{ id: 'a1', title: 'DynamoDBWriteThrottled' }],
    },
    {
      account: '123456789012',
      region: 'eu-west-1',
      table: 'orders',
      index: 'by-customer',
      consumed_read: 96,
      consumed_write: 410,
      provisioned_read: 100,
      provisioned_write: 1000,
      utilisation: 0.96,
      throttles: 4,
      pattern: 'burst',
      cause: 'provisioned_capacity',
      latency: { Query: { avg: 9.4, p99: 61 } },
      size: 2.2e9,
      items: 41000000,
      growth: 1.1e7,
      hot_keys: [],
      alerts: [],
    },
    {
      account: '123456789012',
      region: 'eu-west-1',
      table: 'sessions',
      index: null,
      consumed_read: 1900,
      consumed_write: 720,
      provisioned_read: null,
      provisioned_write: null,
      utilisation: null,
      throttles: 0,
      pattern: null,
      latency: { GetItem: { avg: 2.4, p99: 7 } },
      size: 1.4e9,
      items: 9000000,
      growth: -2.1e6,
      hot_keys: [],
      alerts: [],
    },
    {
      account: '123456789012',
      region: 'eu-west-1',
      table: 'products',
      index: null,
      consumed_read: 120,
      consumed_write: 3,
      provisioned_read: 400,
      provisioned_write: 50,
      utilisation: 0.3,
      throttles: 0,
      pattern: null,
      latency: { Query: { avg: 4.4, p99: 12 } },
      size: 3.1e8,
      items: 210000,
      growth: 0,
      hot_keys: [],
      alerts: [],
    },
  ],
  endpoints: [
    {
      endpoint: 'ranker',
      variant: 'blue',
      invocations: 42.1,
      errors_4xx: 1,
      errors_5xx: 2,
      model_latency_p99: 212000,
      overhead_latency_p99: 14000,
      cpu: 61,
      gpu: 88,
      memory: 71,
      instances: 2,
      status: 'InService',
      alerts: ['a3'],
    },
    {
      endpoint: 'embedder',
      variant: 'AllTraffic',
      invocations: 410,
      errors_4xx: 0,
      errors_5xx: 0,
      model_latency_p99: 18000,
      overhead_latency_p99: 4000,
      cpu: 34,
      gpu: 42,
      memory: 48,
      instances: 3,
      status: 'InService',
      alerts: [],
    },
  ],
  jobs: [
    {
      name: 'ranker-train-0412',
      kind: 'training',
      status: 'Failed',
      duration: '5400000000000',
      reason: 'AlgorithmError: CUDA out of memory',
    },
    { name: 'embed-batch-0413', kind: 'transform', status: 'InProgress', duration: '840000000000', reason: '' },
  ],
  pipelines: [
    {
      name: 'nightly-retrain',
      status: 'Failed',
      success_ratio: 0.5,
      steps: [{ name: 'train', reason: 'AlgorithmError: CUDA out of memory' }],
    },
  ],
  xray: {
    traces: 1240,
    scanned: 1310,
    lag: '62000000000',
    service_graph: ['web', 'orders', 'worker'].map((service) => ({ service, type: 'AWS::ECS', requests: { ok: 410 } })),
    sampling: [
      { rule: 'Default', fixed_rate: 0.05, reservoir: 1 },
      { rule: 'checkout', fixed_rate: 1, reservoir: 10 },
    ],
    retention: {
      states: { pending: 1190, archived: 41, due: 8, at_risk: 1 },
      coverage: 1,
      at_risk_total: 1,
      min_time_to_expiry: '120960000000000',
      at_risk: [
        {
          trace_id: '5759e988bd862e3fe1be46a994272793',
          xray_id: '1-5759e988-bd862e3fe1be46a994272793',
          state: 'at_risk',
          left: '120960000000000',
          start: back(2471040),
          place: 'eu-west-1',
          reason: null,
          known: false,
          steps: [
            'No archive has a copy, and X-Ray will let it go soon.',
            'Read it while it is there: aws xray batch-get-traces --region eu-west-1 --trace-ids 1-5759e988-bd862e3fe1be46a994272793',
            'List all of them now, without writing anything: radiosonde retention check --config FILE',
          ],
        },
      ],
    },
  },
  calls: [
    { api: 'cloudwatch:GetMetricData', calls: 180, units: 41200, outcomes: { ok: 176, throttled: 4 } },
    { api: 'cloudwatch:ListMetrics', calls: 12, units: null, outcomes: { ok: 12 } },
    { api: 'dynamodb:DescribeTable', calls: 8, units: null, outcomes: { ok: 8 } },
    { api: 'xray:GetTraceSummaries', calls: 60, units: 1240, outcomes: { ok: 60 } },
    { api: 'xray:BatchGetTraces', calls: 44, units: 1240, outcomes: { ok: 44 } },
  ],
  bill: {
    estimated_usd: 0.412,
    month_usd: 41.9,
    budget_usd: 60,
    parts: [
      { of: 'CloudWatch', usd: 0.4, month_usd: 41.2 },
      { of: 'X-Ray', usd: 0.012, month_usd: null },
      { of: 'Retention check', usd: 0, month_usd: 0.7 },
    ],
  },
};

const MESSAGES = [
  {
    role: 'system',
    parts: [{ type: 'text', text: 'You help people to find products in a shop. Answer briefly and name the price.' }],
  },
  { role: 'user', parts: [{ type: 'text', text: 'I need a weather balloon for a school project, below 60 euros.' }] },
  {
    role: 'assistant',
    parts: [
      {
        type: 'tool_call',
        tool: {
          name: 'find_products',
          arguments: {
            query: 'weather balloon',
            max_price: 60,
            currency: 'EUR',
            filters: { in_stock: true, delivery: ['DE', 'AT'] },
          },
        },
      },
    ],
  },
  {
    role: 'tool',
    parts: [
      {
        type: 'tool_call_response',
        tool: {
          name: 'find_products',
          result: {
            items: [
              { sku: 9, name: 'Balloon 100 g', price: 29.9 },
              { sku: 31, name: 'Balloon 200 g', price: 44.5 },
            ],
          },
        },
      },
    ],
  },
  {
    role: 'assistant',
    parts: [
      {
        type: 'text',
        text: 'The 100 g balloon at 29.90 euros lifts a small payload to about 20 km. For more than 250 g, take the 200 g one at 44.50 euros. Both are in stock.',
      },
    ],
  },
  { role: 'user', parts: [{ type: 'text', text: HOSTILE[0] }] },
];

export function fixed(where, p, { spans, traces, tree, trace, named, fail }) {
  const isEmpty = spans.length === 0;
  if (where === '/metrics') {
    const shown = METRICS.filter(
      (one) => !p.q || one.name.includes(p.q) || one.services.some((name) => p.q.includes(name)),
    );
    return isEmpty
      ? { metrics: [], empty: 'nothing received' }
      : {
          metrics: shown.map((one) => ({ ...one, last: one.unit === 'By' ? 7.1e7 : one.unit === 's' ? 0.048 : 12 })),
          total: shown.length,
          empty: shown.length ? undefined : 'filtered',
        };
  }
  if (where === '/metrics/query') return query({ ...p, trace: named.bad });
  if (where === '/map')
    return isEmpty ? { nodes: [], edges: [], empty: 'nothing received' } : { nodes: NODES, edges: EDGES };
  if (where === '/alerts')
    return {
      alerts: isEmpty ? [] : alerts({ named }).filter((one) => named.hostile || one.id !== 'hostile-1'),
      empty: isEmpty ? 'nothing received' : undefined,
    };
  if (/^\/alerts\/[^/]+\/mute$/.test(where)) return {};
  if (where === '/clear') return {};
  if (where === '/keys')
    return {
      keys: isEmpty
        ? []
        : !named.hostile
          ? KEYS
          : [
              ...KEYS,
              {
                key: HOSTILE[1],
                scope: 'span',
                types: ['string', 'int'],
                count: 2,
                values: 2,
                examples: [HOSTILE[0]],
                semconv: 'custom',
                instead: null,
              },
            ],
      scopes: isEmpty
        ? []
        : [
            ['@opentelemetry/instrumentation-http', '0.223.0', 2900],
            ['@opentelemetry/instrumentation-pg', '0.61.0', 702],
          ],
      empty: isEmpty ? 'nothing received' : undefined,
    };
  if (where === '/services')
    return {
      services: isEmpty
        ? []
        : NODES.filter((one) => one.kind === 'service').map((one) => ({
            name: one.name,
            spans: one.spans,
            errors: one.errors,
            p50: one.p50,
            p95: one.p99,
            p99: one.p99,
            operations: [{ name: 'GET /quote' }],
            sdk: 'opentelemetry 2.12',
            language: 'nodejs',
          })),
    };
  if (where === '/runs')
    return {
      runs: isEmpty
        ? []
        : [
            {
              id: 'r-18',
              command: ['npm', 'test'],
              started: back(900),
              ended: null,
              exit_code: null,
              spans: spans.length,
              errors: 121,
              logs: 438,
              traces: traces.size,
            },
            {
              id: 'r-17',
              command: ['npm', 'test'],
              started: back(4100),
              ended: back(3980),
              exit_code: 0,
              spans: 2100,
              errors: 0,
              logs: 301,
              traces: 190,
            },
            {
              id: 'r-16',
              command: ['npm', 'test', '--', named.hostile ? HOSTILE[0] : '--watch'],
              started: back(5100),
              ended: back(4970),
              exit_code: 1,
              spans: 1940,
              errors: 41,
              logs: 290,
              traces: 171,
            },
          ],
    };
  if (where === '/genai') {
    const calls = spans
      .filter((span) => span.gen_ai && (!p.q || !p.q.startsWith('trace=') || span.trace_id === p.q.slice(6)))
      .slice(-120)
      .reverse();
    const models = new Map();
    for (const span of calls) {
      const own =
        models.get(span.gen_ai.model) ??
        models
          .set(span.gen_ai.model, { model: span.gen_ai.model, calls: 0, input_tokens: 0, output_tokens: 0, cost: null })
          .get(span.gen_ai.model);
      own.calls += 1;
      own.input_tokens += span.gen_ai.input_tokens;
      own.output_tokens += span.gen_ai.output_tokens;
      if (own.model === 'large-model') own.cost = (own.cost ?? 0) + 0.021;
    }
    return {
      calls: calls.map((span) => ({
        trace_id: span.trace_id,
        span_id: span.span_id,
        time: String(span.start),
        ...span.gen_ai,
        cost: span.gen_ai.model === 'large-model' ? 0.021 : null,
        duration: String(span.duration),
        error: null,
        conversation: span.gen_ai.conversation ?? null,
      })),
      models: [...models.values()],
      empty: calls.length ? undefined : isEmpty ? 'nothing received' : 'filtered',
    };
  }
  if (/^\/genai\//.test(where)) return { messages: named.hostile ? MESSAGES : MESSAGES.slice(0, -1) };
  if (where === '/pipeline') return PIPELINE;
  if (where === '/aws')
    return isEmpty
      ? {
          configured: false,
          how: 'receivers:\n  dynamodb:\n    regions: [eu-west-1]\n\nradiosonde aws plan shows the calls and their price first.',
        }
      : AWS;
  if (where === '/compare') return compare(p, { traces, tree, trace, fail, named });
  return null;
}

function compare({ a, b }, { traces, tree, trace, fail, named }) {
  const full = (id) => [...traces.keys()].find((one) => one.startsWith(id));
  if (!full(a) || !full(b)) {
    if (/^r-/.test(a ?? '') && /^r-/.test(b ?? '')) return runs();
    throw fail(404, { error: 'one of the two is not in the store' });
  }
  const [left, right] = [tree(full(a)).rows, tree(full(b)).rows];
  const keyOf = (row, index, rows) => `${row.depth} ${row.service} ${row.name}`;
  const sum = (rows) => {
    const all = new Map();
    rows.forEach((row, index) => {
      const own =
        all.get(keyOf(row, index, rows)) ??
        all.set(keyOf(row, index, rows), { row, count: 0, duration: 0, errors: 0 }).get(keyOf(row, index, rows));
      own.count += 1;
      own.duration += Number(row.duration);
      own.errors += row.status === 'error' ? 1 : 0;
    });
    return all;
  };
  const [x, y] = [sum(left), sum(right)];
  const side = (one) => (one ? { count: one.count, duration: String(one.duration), errors: one.errors } : null);
  const rows = [...new Set([...x.keys(), ...y.keys()])].map((key) => {
    const [one, two] = [x.get(key), y.get(key)];
    const change = !one
      ? 'added'
      : !two
        ? 'removed'
        : two.duration > one.duration * 1.2
          ? 'slower'
          : two.duration < one.duration * 0.8
            ? 'faster'
            : 'same';
    const { row } = one ?? two;
    return { depth: row.depth, service: row.service, name: row.name, a: side(one), b: side(two), change };
  });
  return {
    kind: 'traces',
    a: trace(full(a)),
    b: trace(full(b)),
    rows,
    attributes: [
      { key: 'http.response.status_code', a: '200', b: '502' },
      { key: 'url.query', a: 'sku=9&currency=EUR', b: named.hostile ? HOSTILE[0] : 'sku=9&currency=USD' },
      { key: 'feature.flags', a: null, b: 'fast-fx' },
    ],
    summary: {
      p50: { a: '6100000', b: '8200000' },
      p95: { a: trace(full(a)).duration, b: trace(full(b)).duration },
      errors: { a: trace(full(a)).errors, b: trace(full(b)).errors },
    },
  };
}

function runs() {
  const row = (depth, service, name, a, b, change) => ({
    depth,
    service,
    name,
    a: a && { count: 43, duration: String(a * 1e6), errors: 0 },
    b: b && { count: 43, duration: String(b * 1e6), errors: change === 'slower' ? 12 : 0 },
    change,
  });
  return {
    kind: 'runs',
    a: 'r-17',
    b: 'r-18',
    rows: [
      row(0, 'web', 'GET /quote', 48, 210, 'slower'),
      row(1, 'pricing', 'POST /price', 41, 202, 'slower'),
      row(2, 'pricing', 'SELECT rate', 40, 41, 'same'),
      row(2, 'fx', 'GET /rates', 14, 104, 'slower'),
      row(2, 'llm', 'chat small-model', null, 15, 'added'),
      row(0, 'web', 'GET /legacy', 31, null, 'removed'),
    ],
    attributes: attributes({}).map(() => ({})),
    summary: { p50: { a: '41000000', b: '74000000' }, p95: { a: '48000000', b: '210000000' }, errors: { a: 0, b: 12 } },
  };
}
