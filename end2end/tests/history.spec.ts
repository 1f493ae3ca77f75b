// The past: narrowed by address, paged without gap or repeat.

import { expect, test } from '../fixtures';
import { IMPORTS } from '../fixtures/seed';

test('a filter is an address, and the page is narrowed by it', async ({ overview, page }) => {
  await overview.visit();
  await overview.filter({ feature: 'import', text: 'import 1' });
  await expect(page).toHaveURL(/feature=import/);
  await expect(overview.pastRows).toHaveCount(10);
  await overview.filter({ author: 'bo@example.org' });
  await expect(page).toHaveURL(/author=bo(%40|@)example.org/);
  const rows = await overview.pastRows.count();
  expect(rows).toBeGreaterThan(1);
  expect(rows).toBeLessThan(10);
  await expect(overview.pastRows.filter({ hasText: 'bo@example.org' })).toHaveCount(rows);
  await overview.chip('Failed').click();
  await expect(page).toHaveURL(/status=failed/);
  await expect(page).toHaveURL(/author=bo/);
  await expect(overview.pastRows).toHaveCount(1);
  await expect(overview.pastRow('Import 13')).toContainText('Row 13 has no list number');
  await expect(overview.chip('Failed')).toHaveAttribute('aria-current', 'true');
  // An outcome that is chosen stays chosen when the text changes.
  await overview.filter({ text: 'import' });
  await expect(page).toHaveURL(/status=failed/);
  await overview.past.getByRole('link', { name: 'Clear' }).click();
  await expect(page).toHaveURL(/\/admin\/jobs$/);
  await expect(overview.pastRows).toHaveCount(25);
});

test('a job is found by its error and by the beginning of its id', async ({ overview, api }) => {
  const job = await api.ended({ feature: 'lookup', title: 'Look for me' }, 'failed', 'The 7th bridge is closed');
  await overview.visit('?q=7TH%20bridge');
  await expect(overview.pastRows).toHaveCount(1);
  await expect(overview.pastRow('Look for me')).toBeVisible();
  await overview.visit(`?q=${job.id.slice(0, 18)}`);
  await expect(overview.pastRow('Look for me')).toBeVisible();
});

test('chips say how many there are', async ({ overview, api }) => {
  await api.ended({ feature: 'chips' });
  await api.ended({ feature: 'chips' }, 'failed');
  await api.ended({ feature: 'chips' }, 'failed');
  await overview.visit('?feature=chips');
  await expect(overview.chip('All')).toHaveText('All3');
  await expect(overview.chip('Completed')).toHaveText('Completed1');
  await expect(overview.chip('Failed')).toHaveText('Failed2');
  await expect(overview.chip('Aborted')).toHaveText('Aborted0');
  // A text narrows in a way nothing counts; better no number than a wrong one.
  await overview.visit('?feature=chips&q=x');
  await expect(overview.chip('Failed')).toHaveText('Failed');
});

test('pages of a long history have no gap and no repeat', async ({ overview, page, api }) => {
  await overview.visit('?feature=import&q=Import');
  const seen: string[] = [];
  const collect = async () => seen.push(...(await overview.pastRows.getByRole('link').allTextContents()));
  const older = overview.past.getByRole('link', { name: 'Older' });
  const first = (await overview.pastRows.getByRole('link').first().textContent()) ?? '';
  await collect();
  await older.click();
  await expect(page).toHaveURL(/cursor=/);
  await expect(overview.past.getByRole('link', { name: first, exact: true })).toHaveCount(0);
  await overview.settled();
  // What ends meanwhile does not push rows from one page to the next, nor away under a reader.
  await api.ended({ feature: 'import', title: 'Import meanwhile' });
  await collect();
  const second = page.url();
  await older.click();
  await expect(page).not.toHaveURL(second);
  await expect(older).toHaveCount(0);
  await overview.settled();
  await collect();
  const all = Array.from({ length: IMPORTS }, (_, index) => `Import ${String(index + 1).padStart(2, '0')}`);
  expect(seen.filter((title) => /Import \d/.test(title)).sort()).toEqual(all);
  await overview.past.getByRole('link', { name: 'Newest' }).click();
  await expect(page).not.toHaveURL(/cursor=/);
  await expect(overview.pastRow('Import meanwhile').first()).toBeVisible();
});

test('where nothing matches, the page says so', async ({ overview }) => {
  await overview.visit('?q=no+such+job+at+all');
  await expect(overview.past).toContainText('No job matches.');
  await expect(overview.pastRows).toHaveCount(0);
  await expect(overview.past.getByRole('link', { name: 'Clear' })).toBeVisible();
});

test('a feature has a view of its own', async ({ overview, api, job }) => {
  const running = await api.start({ feature: 'reindex', title: 'Reindex one' });
  await api.start({ feature: 'other', title: 'Something else' });
  await job.visit(running.path);
  await job.page.locator('.headline').getByRole('link', { name: 'reindex' }).click();
  await expect(overview.page).toHaveURL(/feature=reindex/);
  await expect(overview.row('Reindex one')).toBeVisible();
  await expect(overview.row('Something else')).toHaveCount(0);
  await overview.page.locator('.headline').getByRole('link', { name: 'Jobs' }).click();
  await expect(overview.row('Something else')).toBeVisible();
});

test('a cursor that is none is told, not crashed over', async ({ page, guard }) => {
  // The page itself is answered with 400, which the browser logs.
  guard.allow(/status of 400/);
  const answer = await page.goto('/admin/jobs?cursor=nonsense');
  expect(answer?.status()).toBe(400);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('This page cannot be shown');
  await page.getByRole('link', { name: 'Back to the jobs' }).click();
  await expect(page).toHaveURL(/\/admin\/jobs$/);
});
