// Times, names, and what a reader takes away.

import { expect, test } from '../fixtures';

test.use({ timezoneId: 'Asia/Kathmandu' });

test('times say their zone, and are the reader’s own where the page is alive', async ({ job, api, page, alive }) => {
  const running = await api.start({ feature: 'import', title: 'Has a time' });
  await running.say('Said at a time');
  await job.visit(running.path);
  const time = job.line('Said at a time').locator('time');
  const at = new Date((await time.getAttribute('datetime')) ?? '');
  expect(Math.abs(Date.now() - at.getTime())).toBeLessThan(60_000);
  const zone = alive ? 'Asia/Kathmandu' : 'UTC';
  const shown = new Intl.DateTimeFormat('en-GB', { timeZone: zone, timeStyle: 'medium' }).format(at);
  await expect(time).toHaveText(shown);
  const utc = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', timeStyle: 'medium' }).format(at);
  await expect(time).toHaveAttribute('title', alive ? new RegExp(`${shown} UTC\\+5:45.*${utc} UTC`) : new RegExp(`${utc} UTC`));
  await expect(page.locator('.log-tools')).toContainText(alive ? 'Your time, UTC+5:45' : 'Times in UTC');
  const day = new Intl.DateTimeFormat('en-GB', { timeZone: zone, weekday: 'long' }).format(at);
  await expect(job.log.locator('.day')).toHaveText(new RegExp(`^${day} .*${alive ? 'UTC\\+5:45' : 'UTC'}$`));
});

test('a page asks translators to leave it alone, and lives on under one @desktop', async ({ job, api, page, alive }) => {
  const running = await api.start({ feature: 'import', title: 'Translated' });
  await job.visit(running.path);
  await expect(page.locator('meta[name=google][content=notranslate]')).toHaveCount(1);
  await expect(page.locator('html')).toHaveAttribute('translate', 'no');
  if (!alive) return;
  // As a translator does: each text that may be translated is replaced by a copy within two elements.
  const wrapped = await page.evaluate(() => {
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const texts: Text[] = [];
    while (walk.nextNode()) texts.push(walk.currentNode as Text);
    const translated = texts.filter((text) => text.data.trim() && text.parentElement?.translate);
    for (const text of translated) {
      const outer = document.createElement('font');
      outer.append(Object.assign(document.createElement('font'), { textContent: text.data.toUpperCase() }));
      text.replaceWith(outer);
    }
    return translated.length;
  });
  expect(wrapped).toBe(0);
  await running.progress(0.5);
  await expect(job.page.locator('.state-line')).toContainText('50');
});

// Another translator: each text is replaced by a copy within two elements, whatever the page asks for.
const translateAll = () => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts: Text[] = [];
  while (walk.nextNode()) texts.push(walk.currentNode as Text);
  for (const text of texts.filter((text) => text.data.trim())) {
    const outer = document.createElement('font');
    outer.append(Object.assign(document.createElement('font'), { textContent: text.data.toUpperCase() }));
    text.replaceWith(outer);
  }
};

test('a translator that does not listen leaves a page that goes on @desktop', async ({ job, overview, api, page, alive }) => {
  test.skip(!alive, 'nothing moves');
  const running = await api.start({ feature: 'import', title: 'Translated all the same' });
  await job.visit(running.path);
  await expect(job.badge).toHaveText('Live');
  await page.evaluate(translateAll);
  await expect(job.heading).toHaveText('TRANSLATED ALL THE SAME');
  await running.progress(0.4);
  await expect(page.locator('.state-line')).toContainText('40');
  await expect(page.locator('.state-line')).not.toContainText('RUNNING FOR');
  // And again, when the translator has seen the change.
  await page.evaluate(translateAll);
  await running.progress(0.5);
  await running.say('A new line');
  await expect(page.locator('.state-line')).toContainText('50');
  await expect(job.line('A new line')).toBeVisible();
  await running.complete();
  await expect(job.status).toHaveText('Completed');
  await expect(job.heading, 'what does not change stays translated').toHaveText('TRANSLATED ALL THE SAME');

  const other = await api.start({ feature: 'import', title: 'On the overview' });
  await overview.visit();
  await expect(overview.badge).toHaveText('Live');
  await page.evaluate(translateAll);
  await other.progress(0.7);
  await expect(overview.running.locator('tbody tr', { hasText: 'ON THE OVERVIEW' })).toContainText('70');
});

test('a page that is translated before it is alive comes to life @desktop', async ({ job, api, page, alive }) => {
  test.skip(!alive, 'nothing comes to life');
  const running = await api.start({ feature: 'import', title: 'Translated early' });
  const early = `document.addEventListener('DOMContentLoaded', () => (${translateAll})())`;
  await page.addInitScript(early);
  await job.visit(running.path);
  await expect(job.badge).toHaveText('Live');
  await running.progress(0.4);
  await expect(page.locator('.state-line')).toContainText('40');
});

test('a log is taken away whole, and copied without its numbers and times', async ({ job, api, page, alive, context }) => {
  const running = await api.start({ feature: 'import', title: 'Taken away' });
  await running.say('The first line');
  await running.say('The second line');
  await job.visit(running.path);
  const download = page.getByRole('link', { name: 'Download' });
  await expect(download).toHaveAttribute('href', `/api/admin/jobs/${running.id}/log.txt`);
  for (const part of [job.line('The first line').locator('time'), job.line('The first line').locator('> a')]) {
    await expect(part).toHaveCSS('user-select', 'none');
  }
  if (!alive) return;
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: 'Copy the lines on this page' }).or(page.locator('.log-tools button')).first().click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toMatch(/The first line\nThe second line\n$/);
});

test('names that lie are shown as they are', async ({ overview, api }) => {
  await api.start({ feature: 'import', title: 'ad\u200bmin\u{e0041}' });
  await api.start({ feature: 'import', title: `Z${'\u0301'.repeat(150)}algo` });
  await api.start({ feature: 'import', title: 'می\u200cخواهم' });
  await overview.visit();
  await expect(overview.row('ad\\u{200b}min\\u{e0041}')).toBeVisible();
  await expect(overview.row('…algo')).toBeVisible();
  await expect(overview.row('می\u200cخواهم')).toBeVisible();
});

test('a tab says how many jobs need somebody', async ({ overview, api, page, guard }) => {
  // Without JavaScript nothing uses what the page has fetched ahead, and after a few seconds the browser says so.
  guard.allow(/preloaded using link preload but not used/);
  await api.start({ feature: 'import', title: 'Silent', activityTimeout: 1 });
  await overview.soon(async () => {
    await overview.visit();
    await expect(page).toHaveTitle('(1) Jobs · Longhaul', { timeout: 4_000 });
  }, 10_000);
  // One tone, wherever it is told.
  await expect(overview.need('Silent')).toHaveClass(/bad/);
  await expect(overview.bar('Silent')).toHaveClass(/bad/);
  const actions = overview.need('Silent').locator('.actions a:visible');
  await expect(actions).toHaveText(['Details', 'More time…', 'Abort…', 'Force fail…']);
});
