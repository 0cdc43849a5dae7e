// The OpenTelemetry SDK for Node sends spans, points and records. Arguments: protocol, compression, port.
// Prints what it sent as one JSON line; `run.py` compares it with what came out.
import { createRequire } from 'node:module';
const require = createRequire(process.env.COMPAT_NODE_MODULES + '/');
const { trace, SpanKind, SpanStatusCode, context, TraceFlags } = require('@opentelemetry/api');
const { BasicTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');
const { MeterProvider, PeriodicExportingMetricReader } = require('@opentelemetry/sdk-metrics');
const { LoggerProvider, BatchLogRecordProcessor } = require('@opentelemetry/sdk-logs');
const { resourceFromAttributes } = require('@opentelemetry/resources');

const [protocol, compression, port] = process.argv.slice(2);
const suffix = { grpc: 'grpc', 'http/protobuf': 'proto', 'http/json': 'http' }[protocol];
const of = (signal, name) => {
  const Exporter = require(`@opentelemetry/exporter-${signal}-otlp-${suffix}`)[`OTLP${name}Exporter`];
  const base = `http://127.0.0.1:${port}`;
  const url = protocol === 'grpc' ? base : `${base}/v1/${signal === 'trace' ? 'traces' : signal}`;
  return new Exporter({ url, compression });
};

const SPANS = 500, RECORDS = 300;
const resource = resourceFromAttributes({ 'service.name': 'node-compat', list: ['a', 'b'] });

const tracers = new BasicTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(of('trace', 'Trace'), { maxQueueSize: 5000, maxExportBatchSize: 64 })],
});
const tracer = tracers.getTracer('node');
const root = tracer.startSpan('root');
const below = trace.setSpan(context.active(), root);
for (let index = 1; index < SPANS; index++) {
  const span = tracer.startSpan(`child ${index}`, {
    kind: SpanKind.CLIENT,
    attributes: { index, nothing: undefined, big: 9007199254740991, ratio: 0.5, flag: true },
    links: [{ context: { ...root.spanContext(), traceFlags: TraceFlags.SAMPLED } }],
  }, below);
  span.addEvent('happened', { index });
  if (index % 10 === 0) { span.recordException(new Error('bad')); span.setStatus({ code: SpanStatusCode.ERROR }); }
  span.end();
}
root.end();
await tracers.forceFlush();
await tracers.shutdown();

const reader = new PeriodicExportingMetricReader({ exporter: of('metrics', 'Metric'), exportIntervalMillis: 3600000 });
const meters = new MeterProvider({ resource, readers: [reader] });
const meter = meters.getMeter('node');
const counter = meter.createCounter('requests'), histogram = meter.createHistogram('duration');
for (let index = 0; index < 40; index++) {
  counter.add(index, { route: `/${index % 4}` });
  histogram.record(index, { route: `/${index % 2}` });
}
await reader.forceFlush();

const exporter = of('logs', 'Log');
let processor;
try { processor = new BatchLogRecordProcessor({ exporter, maxQueueSize: 5000, maxExportBatchSize: 64 }); await processor.forceFlush(); }
catch { processor = new BatchLogRecordProcessor(exporter, { maxQueueSize: 5000, maxExportBatchSize: 64 }); }
const loggers = new LoggerProvider({ resource, processors: [processor] });
const logger = loggers.getLogger('node');
for (let index = 0; index < RECORDS; index++) {
  logger.emit({ severityNumber: 9, severityText: 'INFO', body: index % 3 ? `line ${index}` : { n: index, nothing: null }, attributes: { index } });
}
await loggers.forceFlush();

console.log(JSON.stringify({ spans: SPANS, links: SPANS - 1, events: SPANS - 1 + Math.floor((SPANS - 1) / 10), errors: Math.floor((SPANS - 1) / 10),
  points: 6, counter: 780, records: RECORDS, rootId: root.spanContext().spanId }));
process.exit(0);
