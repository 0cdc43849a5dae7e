// A made-up shop whose telemetry the page is tested with: traces of several kinds, one of 100,000 spans, logs, metrics,
// and values that try to be markup, links and terminal sequences. The same on every run.

let seed = 7;
export function random() {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 4294967296;
}
const pick = (all) => all[Math.floor(random() * all.length)];
const between = (low, high) => low + random() * (high - low);
const hex = (digits) => Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join('');
const ms = (value) => BigInt(Math.round(value * 1e6));
const attribute = (key, value) => ({
  key,
  type:
    typeof value === 'boolean'
      ? 'bool'
      : typeof value === 'number'
        ? Number.isInteger(value)
          ? 'int'
          : 'double'
        : Array.isArray(value)
          ? 'array'
          : 'string',
  value: typeof value === 'number' && Number.isInteger(value) ? String(value) : value,
});
export const attributes = (map) => Object.entries(map).map(([key, value]) => attribute(key, value));

export const HOSTILE = [
  '<img src=x onerror="window.hacked=1">',
  '</script><script>window.hacked=1</script>',
  'javascript:window.hacked=1',
  '\u001b[31mred\u001b]0;title\u0007',
  '"><svg onload=window.hacked=1>',
  '{{constructor.constructor("window.hacked=1")()}}',
  'http://a/"onmouseover="window.hacked=1',
  '\u202Egnp.exe',
  'data:text/html,<script>window.hacked=1</script>',
];

export const spans = [];
export const logs = [];
export const now = BigInt(Date.now()) * 1000000n;
const LANGUAGES = {
  web: 'nodejs',
  pricing: 'python',
  fx: 'python',
  llm: 'python',
  cart: 'go',
  payment: 'java',
  orders: 'java',
  worker: 'go',
  catalog: 'nodejs',
  batch: 'java',
};

function span(trace, parent, service, name, from, length, more = {}) {
  const made = {
    trace_id: trace,
    span_id: hex(16),
    parent_id: parent?.span_id ?? '',
    service,
    name,
    kind: more.kind ?? 'internal',
    status: more.error ? 'error' : 'unset',
    status_message: more.error ?? '',
    start: from,
    duration: ms(length),
    attributes: attributes({ ...(more.attributes ?? {}) }),
    events: more.events ?? [],
    links: more.links ?? [],
    gen_ai: more.gen_ai ?? null,
    late: more.late ?? false,
    run: more.run ?? 'r-18',
  };
  spans.push(made);
  return made;
}

function log(at, service, level, body, span, more = {}) {
  const numbers = { trace: 1, debug: 5, info: 9, warn: 13, error: 17, fatal: 21 };
  logs.push({
    id: `l${logs.length}`,
    time: String(at),
    observed: String(at + 1000000n),
    severity: { number: numbers[level], text: level.toUpperCase(), level },
    service,
    body,
    body_type: 'string',
    event_name: more.event ?? '',
    trace_id: span?.trace_id ?? '',
    span_id: span?.span_id ?? '',
    attributes: attributes(more.attributes ?? {}),
    run: 'r-18',
  });
}

const exception = (at, type, message) => ({
  time: String(at),
  name: 'exception',
  dropped: 0,
  attributes: attributes({
    'exception.type': type,
    'exception.message': message,
    'exception.stacktrace': `Traceback (most recent call last):\n  File "/srv/fx/client.py", line 88, in rates\n    answer = self.session.get(url, timeout=0.1)\n  File "/srv/fx/session.py", line 41, in get\n    raise ${type}("${message}")\n${type}: ${message}`,
  }),
});

function quote(at, isBad) {
  const trace = hex(32);
  const total = isBad ? between(190, 260) : between(40, 90);
  const root = span(trace, null, 'web', 'GET /quote', at, total, {
    kind: 'server',
    error: isBad ? 'upstream timed out' : '',
    attributes: {
      'http.request.method': 'GET',
      'http.route': '/quote',
      'url.path': '/quote',
      'url.query': 'sku=9&currency=EUR',
      'http.response.status_code': isBad ? 502 : 200,
      'user_agent.original': 'Mozilla/5.0 (X11; Linux x86_64)',
      'client.address': '203.0.113.7',
      'server.address': 'shop.example',
      'server.port': 443,
      'network.protocol.version': '2',
      'feature.flags': ['quotes-v2', 'fast-fx'],
      'cart.value': 129.9,
      'user.is_member': true,
      'session.payload': JSON.stringify({
        user: { id: 7, name: 'Ada', roles: ['member', 'beta'] },
        items: [
          { sku: 9, quantity: 2 },
          { sku: 31, quantity: 1 },
        ],
      }),
    },
  });
  const price = span(trace, root, 'pricing', 'POST /price', at + ms(3), total - 8, {
    kind: 'server',
    error: isBad ? 'fx failed' : '',
    attributes: { 'http.route': '/price', 'http.response.status_code': isBad ? 500 : 200 },
  });
  let from = 6;
  for (let index = 0; index < 6; index += 1) {
    const length = between(3, 9);
    span(trace, price, 'pricing', 'SELECT rate', at + ms(from), length, {
      kind: 'client',
      attributes: {
        'db.system.name': 'postgresql',
        'db.namespace': 'prices',
        'db.query.text': `SELECT value FROM rate WHERE sku = $1 AND region = 'EU'`,
        'db.response.returned_rows': 1,
      },
    });
    from += length + 0.6;
  }
  const failed = at + ms(from + 100);
  const fx = span(trace, price, 'fx', 'GET /rates', at + ms(from), isBad ? 104 : 14, {
    kind: 'server',
    error: isBad ? 'TimeoutError: 100ms' : '',
    attributes: { 'http.route': '/rates', 'http.response.status_code': isBad ? 504 : 200 },
    events: isBad
      ? [
          {
            time: String(at + ms(from + 2)),
            name: 'cache.miss',
            attributes: attributes({ 'cache.key': 'fx:EUR:USD' }),
            dropped: 0,
          },
          exception(failed, 'TimeoutError', '100ms'),
        ]
      : [],
  });
  span(trace, fx, 'fx', 'GET api.rates.example', at + ms(from + 1), isBad ? 100 : 10, {
    kind: 'client',
    error: isBad ? 'timeout' : '',
    attributes: {
      'server.address': 'api.rates.example',
      'http.request.method': 'GET',
      'url.full': 'https://api.rates.example/v1/latest?base=EUR',
    },
  });
  span(trace, price, 'llm', 'chat small-model', at + ms(from + (isBad ? 104 : 15)), 15, {
    kind: 'client',
    gen_ai: {
      system: 'example',
      model: 'small-model',
      operation: 'chat',
      input_tokens: 310,
      output_tokens: 55,
      ttft: '6200000',
    },
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.request.model': 'small-model',
      'gen_ai.usage.input_tokens': 310,
      'gen_ai.usage.output_tokens': 55,
    },
  });
  log(at + ms(2), 'web', 'info', 'GET /quote sku=9 currency=EUR', root, {
    attributes: { 'code.file.path': 'src/routes/quote.ts', 'code.line.number': 31 },
  });
  if (isBad) {
    log(failed, 'fx', 'warn', 'rates provider slow, giving up after 100ms', fx);
    log(
      at + ms(total - 3),
      'web',
      'error',
      '{"message":"quote failed","sku":9,"cause":{"type":"TimeoutError","after_ms":100},"retry":false}',
      root,
      {
        attributes: {
          'exception.type': 'UpstreamError',
          'exception.stacktrace':
            'UpstreamError: upstream timed out\n    at quote (/srv/web/routes/quote.ts:52:11)\n    at async handle (/srv/web/server.ts:88:5)',
        },
      },
    );
  } else log(at + ms(5), 'pricing', 'debug', 'priced 2 items in 38ms', price);
  return trace;
}

function checkout(at) {
  const trace = hex(32);
  const total = between(120, 420);
  const root = span(trace, null, 'web', 'POST /checkout', at, total, {
    kind: 'server',
    attributes: { 'http.route': '/checkout', 'http.response.status_code': 201 },
  });
  const cart = span(trace, root, 'cart', 'cart.Get', at + ms(2), 11, {
    kind: 'server',
    attributes: { 'rpc.system': 'grpc', 'rpc.method': 'Get' },
  });
  span(trace, cart, 'cart', 'HGETALL', at + ms(4), 2.1, { kind: 'client', attributes: { 'db.system.name': 'redis' } });
  const pay = span(trace, root, 'payment', 'payment.Charge', at + ms(15), total * 0.6, {
    kind: 'server',
    attributes: { 'rpc.system': 'grpc', 'payment.provider': 'acme' },
  });
  span(trace, pay, 'payment', 'POST acme-pay.example', at + ms(20), total * 0.55, {
    kind: 'client',
    attributes: { 'server.address': 'acme-pay.example', 'http.request.method': 'POST' },
  });
  const order = span(trace, root, 'orders', 'orders.Place', at + ms(18 + total * 0.6), total * 0.25, {
    kind: 'server',
  });
  span(trace, order, 'orders', 'DynamoDB.PutItem', at + ms(20 + total * 0.6), total * 0.12, {
    kind: 'client',
    attributes: {
      'db.system.name': 'dynamodb',
      'aws.dynamodb.table_names': ['orders'],
      'aws.request_id': hex(12),
      'aws.dynamodb.consumed_capacity': 4.5,
    },
  });
  const publish = span(trace, order, 'orders', 'publish order-placed', at + ms(20 + total * 0.74), 6, {
    kind: 'producer',
    attributes: { 'messaging.system': 'aws_sqs', 'messaging.destination.name': 'order-placed' },
  });
  const work = span(trace, publish, 'worker', 'process order-placed', at + ms(total + 4), between(20, 60), {
    kind: 'consumer',
    late: true,
    attributes: { 'messaging.system': 'aws_sqs' },
  });
  span(trace, work, 'worker', 'render receipt', at + ms(total + 8), 11);
  log(at + ms(total - 2), 'orders', 'info', 'order placed', order, {
    event: 'order.placed',
    attributes: { 'order.id': Math.floor(between(1000, 9000)) },
  });
}

function products(at) {
  const trace = hex(32);
  const total = between(8, 30);
  const root = span(trace, null, 'web', 'GET /products', at, total, {
    kind: 'server',
    attributes: { 'http.route': '/products', 'http.response.status_code': random() < 0.06 ? 404 : 200 },
  });
  const list = span(trace, root, 'catalog', 'GET /items', at + ms(1), total - 2, { kind: 'server' });
  span(trace, list, 'catalog', 'GET items:*', at + ms(2), 1.2, {
    kind: 'client',
    attributes: { 'db.system.name': 'redis' },
  });
  if (random() < 0.4)
    span(trace, list, 'catalog', 'SELECT items', at + ms(4), total - 7, {
      kind: 'client',
      attributes: { 'db.system.name': 'postgresql' },
    });
  if (random() < 0.3) log(at + ms(3), 'catalog', 'debug', `cache hit ratio ${between(0.8, 0.99).toFixed(2)}`, list);
}

function agent(at) {
  const trace = hex(32);
  const root = span(trace, null, 'assistant', 'invoke_agent shopping-helper', at, 4200, {
    kind: 'internal',
    attributes: {
      'gen_ai.operation.name': 'invoke_agent',
      'gen_ai.agent.name': 'shopping-helper',
      'gen_ai.conversation.id': 'conv-41',
    },
  });
  const call = (from, length, input, output, ttft) =>
    span(trace, root, 'assistant', 'chat large-model', at + ms(from), length, {
      kind: 'client',
      gen_ai: {
        system: 'example',
        model: 'large-model',
        operation: 'chat',
        input_tokens: input,
        output_tokens: output,
        ttft: String(ms(ttft)),
        conversation: 'conv-41',
      },
      attributes: { 'gen_ai.request.model': 'large-model' },
    });
  call(20, 1400, 1210, 88, 320);
  const tool = span(trace, root, 'assistant', 'execute_tool find_products', at + ms(1440), 220, {
    attributes: { 'gen_ai.tool.name': 'find_products' },
  });
  span(trace, tool, 'catalog', 'GET /search', at + ms(1450), 190, { kind: 'server' });
  call(1680, 2480, 2040, 312, 410);
}

function hostile(at) {
  const trace = hex(32);
  const map = Object.fromEntries(HOSTILE.map((value, index) => [index % 2 ? value : `evil.${index}`, value]));
  const root = span(trace, null, HOSTILE[0], HOSTILE[1], at, 31, {
    kind: 'server',
    error: HOSTILE[4],
    attributes: { ...map, 'url.full': HOSTILE[2], big: 'x'.repeat(20000) },
    events: [
      { time: String(at + ms(3)), name: HOSTILE[0], attributes: attributes(map), dropped: 1 },
      exception(at + ms(9), HOSTILE[4], HOSTILE[1]),
    ],
    links: [{ trace_id: hex(32), span_id: hex(16), attributes: attributes({ why: HOSTILE[0] }), known: false }],
  });
  span(trace, root, HOSTILE[4], HOSTILE[3], at + ms(4), 20);
  for (const value of HOSTILE) log(at + ms(5), HOSTILE[0], 'warn', value, root, { attributes: map });
  return trace;
}

function large(at, count) {
  const trace = hex(32);
  const root = span(trace, null, 'batch', 'nightly import', at, 90000, { kind: 'internal' });
  const files = Math.floor(count / 1000);
  let made = 1;
  for (let file = 0; file < files; file += 1) {
    const from = (file / files) * 89000;
    const one = span(trace, root, 'batch', `import file ${file}`, at + ms(from), 89000 / files, {});
    made += 1;
    for (let line = 0; line < 333 && made < count; line += 1) {
      const begin = from + (line / 333) * (89000 / files);
      const parse = span(trace, one, 'batch', 'parse line', at + ms(begin), 0.6);
      span(trace, parse, 'catalog', 'PUT /items', at + ms(begin + 0.1), 0.4, {
        kind: 'server',
        error: random() < 0.002 ? 'conflict' : '',
      });
      span(trace, parse, 'catalog', 'UPSERT item', at + ms(begin + 0.2), 0.2, { kind: 'client' });
      made += 3;
    }
  }
  return trace;
}

function orphan(at) {
  const trace = hex(32);
  const lost = span(trace, { span_id: hex(16) }, 'worker', 'retry order-placed', at, 44, {
    kind: 'consumer',
    attributes: { 'messaging.system': 'aws_sqs' },
  });
  span(trace, lost, 'worker', 'DynamoDB.GetItem', at + ms(5), 30, {
    kind: 'client',
    attributes: { 'db.system.name': 'dynamodb' },
  });
}

export const named = {};
export function generate({ largeSpans = 100000, isHostile = true } = {}) {
  for (let at = 900; at > 0; at -= 3) {
    const time = now - BigInt(at) * 1000000000n + ms(between(0, 900));
    const dice = random();
    if (dice < 0.12) named.bad = quote(time, true);
    else if (dice < 0.5) quote(time, false);
    else if (dice < 0.7) checkout(time);
    else products(time);
    if (at % 60 === 0)
      span(hex(32), null, 'web', 'GET /healthz', time, 0.4, {
        kind: 'server',
        attributes: { 'http.route': '/healthz', 'http.response.status_code': 200 },
      });
    if (at % 90 === 0) log(time, 'worker', pick(['info', 'debug', 'trace']), 'heartbeat', null);
  }
  agent(now - 61n * 1000000000n);
  orphan(now - 41n * 1000000000n);
  if (isHostile) named.hostile = hostile(now - 33n * 1000000000n);
  if (largeSpans) named.large = large(now - 700n * 1000000000n, largeSpans);
  logs.sort((a, b) => (BigInt(a.time) < BigInt(b.time) ? 1 : -1));
  return { spans, logs, named };
}
export function more() {
  const at = BigInt(Date.now()) * 1000000n - ms(300);
  const first = spans.length;
  const dice = random();
  if (dice < 0.2) quote(at, true);
  else if (dice < 0.6) quote(at, false);
  else products(at);
  return spans.slice(first);
}
export const language = (service) => LANGUAGES[service] ?? 'unknown';
