// One dashboard in a real browser, and when what was written is on its screen.
//
// Started by benches/live.rs: opens the overview with the cookie it is given, says `ready` when the page is live,
// and notes by the clock of this machine when each numbered message was painted: the text changed, the next frame
// was made, and it was given to the screen. Nothing is said while it is measured; all of it when standard
// input ends.
import { createRequire } from 'node:module';
import { once } from 'node:events';

const require = createRequire(new URL('../../end2end/package.json', import.meta.url));
const { chromium } = require('playwright-core');

const { ADDRESS, COOKIE, CHROMIUM } = process.env;
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const cookies = COOKIE.split('; ').map((pair) => {
  const [name, value] = pair.split('=');
  return { name, value, url: ADDRESS };
});
await context.addCookies(cookies);
const page = await context.newPage();
const troubles = [];
page.on('pageerror', (error) => troubles.push(String(error)));
page.on('requestfailed', (request) => troubles.push(`${request.url()} ${request.failure()?.errorText}`));
await page.addInitScript(() => {
  window.painted = {};
  let last = 0;
  const look = () => {
    const shown = document.querySelector('td.last')?.textContent ?? '';
    const number = Number(/^paint (\d+)$/.exec(shown)?.[1] ?? 0);
    if (number <= last) return;
    const from = last + 1;
    last = number;
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      // After the frame, and not before it as the callback itself.
      port1.onmessage = () => {
        // What the clock says is cut to a millisecond: counted as the later one.
        for (let n = from; n <= number; n += 1) window.painted[n] = Date.now() + 1;
      };
      port2.postMessage(null);
    });
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
});
await page.goto(`${ADDRESS}/admin/jobs`);
await page.getByText('Live', { exact: true }).first().waitFor({ timeout: 15_000 });
console.log('ready');
process.stdin.resume();
await once(process.stdin, 'end');
await page.waitForTimeout(300);
const painted = await page.evaluate(() => window.painted);
console.log(JSON.stringify({ painted, troubles, browser: browser.version() }));
await browser.close();
