// The page of a running agent: `node agent.mjs BINARY`. Starts `radiosonde dev` on free ports, sends the made-up shop and a
// trace of 100,000 spans, and looks at every page; then how long a span takes from its export to the screen.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { runner } from './checks.mjs';

const free = () =>
  new Promise((found) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => found(port));
    });
  });
const [grpc, http, ui] = [await free(), await free(), await free()];
const base = `http://127.0.0.1:${ui}`;
const agent = spawn(
  process.argv[2],
  [
    'dev',
    '--otlp-grpc',
    `127.0.0.1:${grpc}`,
    '--otlp-http',
    `127.0.0.1:${http}`,
    '--ui',
    `127.0.0.1:${ui}`,
    '--view',
    'none',
  ],
  { stdio: ['ignore', 'ignore', 'pipe'] },
);
let said = '';
agent.stderr.on('data', (part) => (said += part));
process.on('exit', () => agent.kill('SIGKILL'));
const ask = async (path) => (await fetch(`${base}/api/v1${path}`)).json();
for (let tries = 0; ; tries += 1) {
  try {
    await ask('/status');
    break;
  } catch (error) {
    if (tries > 200) throw new Error(`the agent does not answer: ${error}\n${said}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}
const sent = spawnSync(
  'node',
  [fileURLToPath(new URL('send.mjs', import.meta.url)), `http://127.0.0.1:${http}`, '100000'],
  { encoding: 'utf8', timeout: 120000 },
);
assert.equal(sent.status, 0, sent.stderr);
const spans = Number(/^(\d+) spans/.exec(sent.stdout)[1]);

const { check, end, ready, traced } = await runner(base, process.argv[3]);
const bad = (await ask(`/traces?limit=1&q=${encodeURIComponent('name="GET /quote" status=error')}`)).traces[0].trace_id;
const large = (await ask('/traces?limit=1&sort=spans')).traces[0].trace_id;
const PAGES = [
  '/',
  '/live',
  '/traces',
  '/traces?q=service%3Dweb%20duration%3E100ms&sort=duration',
  `/trace/${bad}`,
  `/trace/${bad}/critical-path`,
  `/trace/${bad}/flame`,
  `/trace/${bad}/logs`,
  `/trace/${bad}/genai`,
  '/logs',
  '/logs?level=warn',
  '/metrics',
  '/metrics?name=http.server.requests',
  '/map',
  '/alerts',
  '/genai',
  '/flame',
  '/compare',
  `/compare?a=${bad}&b=${large}`,
  '/runs',
  '/keys',
  '/pipeline',
  '/aws',
];

for (const theme of ['light', 'dark']) {
  await check(
    `every page of the agent stands in ${theme}`,
    async (page) => {
      for (const path of PAGES) {
        const answer = await page.goto(base + path);
        assert.match(answer.headers()['content-security-policy'], /default-src 'self'; object-src 'none'/);
        await ready(page);
        const found = await page.evaluate(() => [
          document.querySelector('main [role=alert]')?.textContent ?? '',
          document.querySelector('main h1, main h2')?.textContent ?? '',
        ]);
        assert.equal(found[0], '', path);
        assert.ok(found[1], `${path} has no heading`);
      }
    },
    { theme },
  );
}

await check('what was sent is what is shown', async (page) => {
  assert.equal((await ask('/status')).store.spans, spans);
  await page.goto(`${base}/trace/${bad}`);
  await page.waitForFunction(() => document.querySelectorAll('.mirror [role=row]').length === 11);
  await page.keyboard.press('e');
  await page.keyboard.press('e');
  await page.keyboard.press('e');
  await page.waitForFunction(() => document.querySelector('.detail h2')?.textContent === 'GET /rates');
  const detail = await page.locator('.detail').innerText();
  for (const part of ['TimeoutError', 'fx/client.py', 'http.route', 'telemetry.sdk.language', 'OTLP JSON'])
    assert.ok(detail.includes(part), `${part} is not in ${detail}`);
});

await check('the 100,000 spans of the agent cost what is in view', async (page) => {
  await page.goto(`${base}/keys`);
  await ready(page);
  const work = await traced(page, async () => {
    await page.evaluate((path) => {
      history.pushState(null, '', path);
      dispatchEvent(new PopStateEvent('popstate'));
    }, `/trace/${large}`);
    await page.waitForFunction(() => document.querySelectorAll('.mirror [role=row]').length > 10, null, {
      timeout: 20000,
    });
  });
  console.log(
    `        first rows: ${work.total.toFixed(0)} ms on the main thread, longest task ${work.longest.toFixed(0)} ms`,
  );
  assert.ok(work.total <= 300 && work.longest <= 50, JSON.stringify(work));
});

await check('an exported span is seen soon', async (page) => {
  await page.goto(`${base}/traces`);
  await ready(page);
  await page.waitForFunction(() => document.querySelector('.link-state').dataset.state === 'open');
  const rounds = [];
  // Whoever else works on this machine delays the slowest: the median is judged, of the best of three rounds.
  while (rounds.length < 3 && !rounds.some((median) => median <= 100)) rounds.push(await round(rounds.length));
  assert.ok(
    rounds.some((median) => median <= 100),
    `medians ${rounds} ms`,
  );

  /** Exports 40 spans, one after the other, and gives the median of their delays. */
  async function round(number) {
    const delays = [];
    for (let at = number * 40; at < (number + 1) * 40; at += 1) {
      const id = at.toString(16).padStart(32, 'c');
      const seen = page.evaluate(
        (id) =>
          new Promise((found) => {
            const look = () =>
              document.querySelector(`.vbody a[href*="${id}"]`) &&
              (watch.disconnect(), found(performance.timeOrigin + performance.now()));
            const watch = new MutationObserver(look);
            watch.observe(document.querySelector('.vbody'), { childList: true, subtree: true });
          }),
        id,
      );
      const now = BigInt(Date.now()) * 1000000n;
      const span = {
        traceId: id,
        spanId: id.slice(16),
        name: `GET /probe/${at}`,
        kind: 2,
        startTimeUnixNano: String(now - 5000000n),
        endTimeUnixNano: String(now),
      };
      const began = performance.timeOrigin + performance.now();
      await fetch(`http://127.0.0.1:${http}/v1/traces`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }),
      });
      delays.push((await seen) - began);
    }
    delays.sort((a, b) => a - b);
    console.log(
      `        from the export to the screen: median ${delays[20].toFixed(0)} ms, p95 ${delays[38].toFixed(0)} ms, most ${delays[39].toFixed(0)} ms`,
    );
    return delays[20];
  }
});

agent.kill('SIGTERM');
await end();
