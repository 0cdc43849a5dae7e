// Chromium for the page's tests and screenshots: no network but this machine, and every request is seen.
import { createRequire } from 'node:module';
const require = createRequire(
  (process.env.COMPAT_NODE_MODULES ?? new URL('../../target/compat/node/node_modules', import.meta.url).pathname) + '/',
);
const { chromium } = require('playwright-core');

export async function open() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--font-render-hinting=none',
    ],
  });
}

/** A tab that notes what goes wrong: requests elsewhere, errors of scripts, violations of the policy. */
export async function tab(browser, { theme = 'light', width = 1440, height = 900, base, still = true } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme,
    reducedMotion: still ? 'reduce' : 'no-preference',
    timezoneId: 'UTC',
    locale: 'en-GB',
  });
  const page = await context.newPage();
  const seen = { foreign: [], errors: [], requests: [] };
  page.on('request', (request) => {
    seen.requests.push(request.url());
    if (!request.url().startsWith(base) && !request.url().startsWith('blob:') && !request.url().startsWith('data:'))
      seen.foreign.push(request.url());
  });
  page.on('pageerror', (error) => seen.errors.push(String(error.stack ?? error)));
  page.on(
    'console',
    (message) =>
      message.type() === 'error' && !/Failed to load resource/.test(message.text()) && seen.errors.push(message.text()),
  );
  return { page, context, seen };
}
