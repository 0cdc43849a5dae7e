// Pictures of pages: `node shots.mjs FOLDER [name=path ...]`, light and dark; with --url BASE those of a running agent.
import fs from 'node:fs';
import { open, tab } from './browser.mjs';
import { start } from './fake.mjs';

const [folder, ...rest] = process.argv.slice(2);
const flag = rest.indexOf('--url');
const given = flag >= 0 ? rest.splice(flag, 2)[1] : '';
const server = given
  ? null
  : await start({
      largeSpans: rest.some((one) => one.includes('LARGE')) ? 100000 : 3000,
      isHostile: rest.some((one) => one.includes('HOSTILE')),
    });
const base = given || `http://127.0.0.1:${server.port}`;
const themes = process.env.THEMES?.split(',') ?? ['light', 'dark'];
fs.mkdirSync(folder, { recursive: true });
const spanOf = (name) =>
  server?.model.answer(`/traces/${server.named.bad}`, {}).rows.find((row) => row.name === name).span_id ?? '';
const logOf = (text) =>
  server?.model.answer('/logs', { limit: 500 }).logs.find((log) => log.body.includes(text)).id ?? '';
const browser = await open();
for (const theme of themes) {
  const { page, seen } = await tab(browser, {
    theme,
    base,
    width: Number(process.env.WIDTH ?? 1440),
    height: Number(process.env.HEIGHT ?? 900),
  });
  for (const one of rest) {
    const [name, ...path] = one.split('=');
    const at = path
      .join('=')
      .replace('BAD', server?.named.bad ?? '')
      .replace('HOSTILE', server?.named.hostile ?? '')
      .replace('LARGE', server?.named.large ?? '')
      .replace('FX', () => spanOf('GET /rates'))
      .replace('LOG', () => logOf('quote failed'));
    await page.goto(base + at);
    for (let at = 0; name.startsWith('live') && server && at < 12; at += 1) {
      await page.waitForTimeout(700);
      server.arrive();
    }
    await page.waitForTimeout(Number(process.env.WAIT ?? 700));
    if (process.env.PRESS)
      for (const key of process.env.PRESS.split(' ')) {
        await page.keyboard.press(key);
        await page.waitForTimeout(250);
      }
    await page.screenshot({ path: `${folder}/${name}-${theme}.png` });
  }
  if (seen.errors.length || seen.foreign.length) console.log(theme, seen.errors, seen.foreign);
}
await browser.close();
server?.close();
