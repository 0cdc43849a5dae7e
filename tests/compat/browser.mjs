// A page of another origin exports through chromium: preflight, fetch, readable errors; a foreign origin is refused.
// Arguments: the agent's OTLP/HTTP port. Needs playwright-core and a chromium (CHROMIUM, else /usr/bin/chromium).
import { createRequire } from 'node:module';
import http from 'node:http';
import assert from 'node:assert/strict';
const require = createRequire(process.env.COMPAT_NODE_MODULES + '/');
const { chromium } = require('playwright-core');

const [port] = process.argv.slice(2);
const page = '<!doctype html><title>compat</title>';
const server = http.createServer((_, answer) => answer.end(page));
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const pagePort = server.address().port;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
    // A page of a foreign name without a name server.
    '--host-resolver-rules=MAP shop.example 127.0.0.1'],
});
const send = async (tab, body, headers = { 'content-type': 'application/json', 'x-api-key': 'k' }) =>
  tab.evaluate(async ([url, body, headers]) => {
    try {
      const answer = await fetch(url, { method: 'POST', headers, body });
      return { status: answer.status, text: await answer.text(), type: answer.headers.get('content-type') };
    } catch (error) { return { failed: String(error) }; }
  }, [`http://127.0.0.1:${port}/v1/traces`, body, headers]);
const request = (name) => JSON.stringify({ resourceSpans: [{ resource: { attributes: [{ key: 'service.name', value: { stringValue: 'web' } }] },
  scopeSpans: [{ spans: [{ traceId: '5B8EFFF798038103D269B633813FC60C', spanId: 'EEE19B7EC3C1B174', name, kind: 'SPAN_KIND_CLIENT',
    startTimeUnixNano: '1700000000000000000', endTimeUnixNano: 1700000000100000000, attributes: [{ key: 'none', value: {} }] }] }] }] });

try {
  const tab = await browser.newPage();
  await tab.goto(`http://localhost:${pagePort}/`);
  const good = await send(tab, request('from the page'));
  assert.equal(good.status, 200, JSON.stringify(good));
  assert.match(good.type, /^application\/json/);
  assert.deepEqual(JSON.parse(good.text), {});
  const bad = await send(tab, '{"resourceSpans": [{"scopeSpans": 7}]}');
  assert.equal(bad.status, 400, JSON.stringify(bad));
  assert.match(JSON.parse(bad.text).message, /scopeSpans/);
  const base64 = await send(tab, request('x').replace('5B8EFFF798038103D269B633813FC60C', 'W47/95gDgQPSabYzgT/GDA=='));
  assert.equal(base64.status, 400, JSON.stringify(base64));
  assert.match(JSON.parse(base64.text).message, /looks like base64/);

  const foreign = await browser.newPage();
  await foreign.goto(`http://shop.example:${pagePort}/`);
  const refused = await send(foreign, request('from elsewhere'));
  assert.match(refused.failed ?? '', /fetch/i, `a foreign origin got an answer: ${JSON.stringify(refused)}`);
  console.log(JSON.stringify({ spans: 1, name: 'from the page' }));
} finally {
  await browser.close();
  server.close();
}
