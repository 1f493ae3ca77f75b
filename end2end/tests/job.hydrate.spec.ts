// An open job: its log follows, and never steals a reader's place.

import { expect, test } from '../fixtures';
import type { Api, Running } from '../fixtures';

async function withLines(api: Api, count: number): Promise<Running> {
  const job = await api.start({ feature: 'import', title: 'Keeps talking' });
  await job.sayAll(Array.from({ length: count }, (_, index) => ({ type: 'info', message: `Row ${index + 1}` })));
  return job;
}

test('a reader at the end is taken along', async ({ job, api }) => {
  const running = await withLines(api, 150);
  await job.visit(running.path);
  await expect.poll(async () => (await job.scrolled()).left).toBeLessThan(2);
  await job.log.scrollIntoViewIfNeeded();
  for (const text of ['One more', 'And another', 'And a last one']) {
    await running.say(text);
    await expect(job.line(text)).toBeVisible();
    await expect.poll(async () => (await job.scrolled()).left).toBeLessThan(2);
    await expect(job.line(text)).toBeInViewport();
  }
  await expect(job.page.getByRole('button', { name: /new line/ })).toHaveCount(0);
});

test('a reader who is elsewhere stays there and is told what came', async ({ job, api, page }) => {
  const running = await withLines(api, 150);
  await job.visit(running.path);
  await expect.poll(async () => (await job.scrolled()).left).toBeLessThan(2);
  await job.scrollTo(400);
  const { top } = await job.scrolled();
  const reading = job.lines.nth(30);
  const place = await reading.boundingBox();
  await running.say('Came meanwhile');
  await expect(page.getByRole('button', { name: '1 new line' })).toBeVisible({ timeout: 2_000 });
  await running.sayAll([
    { type: 'info', message: 'And this' },
    { type: 'warning', message: 'And that' },
  ]);
  const button = page.getByRole('button', { name: '3 new lines' });
  await expect(button).toBeVisible({ timeout: 2_000 });
  expect((await job.scrolled()).top).toBe(top);
  expect((await reading.boundingBox())?.y).toBe(place?.y);
  await button.click();
  await expect.poll(async () => (await job.scrolled()).left).toBeLessThan(2);
  await expect(button).toHaveCount(0);
  await expect(job.line('And that')).toBeInViewport();
  // From there on the reader follows again.
  await running.say('Followed again');
  await expect(job.line('Followed again')).toBeInViewport();
});

test('who scrolls back to the end has seen what came', async ({ job, api, page }) => {
  const running = await withLines(api, 150);
  await job.visit(running.path);
  await job.scrollTo(100);
  await running.say('Came meanwhile');
  const button = page.getByRole('button', { name: '1 new line' });
  await expect(button).toBeVisible();
  await job.scrollTo(1_000_000);
  await expect(button).toHaveCount(0);
});

test('a flood of lines comes whole, in order, and once', async ({ job, api }) => {
  const running = await withLines(api, 10);
  await job.visit(running.path);
  await expect(job.badge).toHaveText('Live');
  for (let batch = 0; batch < 5; batch += 1) {
    await running.sayAll(Array.from({ length: 50 }, (_, n) => ({ type: 'info', message: `Flood ${batch * 50 + n}` })));
  }
  await expect(job.line('Flood 249')).toBeVisible();
  const ids = await job.lines.evaluateAll((lines) => lines.map((line) => Number(line.id.slice(1))));
  expect(ids).toEqual(Array.from({ length: ids.length }, (_, index) => ids[0] + index));
  await expect(job.page.getByRole('heading', { name: 'Log' })).toContainText('261');
});

test('more lines at once than an answer holds lose none', async ({ job, api }) => {
  const running = await withLines(api, 10);
  await job.visit(running.path);
  await expect(job.badge).toHaveText('Live');
  await running.sayAll(Array.from({ length: 3_000 }, (_, n) => ({ type: 'info', message: `Flood ${n + 1}` })));
  await expect(job.line('Flood 3000')).toBeVisible();
  const ids = await job.lines.evaluateAll((lines) => lines.map((line) => Number(line.id.slice(1))));
  expect(ids.at(-1)).toBe(3_011);
  expect(ids).toEqual(Array.from({ length: ids.length }, (_, index) => ids[0] + index));
  await expect(job.page.getByRole('heading', { name: 'Log' })).toContainText(/3\s011/);
  await expect(job.log.getByRole('link', { name: 'Older lines' })).toBeAttached();
});

test('lines beyond what a page takes on are counted, and come when the reader is back', async ({ job, api, page }) => {
  const running = await withLines(api, 150);
  await job.visit(running.path);
  await expect(job.badge).toHaveText('Live');
  await job.scrollTo(100);
  await running.sayAll(Array.from({ length: 6_000 }, (_, n) => ({ type: 'info', message: `Flood ${n + 1}` })));
  const button = page.getByRole('button', { name: /6\s000 new lines/ });
  await expect(button).toBeVisible();
  const asked: string[] = [];
  page.on('request', (request) => {
    if (request.url().includes('/rpc/jobs/log')) asked.push(request.url());
  });
  await running.say('One more');
  await expect(page.getByRole('button', { name: /6\s001 new lines/ })).toBeVisible();
  expect(asked).toEqual([]);
  await job.scrollTo(1_000_000);
  await expect(job.line('One more')).toBeVisible();
  await expect.poll(async () => (await job.scrolled()).left).toBeLessThan(2);
  await expect(page.getByRole('button', { name: /new line/ })).toHaveCount(0);
  await expect(job.lines).toHaveCount(300);
});

test('a lens keeps out what it does not show, live too', async ({ job, api }) => {
  const running = await withLines(api, 5);
  await running.error('The first error');
  await job.visit(running.path, '?level=error');
  await expect(job.badge).toHaveText('Live');
  await running.say('Not an error');
  await running.error('The second error');
  await expect(job.line('The second error')).toBeVisible({ timeout: 2_000 });
  await expect(job.lines).toHaveCount(2);
  await expect(job.lens('Errors')).toHaveText(/^Errors\s*2$/);
});

test('the tab says how far it is', async ({ job, api, page }) => {
  const running = await api.start({ feature: 'import', title: 'In a tab' });
  await running.progress(0.41);
  await job.visit(running.path);
  await expect(page).toHaveTitle('41 % · In a tab · Longhaul');
  await running.progress(0.5);
  await expect(page).toHaveTitle('50 % · In a tab · Longhaul', { timeout: 2_000 });
  await expect(job.bar).toHaveAttribute('value', '50');
  await running.complete();
  await expect(page).toHaveTitle('Completed · In a tab · Longhaul', { timeout: 2_000 });
  await expect(job.status).toHaveText('Completed');
});

test('progress is announced in tens', async ({ job, api, page }) => {
  const running = await api.start({ feature: 'import' });
  await running.progress(0.41);
  await job.visit(running.path);
  const said = page.locator('p.sr[role=status]');
  await expect(said).toHaveText('40 %');
  await running.progress(0.48);
  await expect(job.bar).toHaveAttribute('value', '48');
  await expect(said).toHaveText('40 %');
  await running.progress(0.52);
  await expect(said).toHaveText('50 %');
  await running.fail('Broke');
  await expect(said).toHaveText('Failed');
});

test('the first error of a job that had none is offered when it comes', async ({ job, api, page }) => {
  const running = await withLines(api, 5);
  await job.visit(running.path);
  await expect(page.getByRole('link', { name: 'First error' })).toHaveCount(0);
  await running.error('Here it is');
  await expect(job.line('Here it is')).toBeVisible();
  await expect(page.getByRole('link', { name: 'First error' })).toBeVisible({ timeout: 2_000 });
});
