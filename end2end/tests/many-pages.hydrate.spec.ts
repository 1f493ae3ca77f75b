// Many pages of one browser, and what lies between it and the server.
// @desktop: none of it depends on the screen.

import type { Page, Request } from '@playwright/test';

import { expect, test } from '../fixtures';
import { JobPage, Overview } from '../fixtures/pages';
import { Proxy } from '../fixtures/proxy';

test.use({ fresh: true });

/** The streams of events that are open. Of a page that is closed none is, though the browser does not say so. */
function streams(page: Page): { readonly size: number } {
  const open = new Set<Request>();
  const over = (request: Request) => void open.delete(request);
  page.context().on('request', (request) => request.url().includes('/events') && open.add(request));
  page.context().on('requestfailed', over);
  page.context().on('requestfinished', over);
  return {
    get size() {
      return [...open].filter((request) => !request.frame().page().isClosed()).length;
    },
  };
}

for (const stub of ['as it is', 'without Web Locks'] as const) {
  test(`eight pages of a browser ${stub} share one stream, are fresh, and act @desktop`, async ({ page, context, api }) => {
    if (stub === 'without Web Locks') {
      await context.addInitScript(() => Object.defineProperty(navigator, 'locks', { value: undefined }));
    }
    const open = streams(page);
    const job = await api.start({ feature: 'import', title: 'Seen eight times' });
    const pages: JobPage[] = [];
    for (let number = 0; number < 8; number += 1) {
      const tab = number === 0 ? page : await context.newPage();
      const jobPage = new JobPage(tab, true);
      const began = Date.now();
      await jobPage.visit(job.path);
      expect(Date.now() - began, `page ${number + 1} loads`).toBeLessThan(2_000);
      pages.push(jobPage);
    }
    for (const jobPage of pages) await expect(jobPage.badge).toHaveText('Live');
    expect(open.size).toBe(1);
    await job.progress(0.42);
    for (const jobPage of pages) await expect(jobPage.bar).toHaveAttribute('value', '42', { timeout: 5_000 });
    // The one that has the stream goes: another takes it.
    await pages[0].page.close();
    await job.progress(0.55);
    for (const jobPage of pages.slice(1)) await expect(jobPage.bar).toHaveAttribute('value', '55', { timeout: 5_000 });
    await expect.poll(() => open.size).toBe(1);
    const began = Date.now();
    await pages[7].ask('Abort…', 'Eight looked at it');
    expect(Date.now() - began).toBeLessThan(3_000);
    for (const jobPage of pages.slice(1)) await expect(jobPage.status).toHaveText('Stopping', { timeout: 5_000 });
  });
}

test('without BroadcastChannel a page polls, and keeps its connections @desktop', async ({ page, context, api, overview }) => {
  await context.addInitScript(() => Object.defineProperty(window, 'BroadcastChannel', { value: undefined }));
  const open = streams(page);
  const job = await api.start({ feature: 'import', title: 'Polled' });
  await overview.visit();
  await expect(overview.badge).toHaveText('Every few seconds');
  await job.progress(0.3);
  await expect(overview.bar('Polled')).toHaveAttribute('value', '30', { timeout: 5_000 });
  expect(open.size).toBe(0);
});

test('a page that loads asks once @desktop', async ({ page, overview, api }) => {
  await api.start({ feature: 'import', title: 'Says nothing' });
  const asked: string[] = [];
  page.on('request', (request) => request.url().includes('/rpc/') && asked.push(request.url()));
  await overview.visit();
  await expect(overview.badge).toHaveText('Live');
  await page.waitForTimeout(1_500);
  expect(asked).toHaveLength(1);
});

const MANNERS = {
  'gathers four kilobytes': { gathers: 4_096 },
  'gathers everything': { gathers: 1e9 },
  'passes on the first event and no other': { swallowsAfter: 1 },
};
for (const [name, manner] of Object.entries(MANNERS)) {
  test(`behind a proxy that ${name} no number is older than five seconds @desktop`, async ({ page, server, api }) => {
    const proxy = await Proxy.before(server, manner);
    const job = await api.start({ feature: 'import', title: 'Behind a proxy' });
    const overview = new Overview(page, true);
    await page.goto(`${proxy.url}/admin/jobs`);
    await overview.settled();
    for (const percent of [10, 20, 30]) {
      await job.progress(percent / 100);
      await expect(overview.bar('Behind a proxy')).toHaveAttribute('value', `${percent}`, { timeout: 5_000 });
      await page.waitForTimeout(1_000);
    }
    await job.complete();
    await expect(overview.row('Behind a proxy')).toHaveCount(0, { timeout: 5_000 });
    await expect(overview.badge).toHaveText('Every few seconds');
    await page.goto('about:blank');
    await proxy.close();
  });
}

test('an answer that does not come is not waited for, and the page does not say Live @desktop', async ({ page, server, api, guard }) => {
  guard.allow(/Failed to load resource/);
  const proxy = await Proxy.before(server);
  const job = await api.start({ feature: 'import', title: 'Held back' });
  const overview = new Overview(page, true);
  await page.goto(`${proxy.url}/admin/jobs`);
  await expect(overview.badge).toHaveText('Live');
  // The stream goes on; answers do not come.
  await page.route('**/rpc/**', () => new Promise(() => {}));
  await job.progress(0.5);
  await expect(overview.badge).toHaveText('No answer', { timeout: 7_000 });
  await expect(overview.bar('Held back')).toHaveAttribute('value', '0');
  await page.unroute('**/rpc/**');
  await expect(overview.bar('Held back')).toHaveAttribute('value', '50', { timeout: 8_000 });
  await expect(overview.badge).toHaveText('Live');
  await page.goto('about:blank');
  await proxy.close();
});

test('a page that is offline stands still, in grey, and invents no alarm @desktop', async ({ page, context, overview, api, guard }) => {
  guard.allow(/ERR_INTERNET_DISCONNECTED|ERR_NETWORK|Failed to load resource/);
  const job = await api.start({ feature: 'import', title: 'Healthy', activityTimeout: 8 });
  await overview.visit();
  await expect(overview.badge).toHaveText('Live');
  await expect(overview.heading).toHaveText('All calm');
  const alive = setInterval(() => void job.say('Still here'), 1_000);
  await context.setOffline(true);
  // Where the browser keeps its open connections, the stream is cut here.
  await page.evaluate(() => window.stop());
  await page.waitForTimeout(12_000);
  await expect(overview.badge).toHaveText('No answer');
  await expect(overview.heading).toHaveText('All calm');
  await expect(overview.need('Healthy')).toHaveCount(0);
  await expect(page.locator('html[data-silent]')).toHaveCount(1);
  const age = overview.row('Healthy').locator('.age').first();
  const stands = await age.textContent();
  await page.waitForTimeout(2_500);
  expect(await age.textContent()).toBe(stands);
  await context.setOffline(false);
  await expect(overview.badge).toHaveText('Live', { timeout: 20_000 });
  await expect(page.locator('html[data-silent]')).toHaveCount(0);
  await expect(overview.heading).toHaveText('All calm');
  clearInterval(alive);
});

test('a step of the browser’s clock changes nothing @desktop', async ({ page, overview, api }) => {
  await api.start({ feature: 'import', title: 'Young', activityTimeout: 600 });
  await overview.visit();
  await expect(overview.badge).toHaveText('Live');
  await page.evaluate(() => {
    const now = Date.now;
    Date.now = () => now() + 3_600_000;
  });
  await page.waitForTimeout(3_000);
  await expect(overview.heading).toHaveText('All calm');
  await expect(overview.row('Young').locator('.age').first()).toHaveText(/^00:\d\d$/);
});
