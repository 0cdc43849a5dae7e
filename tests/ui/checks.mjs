// What the checks of the page share: one at a time in a tab of its own, its failures counted, and the clock of the main thread.
import assert from 'node:assert/strict';
import { open, tab } from './browser.mjs';

/** @param base where the page is; @param wanted part of the names of the checks to run */
export async function runner(base, wanted = '') {
  const browser = await open();
  let [passed, failed] = [0, 0];

  async function check(name, work, options = {}) {
    if (!name.includes(wanted)) return;
    const { page, context, seen } = await tab(browser, { base, ...options });
    try {
      await work(page, seen, context);
      assert.deepEqual(seen.errors, [], 'errors of scripts');
      assert.deepEqual(seen.foreign, [], 'requests to elsewhere');
      passed += 1;
      console.log(`ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n${String(error.stack ?? error)}`);
      if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/${name.replace(/\W+/g, '-')}.png` });
    }
    await context.close();
  }

  /** Closes the browser, says how many passed, and ends with a code. */
  async function end() {
    await browser.close();
    console.log(`${passed} passed, ${failed} failed`);
    process.exit(failed ? 1 : 0);
  }

  const ready = (page) =>
    page.waitForFunction(
      () => document.querySelector('main .page') && !document.querySelector('main .skeleton'),
      null,
      { timeout: 15000 },
    );
  return { check, end, ready, traced: (page, work) => traced(browser, page, work) };
}

/** Time of the page's main thread by its own clock: what others do on this machine does not count. */
async function traced(browser, page, work) {
  await browser.startTracing(page, {
    categories: ['toplevel', 'disabled-by-default-devtools.timeline', 'devtools.timeline'],
  });
  await work();
  const events = JSON.parse((await browser.stopTracing()).toString()).traceEvents;
  const names = new Set(
    events
      .filter((one) => one.name === 'thread_name' && one.args.name === 'CrRendererMain')
      .map((one) => `${one.pid} ${one.tid}`),
  );
  const tasks = new Map();
  for (const one of events) {
    const key = `${one.pid} ${one.tid}`;
    if (one.ph !== 'X' || !names.has(key) || !/^(RunTask|ThreadControllerImpl::RunTask)$/.test(one.name)) continue;
    const length = (one.tdur ?? one.dur ?? 0) / 1000;
    const own = tasks.get(`${key} ${one.name}`) ?? { total: 0, longest: 0 };
    own.total += length;
    own.longest = Math.max(own.longest, length);
    tasks.set(`${key} ${one.name}`, own);
  }
  // Other tabs have threads of the same name: the busiest is this one. The two names are the same tasks.
  const busiest = [...tasks.values()].sort((a, b) => b.total - a.total)[0];
  assert.ok(busiest, 'the trace has no tasks of the main thread');
  return busiest;
}
