// A server that speaks the agent's API over made-up data, and serves the page from its folder: for work on the page and for
// its tests. `node tests/ui/fake.mjs [port]`; `--api http://localhost:4320` passes the API on to a running agent instead.
import http from 'node:http';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { attributes, generate, language, more, random } from './data.mjs';
import { fixed } from './fixed.mjs';

const UI = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../src/dev/ui');
const TYPES = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.html': 'text/html; charset=utf-8',
};
const HEADERS = {
  'content-security-policy': "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};
const started = String(BigInt(Date.now()) * 1000000n);
const size = (value, low, high) => Math.min(high, Math.max(low, Number(value ?? low) || low));

export function start({ port = 0, largeSpans = 100000, live = false, api = '', empty = false, isHostile = true } = {}) {
  const data = empty ? { spans: [], logs: [], named: {} } : generate({ largeSpans, isHostile });
  const model = modelOf(data);
  const clients = new Set();
  let streams = 0;
  const push = (event, body) => {
    for (const client of clients) client.write(`id: ${Date.now()}\nevent: ${event}\ndata: ${JSON.stringify(body)}\n\n`);
  };
  const arrive = () => {
    const made = more();
    model.add(made);
    push('traces', { traces: [...new Set(made.map((one) => one.trace_id))].map((id) => model.trace(id)) });
    const added = model.takeLogs();
    if (added.length) push('logs', { logs: added });
  };
  const timer = live ? setInterval(arrive, 900) : null;
  const server = http.createServer((request, answer) => {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname.startsWith('/api/')) {
      if (api) return pass(api, request, answer);
      if (url.pathname === '/api/v1/stream') {
        answer.writeHead(200, { ...HEADERS, 'content-type': 'text/event-stream' });
        answer.write(': open\n\n');
        streams += 1;
        clients.add(answer);
        request.on('close', () => clients.delete(answer));
        return undefined;
      }
      let body;
      let status = 200;
      try {
        body = model.answer(url.pathname.slice('/api/v1'.length), Object.fromEntries(url.searchParams));
        if (!body) [status, body] = [404, { v: 1, error: 'there is no such thing here' }];
      } catch (error) {
        [status, body] = error.status
          ? [error.status, { v: 1, ...error.body }]
          : [500, { v: 1, error: String(error.stack) }];
      }
      answer.writeHead(status, { ...HEADERS, 'content-type': 'application/json' });
      return answer.end(JSON.stringify({ v: 1, ...body }));
    }
    return page(url, answer);
  });
  return new Promise((ready) =>
    server.listen(port, '127.0.0.1', () =>
      ready({
        port: server.address().port,
        named: data.named,
        streams: () => streams,
        arrive,
        push,
        model,
        close: () => (clearInterval(timer), server.closeAllConnections(), server.close()),
      }),
    ),
  );
}

function page(url, answer) {
  const file = path.join(UI, url.pathname.replace(/^\/assets\/[^/]+\//, '/'));
  if (url.pathname.startsWith('/assets/') && file.startsWith(UI) && fs.existsSync(file)) {
    answer.writeHead(200, { ...HEADERS, 'content-type': TYPES[path.extname(file)] ?? 'text/plain' });
    return answer.end(fs.readFileSync(file));
  }
  if (/\.\w+$/.test(url.pathname)) return answer.writeHead(404, HEADERS).end();
  answer.writeHead(200, { ...HEADERS, 'content-type': TYPES['.html'] });
  return answer.end(fs.readFileSync(path.join(UI, 'index.html'), 'utf8').replaceAll('BASE', '/assets/dev'));
}

function pass(api, request, answer) {
  const onward = http.request(
    new URL(request.url, api),
    {
      method: request.method,
      headers: Object.fromEntries(
        Object.entries({ ...request.headers, host: new URL(api).host }).filter(([name]) => name !== 'origin'),
      ),
    },
    (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    },
  );
  onward.on('error', () =>
    answer.headersSent ? answer.destroy() : answer.writeHead(502, HEADERS).end('{"error":"the agent does not answer"}'),
  );
  answer.on('close', () => onward.destroy());
  request.pipe(onward);
}

const fail = (status, body) => Object.assign(new Error(body.error), { status, body });
const end = (span) => span.start + span.duration;

function modelOf({ spans, logs, named }) {
  const traces = new Map();
  let seenLogs = logs.length;
  const add = (some) => {
    for (const span of some) {
      const own = traces.get(span.trace_id) ?? traces.set(span.trace_id, { spans: [] }).get(span.trace_id);
      own.spans.push(span);
      own.tree = own.summary = null;
    }
  };
  add(spans);

  function tree(id) {
    const own = traces.get(id);
    if (own.tree) return own.tree;
    const byId = new Map(own.spans.map((span) => [span.span_id, span]));
    const children = new Map();
    const roots = [];
    for (const span of own.spans) {
      if (byId.has(span.parent_id))
        (children.get(span.parent_id) ?? children.set(span.parent_id, []).get(span.parent_id)).push(span);
      else roots.push(span);
    }
    const order = (a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0);
    const start = own.spans.reduce((least, span) => (span.start < least ? span.start : least), own.spans[0].start);
    const rows = [];
    const walk = (span, depth) => {
      const kids = (children.get(span.span_id) ?? []).sort(order);
      const at = rows.length;
      const alike = new Map();
      for (const kid of kids)
        alike.set(kid.service + kid.name, [...(alike.get(kid.service + kid.name) ?? []).slice(-40), kid]);
      const row = {
        i: at,
        span_id: span.span_id,
        parent_id: span.parent_id,
        depth,
        descendants: 0,
        service: span.service,
        name: span.name,
        kind: span.kind,
        status: span.status,
        status_message: span.status_message,
        start: String(span.start - start),
        duration: String(span.duration),
        self: '0',
        events: span.events
          .slice(0, 20)
          .map((event) => ({
            t: String(BigInt(event.time) - start),
            name: event.name,
            exception: event.name === 'exception',
          })),
        links: span.links.length,
        logs: [],
        missing_parent: span.parent_id !== '' && !byId.has(span.parent_id),
        late: span.late,
        cut_cycle: false,
        alike: null,
        gen_ai: span.gen_ai,
      };
      rows.push(row);
      let covered = 0n;
      let reach = span.start;
      for (const kid of kids) {
        const group = alike.get(kid.service + kid.name);
        const child = walk(kid, depth + 1);
        if (group[0] === kid && group.length > 1 && kids.length < 1000)
          child.alike = { count: group.length, sum: String(group.reduce((sum, one) => sum + one.duration, 0n)) };
        const from = kid.start > reach ? kid.start : reach;
        const to = end(kid) < end(span) ? end(kid) : end(span);
        if (to > from) {
          covered += to - from;
          reach = to;
        }
      }
      row.descendants = rows.length - at - 1;
      row.self = String(span.duration - covered);
      return row;
    };
    for (const root of roots.sort(order)) walk(root, 0);
    const byRow = new Map(rows.map((row) => [row.span_id, row]));
    for (const log of logs)
      if (log.trace_id === id)
        byRow.get(log.span_id)?.logs.push({ t: String(BigInt(log.time) - start), severity: log.severity.level });
    own.tree = { rows, start, roots, byId, children };
    return own.tree;
  }

  function trace(id) {
    const own = traces.get(id);
    if (own.summary) return own.summary;
    const start = own.spans.reduce((least, span) => (span.start < least ? span.start : least), own.spans[0].start);
    const last = own.spans.reduce((most, span) => (end(span) > most ? end(span) : most), start);
    const root = own.spans.find((span) => !span.parent_id);
    const code = root?.attributes.find((one) => one.key === 'http.response.status_code')?.value;
    own.summary = {
      trace_id: id,
      root: root
        ? {
            span_id: root.span_id,
            service: root.service,
            name: root.name,
            kind: root.kind,
            status: root.status,
            http_status: code ? Number(code) : null,
          }
        : null,
      start: String(start),
      duration: String(last - start),
      spans: own.spans.length,
      errors: own.spans.filter((span) => span.status === 'error').length,
      services: [...new Set(own.spans.map((span) => span.service))],
      run: root?.run ?? null,
      partial: false,
      pending: false,
      logs: logs.filter((log) => log.trace_id === id).length,
      alerts: own.spans.some((span) => span.name === 'SELECT rate') ? ['n-plus-one'] : !root ? ['orphan-span'] : [],
      health: root?.name === 'GET /healthz',
      scenario: null,
    };
    return own.summary;
  }

  /** Enough of the query language for the page's tests: terms, `OR`-free, with positions of errors. */
  function filter(q) {
    const terms = [...(q ?? '').matchAll(/(-?)(?:([\w.]+)\s*(!=|>=|<=|=|>|<|:|~)\s*)?("[^"]*"|\S+)/g)];
    const open = (q ?? '').match(/^[^"]*("[^"]*"[^"]*)*"[^"]*$/);
    if (q && open && (q.split('"').length - 1) % 2)
      throw fail(400, {
        error: 'the quote is not closed',
        position: q.lastIndexOf('"'),
        suggestion: 'put a " at the end',
      });
    return (values, text) =>
      terms.every(([, not, key, op, raw]) => {
        const value = raw.replace(/^"|"$|[()]/g, '');
        let holds;
        if (!key) holds = text.toLowerCase().includes(value.toLowerCase());
        else {
          const all = [values[key.replace(/^(res|span|event|scope)\./, '')]]
            .flat()
            .filter((one) => one !== undefined && one !== null)
            .map(String);
          const numeric = /^[\d.]+(ns|us|ms|s)?$/.test(value);
          const n = Number.parseFloat(value) * ({ ms: 1e6, s: 1e9, us: 1e3 }[value.replace(/[\d.]/g, '')] ?? 1);
          const levels = { trace: 1, debug: 5, info: 9, warn: 13, error: 17, fatal: 21 };
          const as = (one) => (key === 'severity' ? (levels[one] ?? Number(one)) : Number(one));
          const against = key === 'severity' ? (levels[value] ?? n) : n;
          holds =
            op === '='
              ? all.includes(value) || (numeric && all.some((one) => Number(one) === n))
              : op === '!='
                ? !all.includes(value)
                : op === ':' || op === '~'
                  ? all.some((one) => one.includes(value))
                  : all.some((one) =>
                      op === '>'
                        ? as(one) > against
                        : op === '<'
                          ? as(one) < against
                          : op === '>='
                            ? as(one) >= against
                            : as(one) <= against,
                    );
        }
        return not ? !holds : holds;
      });
  }
  const valuesOf = (span) => ({
    service: span.service,
    name: span.name,
    kind: span.kind,
    status: span.status,
    duration: Number(span.duration),
    trace: span.trace_id,
    span: span.span_id,
    run: span.run,
    ...Object.fromEntries(span.attributes.map((one) => [one.key, one.value])),
  });
  const textOf = (span) =>
    `${span.service} ${span.name} ${span.status_message} ${span.attributes.map((one) => `${one.key}=${one.value}`).join(' ')} ${span.events.map((event) => event.name).join(' ')}`;
  const matchesTrace = (test, id) =>
    traces
      .get(id)
      .spans.slice(0, 2000)
      .some((span) => test(valuesOf(span), textOf(span)));
  const inWindow = (p) => {
    const moment = (text) =>
      !text
        ? null
        : text.startsWith('-')
          ? BigInt(Date.now()) * 1000000n -
            BigInt(Number.parseInt(text.slice(1), 10)) * { m: 60n, h: 3600n, s: 1n }[text.slice(-1)] * 1000000000n
          : BigInt(text.padEnd(19, '0'));
    const [from, to] = [moment(p.from), moment(p.to)];
    return (time) => (from === null || BigInt(time) >= from) && (to === null || BigInt(time) <= to);
  };
  const why = (p) =>
    traces.size === 0 ? 'nothing received' : p.q ? 'filtered' : p.from ? 'outside the window' : undefined;
  const listed = (p) => {
    const test = filter(p.q);
    const within = inWindow(p);
    return [...traces.keys()]
      .map(trace)
      .filter(
        (one) => within(one.start) && (!p.q || matchesTrace(test, one.trace_id)) && (!p.run || one.run === p.run),
      );
  };
  const find = (id) => {
    const all = [...traces.keys()].filter((one) => one.startsWith(id));
    if (all.length > 1) throw fail(409, { error: 'several traces begin so', candidates: all.slice(0, 10) });
    if (!all.length) throw fail(404, { error: `no trace begins with ${id}` });
    return all[0];
  };
  const logsOf = (p) => {
    const test = filter(p.q);
    const within = inWindow(p);
    return logs.filter(
      (log) =>
        within(log.time) &&
        test(
          { service: log.service, severity: log.severity.level, trace: log.trace_id, body: log.body },
          `${log.service} ${log.body}`,
        ),
    );
  };
  const levelName = (log) => log.severity.level;

  function answer(where, p) {
    const parts = where.split('/').slice(1);
    const limit = size(p.limit ?? 200, 1, 5000);
    const offset = Number(p.cursor ?? 0);
    if (where === '/status') {
      return {
        version: '0.1.0',
        started,
        otlp: [
          { protocol: 'grpc', endpoint: 'http://localhost:4317' },
          { protocol: 'http', endpoint: 'http://localhost:4318' },
        ],
        ui: 'http://localhost:4320',
        data_dir: null,
        store: {
          cap: 536870912,
          used: 3145728 + spans.length * 480,
          traces: traces.size,
          spans: spans.length,
          metric_points: 41200,
          log_records: logs.length,
          series: 86,
          oldest: null,
          newest: null,
          tombstones: [],
        },
        intake: {
          spans: { received: spans.length, stored: spans.length, rejected: 0, dropped: 0, evicted: 0 },
          metric_points: { received: 41200, stored: 41200, rejected: 0, dropped: 0, evicted: 0 },
          log_records: { received: logs.length, stored: logs.length, rejected: 0, dropped: 0, evicted: 0 },
        },
      };
    }
    if (where === '/traces') {
      const all = listed(p);
      const hidden = all.filter((one) => one.health).length;
      const shown = p.health === '1' ? all : all.filter((one) => !one.health);
      const by =
        {
          duration: (a, b) => Number(b.duration) - Number(a.duration),
          errors: (a, b) => b.errors - a.errors,
          spans: (a, b) => b.spans - a.spans,
        }[p.sort] ?? ((a, b) => (BigInt(a.start) < BigInt(b.start) ? 1 : -1));
      shown.sort(by);
      return {
        traces: shown.slice(offset, offset + limit),
        total: shown.length,
        hidden_health: p.health === '1' ? 0 : hidden,
        truncated: offset + limit < shown.length,
        cursor: offset + limit < shown.length ? String(offset + limit) : null,
        window: { from: p.from ?? null, to: p.to ?? null },
        empty: shown.length ? undefined : why(p),
        pruned: [],
      };
    }
    if (where === '/traces/scatter')
      return {
        points: listed(p)
          .filter((one) => !one.health && one.spans < 50000)
          .slice(-limit * 10)
          .map((one) => [one.start, one.duration, one.errors > 0, one.trace_id]),
      };
    if (parts[0] === 'traces' && parts.length >= 2) return ofTrace(find(parts[1]), parts.slice(2), p);
    if (where === '/logs') {
      const all = logsOf(p);
      return {
        logs: all.slice(offset, offset + limit),
        total: all.length,
        truncated: offset + limit < all.length,
        cursor: offset + limit < all.length ? String(offset + limit) : null,
        window: {},
        empty: all.length ? undefined : logs.length ? 'filtered' : 'nothing received',
        pruned: [],
      };
    }
    if (where === '/logs/histogram')
      return {
        buckets: histogram(
          logsOf(p).map((log) => [BigInt(log.time), levelName(log)]),
          size(p.buckets ?? 60, 1, 400),
        ),
      };
    if (parts[0] === 'logs' && parts[1]) {
      const at = logs.findIndex((log) => log.id === parts[1]);
      if (at < 0) return null;
      return {
        ...logs[at],
        before: logs.slice(at + 1, at + 6).reverse(),
        after: logs.slice(Math.max(0, at - 5), at).reverse(),
        resource: { attributes: resource(logs[at].service), dropped: 0, schema_url: '' },
        scope: { name: 'app', version: '', attributes: [] },
        raw: { timeUnixNano: logs[at].time, body: { stringValue: logs[at].body } },
      };
    }
    if (where === '/flame')
      return {
        root: flame(
          listed(p)
            .filter((one) => one.spans < 5000)
            .slice(0, 300)
            .flatMap((one) => tree(one.trace_id).roots.map((root) => [tree(one.trace_id), root])),
        ),
        truncated: false,
      };
    if (where === '/spans') {
      const test = filter(p.q);
      const all = spans.filter((span) => test(valuesOf(span), textOf(span)));
      return {
        spans: all
          .slice(0, limit)
          .map((span) => ({
            ...tree(span.trace_id).rows.find((row) => row.span_id === span.span_id),
            trace_id: span.trace_id,
            attributes: span.attributes,
          })),
        total: all.length,
      };
    }
    if (where === '/complete') {
      const typed = /[\w."-]*$/.exec((p.q ?? '').slice(0, Number(p.pos)))[0];
      const key = /([\w.]+)(?:=|!=|~|:)([\w.]*)$/.exec((p.q ?? '').slice(0, Number(p.pos)));
      const from = Number(p.pos) - (key ? key[2].length : typed.length);
      const values = key
        ? [
            ...new Set(
              spans
                .slice(0, 3000)
                .map((span) => valuesOf(span)[key[1]])
                .filter(Boolean)
                .map(String),
            ),
          ]
        : [
            'service',
            'name',
            'status',
            'duration',
            'kind',
            'http.route',
            'http.response.status_code',
            'db.system.name',
            'gen_ai.request.model',
            'severity',
            'run',
          ];
      return {
        items: values
          .filter((text) => text.startsWith(key ? key[2] : typed))
          .slice(0, 12)
          .map((text, at) => ({ text, kind: key ? 'value' : 'key', count: 900 - at * 61 })),
        from,
        to: Number(p.pos),
      };
    }
    return fixed(where, p, { spans, logs, traces, trace, tree, named, random, language, fail });
  }

  function ofTrace(id, [what, span], p) {
    const { rows, start, roots, byId } = tree(id);
    if (!what) {
      const offset = Number(p.offset ?? 0);
      const limit = size(p.limit ?? 2000, 1, 5000);
      const by = new Map();
      for (const row of rows) {
        const own =
          by.get(row.service) ??
          by.set(row.service, { name: row.service, spans: 0, errors: 0, self: 0 }).get(row.service);
        own.spans += 1;
        own.errors += row.status === 'error' ? 1 : 0;
        own.self += Number(row.self);
      }
      const lints = rows.some((row) => row.alike?.count >= 5)
        ? [
            {
              id: 'n-plus-one-1',
              rule: 'n-plus-one',
              severity: 'warning',
              title: 'One statement 6 times',
              text: 'SELECT rate runs once for each item under POST /price.',
              fix: 'Read all rates with one statement: WHERE sku = ANY($1).',
            },
          ]
        : [];
      return {
        trace: trace(id),
        max_depth: rows.reduce((most, row) => Math.max(most, row.depth), 0),
        rows_total: rows.length,
        services: [...by.values()].map((one) => ({ ...one, self: String(one.self) })),
        missing_parents: rows.filter((row) => row.missing_parent).length,
        skew: [],
        lints,
        rows: rows.slice(offset, offset + limit),
      };
    }
    if (what === 'minimap') {
      const width = size(p.width ?? 400, 1, 2000);
      const total = Number(trace(id).duration) || 1;
      const buckets = Array.from({ length: width }, (_, at) => ({
        from: String(Math.round((at / width) * total)),
        to: String(Math.round(((at + 1) / width) * total)),
        spans: 0,
        errors: 0,
        depth: 0,
      }));
      for (const row of rows) {
        const from = Math.min(width - 1, Math.floor((Number(row.start) / total) * width));
        const to = Math.min(width - 1, Math.floor(((Number(row.start) + Number(row.duration)) / total) * width));
        for (let at = from; at <= Math.min(to, from + 400); at += 1) {
          buckets[at].spans += 1;
          buckets[at].errors += row.status === 'error' && at === from ? 1 : 0;
        }
      }
      return { buckets };
    }
    if (what === 'search') {
      const test = filter(p.q);
      return {
        rows: rows
          .filter((row) => test(valuesOf(byId.get(row.span_id)), textOf(byId.get(row.span_id))))
          .map((row) => row.i),
      };
    }
    if (what === 'critical-path') return critical(id);
    if (what === 'flame') return { root: flame(roots.map((root) => [tree(id), root])), truncated: false };
    if (what === 'spans') {
      const own = byId.get(span);
      if (!own) return null;
      const row = rows.find((one) => one.span_id === span);
      return {
        span: {
          ...row,
          start_time: String(own.start),
          attributes: own.attributes,
          resource: {
            attributes: resource(own.service),
            dropped: 0,
            schema_url: 'https://opentelemetry.io/schemas/1.40.0',
          },
          scope: {
            name: `@opentelemetry/instrumentation-${own.kind === 'client' ? 'undici' : 'http'}`,
            version: '0.223.0',
            attributes: [],
          },
          events: own.events,
          links: own.links,
          linked_from: [],
          trace_state: '',
          flags: 257,
          dropped: { attributes: own.service === 'fx' ? 2 : 0, events: 0, links: 0 },
          logs: logs.filter((log) => log.span_id === span),
          exemplars:
            own.name === 'GET /quote'
              ? [{ metric: 'http.server.request.duration', time: String(own.start), value: 0.212, unit: 's' }]
              : [],
          lints: [],
          raw: {
            traceId: id,
            spanId: span,
            name: own.name,
            startTimeUnixNano: String(own.start),
            endTimeUnixNano: String(end(own)),
            attributes: own.attributes.map((one) => ({ key: one.key, value: { stringValue: String(one.value) } })),
          },
          scope_: null,
          start: String(own.start - start),
        },
      };
    }
    return null;
  }

  function critical(id) {
    const { rows } = tree(id);
    const path = [];
    const kids = (at) => {
      const found = [];
      for (let next = at + 1; next <= at + rows[at].descendants; next += 1 + rows[next].descendants) found.push(next);
      return found;
    };
    const walk = (at, to) => {
      const from = Number(rows[at].start);
      let right = Math.min(to, from + Number(rows[at].duration));
      const parts = [];
      for (const kid of kids(at).reverse()) {
        const [a, b] = [Number(rows[kid].start), Number(rows[kid].start) + Number(rows[kid].duration)];
        if (b > right + 1 || a >= right) continue;
        if (right > b) parts.push([at, b, right]);
        parts.push(kid);
        walk.todo.push([kid, b]);
        right = a;
      }
      if (right > from) parts.push([at, from, right]);
      for (const part of parts) {
        if (Array.isArray(part))
          path.push({
            span_id: rows[part[0]].span_id,
            service: rows[part[0]].service,
            name: rows[part[0]].name,
            from: String(Math.round(part[1])),
            to: String(Math.round(part[2])),
          });
        else {
          const [kid, b] = walk.todo.pop();
          walk(kid, b);
        }
      }
    };
    walk.todo = [];
    if (rows.length < 5000) walk(0, Number(rows[0].start) + Number(rows[0].duration));
    path.sort((a, b) => Number(a.from) - Number(b.from));
    const share = new Map();
    for (const part of path)
      share.set(part.service, (share.get(part.service) ?? 0) + Number(part.to) - Number(part.from));
    const total = [...share.values()].reduce((a, b) => a + b, 0) || 1;
    return {
      path,
      share: [...share]
        .map(([service, length]) => ({ service, duration: String(length), percent: (length / total) * 100 }))
        .sort((a, b) => b.percent - a.percent),
    };
  }

  function flame(starts) {
    const build = (name, service, group, depth) => {
      const node = { name, service, total: '0', self: '0', count: group.length, children: [] };
      let [total, self] = [0n, 0n];
      const next = new Map();
      for (const [within, span] of group) {
        total += span.duration;
        let rest = span.duration;
        for (const kid of within.children.get(span.span_id) ?? []) {
          rest -= kid.duration;
          const key = `${kid.service}\n${kid.name}`;
          (next.get(key) ?? next.set(key, []).get(key)).push([within, kid]);
        }
        self += rest > 0n ? rest : 0n;
      }
      node.total = String(total);
      node.self = String(self);
      if (depth < 40)
        node.children = [...next]
          .map(([key, own]) => build(key.split('\n')[1], key.split('\n')[0], own, depth + 1))
          .sort((a, b) => Number(b.total) - Number(a.total));
      return node;
    };
    const groups = new Map();
    for (const one of starts) {
      const key = `${one[1].service}\n${one[1].name}`;
      (groups.get(key) ?? groups.set(key, []).get(key)).push(one);
    }
    const children = [...groups]
      .map(([key, own]) => build(key.split('\n')[1], key.split('\n')[0], own, 1))
      .sort((a, b) => Number(b.total) - Number(a.total));
    return {
      name: 'all',
      service: '',
      total: String(children.reduce((sum, one) => sum + BigInt(one.total), 0n)),
      self: '0',
      count: starts.length,
      children,
    };
  }

  return {
    add,
    answer,
    trace,
    takeLogs: () => {
      const added = logs.slice(seenLogs);
      seenLogs = logs.length;
      return added;
    },
  };
}

function histogram(records, count) {
  if (!records.length) return [];
  const times = records.map(([time]) => time);
  const [from, to] = [times.reduce((a, b) => (a < b ? a : b)), times.reduce((a, b) => (a > b ? a : b)) + 1n];
  const step = (to - from) / BigInt(count) + 1n;
  const buckets = Array.from({ length: count }, (_, at) => ({
    from: String(from + step * BigInt(at)),
    to: String(from + step * BigInt(at + 1)),
    counts: {},
  }));
  for (const [time, name] of records) {
    const { counts } = buckets[Number((time - from) / step)];
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return buckets;
}

const resource = (service) =>
  attributes({
    'service.name': service,
    'service.version': '2.14.0',
    'deployment.environment.name': 'dev',
    'telemetry.sdk.language': language(service),
    'telemetry.sdk.name': 'opentelemetry',
    'host.name': 'laptop',
    'process.pid': 4711,
    'radiosonde.run.id': 'r-18',
  });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const flag = process.argv.indexOf('--api');
  const { port, named } = await start({
    port: Number(process.argv[2]) || 4330,
    live: !process.argv.includes('--still'),
    api: flag > 0 ? process.argv[flag + 1] : '',
    empty: process.argv.includes('--empty'),
  });
  console.log(`http://localhost:${port}`, named);
}
