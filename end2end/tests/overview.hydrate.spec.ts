// What only an open page can do: move by itself, ask on the spot.

import { expect, test } from '../fixtures';

test('the demonstration moves without the page being loaded again', async ({ overview, job, page }) => {
  await overview.visit();
  await overview.start('Demonstration: condense arguments');
  await overview.visit();
  const title = 'Demonstration: condense arguments';
  const loads: string[] = [];
  page.on('request', (request) => request.isNavigationRequest() && loads.push(request.url()));
  const value = async () => Number(await overview.bar(title).getAttribute('value'));
  const before = await value();
  await expect.poll(value, { intervals: [50] }).toBeGreaterThan(before);
  const then = await value();
  await expect.poll(value, { intervals: [50] }).toBeGreaterThan(then);
  await expect(overview.row(title)).toContainText(/Batch \d of 5: 40 comments/);
  expect(loads).toEqual([]);
  await overview.row(title).getByRole('link', { name: title, exact: true }).click();
  await job.settled();
  const percent = await job.percent();
  await expect.poll(() => job.percent(), { intervals: [50] }).toBeGreaterThan(percent);
});

test('a question opens on the spot, keeps the focus and gives it back', async ({ job, api, page }) => {
  const running = await api.start({ feature: 'import', title: 'Ask me' });
  await job.visit(running.path);
  const abort = job.actions.getByRole('link', { name: 'Abort…' });
  await abort.click();
  const dialog = page.getByRole('dialog', { name: 'Ask “Ask me” to stop?' });
  await expect(dialog).toBeVisible();
  await expect(page).toHaveURL(running.path);
  await expect(dialog.getByLabel('Reason')).toBeFocused();
  // Nothing behind it can be reached.
  for (let presses = 0; presses < 6; presses += 1) {
    await page.keyboard.press('Tab');
    const within = await page.evaluate(() => {
      const at = document.activeElement;
      return at === document.body || at?.closest('dialog[open]') !== null;
    });
    expect(within).toBe(true);
  }
  await page.keyboard.press('Escape');
  await expect(dialog).toBeHidden();
  await expect(abort).toBeFocused();
  // Cancel does the same, every time.
  for (let times = 0; times < 2; times += 1) {
    await abort.click();
    await dialog.getByRole('link', { name: 'Cancel' }).click();
    await expect(dialog).toBeHidden();
    await expect(page).toHaveURL(running.path);
    await expect(abort).toBeFocused();
  }
  expect((await running.state()).status).toBe('running');
  await abort.click();
  await dialog.getByLabel('Reason').fill('It may stop');
  await dialog.getByRole('button', { name: 'Ask it to stop' }).click();
  await expect(job.notice('The job was asked to stop.')).toBeVisible();
  await expect(job.status).toHaveText('Stopping');
});

test('a question of a job that ends meanwhile goes away', async ({ job, api }) => {
  const running = await api.start({ feature: 'import' });
  await job.visit(running.path);
  await job.actions.getByRole('link', { name: 'Force fail…' }).click();
  await expect(job.dialog).toBeVisible();
  await running.complete();
  await expect(job.status).toHaveText('Completed', { timeout: 2_000 });
  await expect(job.dialog).toBeHidden();
  await expect(job.actions).toBeHidden();
});

test('two people see what the other does', async ({ overview, visitor, jar, api, job }) => {
  const running = await api.start({ feature: 'import', title: 'Seen by two' });
  const other = await visitor(jar);
  await other.overview.visit();
  await overview.visit();
  await expect(other.overview.row('Seen by two')).toBeVisible();
  await job.visit(running.path);
  await job.ask('Abort…', 'Seen from the other side');
  await expect(other.overview.row('Seen by two')).toContainText('asked to stop by admin', { timeout: 2_000 });
  await other.overview.row('Seen by two').getByRole('link', { name: 'Seen by two', exact: true }).click();
  await other.job.settled();
  await other.job.actions.getByRole('link', { name: 'Force fail…' }).click();
  await expect(other.job.dialog).toBeVisible();
  await other.job.dialog.getByLabel('Reason').fill('It does not stop');
  await other.job.dialog.getByRole('button', { name: 'Force fail' }).click();
  await expect(job.status).toHaveText('Failed', { timeout: 2_000 });
  await expect(job.deeds).toContainText([/Seen from the other side/, /It does not stop/]);
  await expect(job.actions).toBeHidden();
});

test('of many jobs that need somebody five are shown, and the rest when it is asked for', async ({ overview, api }) => {
  const silent = (n: number) => api.start({ feature: 'silent', title: `Silent ${n}`, activityTimeout: 1 });
  for (let n = 0; n < 6; n += 1) await silent(n);
  await overview.visit();
  const shown = overview.page.locator('.verdict.job:visible');
  await expect(shown, 'one more than five is no reason to fold').toHaveCount(6);
  for (let n = 6; n < 9; n += 1) await silent(n);
  const rest = overview.page.getByRole('checkbox', { name: '4 more' });
  await expect(rest).toBeVisible();
  await expect(shown).toHaveCount(5);
  await rest.check();
  await expect(shown).toHaveCount(9);
});

test('many jobs at once arrive in order and leave nothing behind', async ({ overview, api }) => {
  await overview.visit();
  const jobs = await Promise.all(Array.from({ length: 30 }, (_, n) => api.start({ feature: 'burst', title: `Burst ${n}` })));
  const rows = overview.running.locator('tbody tr', { hasText: 'Burst' });
  await expect(rows).toHaveCount(30, { timeout: 3_000 });
  await Promise.all(jobs.map((job, n) => job.progress((n + 1) / 100)));
  for (const n of [0, 13, 29]) {
    await expect(overview.running.getByRole('progressbar', { name: `Burst ${n}`, exact: true })).toHaveAttribute('value', `${n + 1}`);
  }
  await Promise.all(jobs.map((job) => job.complete()));
  await expect(rows).toHaveCount(0, { timeout: 3_000 });
  await expect(overview.past.locator('tbody tr', { hasText: 'Burst' })).toHaveCount(25);
});
