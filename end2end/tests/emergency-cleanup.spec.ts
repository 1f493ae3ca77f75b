import { expect, test } from '../fixtures';

test.use({ fresh: true });

test('nothing is done before it is confirmed, and then to each job', async ({ overview, cleanup, api, page }) => {
  const one = await api.start({ feature: 'import', title: 'The first' });
  const two = await api.start({ feature: 'export', title: 'The second' });
  await api.ended({ feature: 'import', title: 'Long over' });
  await overview.visit();
  await page.getByRole('link', { name: 'Emergency cleanup…' }).click();
  await expect(cleanup.heading).toHaveText('Emergency cleanup');
  await expect(page.getByText('This force-fails 2 jobs.')).toBeVisible();
  await expect(cleanup.rows).toHaveCount(2);
  await expect(cleanup.rows).toContainText(['The second', 'The first']);

  // The browser holds back what cannot be right; so does the server, for who goes round the browser.
  await page.locator('input[name=confirm]').evaluate((input: HTMLInputElement) => input.removeAttribute('pattern'));
  await cleanup.confirm('All hangs', '3');
  await expect(cleanup.notice('What you typed does not match')).toBeVisible();
  expect((await one.state()).status).toBe('running');

  await cleanup.confirm('All hangs', '2');
  await expect(cleanup.heading).toHaveText('Emergency cleanup done');
  await expect(page.getByText('By admin: All hangs. 0 still active, 3 in history.')).toBeVisible();
  await expect(page.getByRole('heading', { name: '2 jobs were force-failed' })).toBeVisible();
  await expect(cleanup.rows.filter({ hasText: 'Force-failed' })).toHaveCount(2);
  expect((await two.state()).error).toContain('Emergency cleanup - system recovery');

  // The report is an address: it is still there when the page is loaded again.
  await page.reload();
  await expect(cleanup.rows.filter({ hasText: 'Force-failed' })).toHaveCount(2);
  await cleanup.visit();
  await expect(cleanup.heading).toHaveText('Nothing to clean up');
});

test('what ended by itself before the form was sent is left alone', async ({ cleanup, api, page }) => {
  const one = await api.start({ feature: 'import', title: 'Ends by itself' });
  await api.start({ feature: 'import', title: 'Goes on' });
  await cleanup.visit();
  await one.complete();
  await cleanup.confirm('All hangs', '2');
  await expect(cleanup.heading).toHaveText('Emergency cleanup done');
  await expect(page.getByRole('heading', { name: '1 job was force-failed' })).toBeVisible();
});
