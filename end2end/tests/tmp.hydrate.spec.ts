import { expect, test } from '../fixtures';
test('a: route continue only', async ({ job, api, page }) => {
  const running = await api.start({ feature: 'import' });
  await job.visit(running.path, '?ask=force-fail');
  await job.dialog.getByLabel('Reason').fill('Too late');
  await page.route('**/rpc/jobs/force-fail', (route) => route.continue());
  await job.dialog.getByRole('button', { name: 'Force fail' }).click();
  await expect(job.notice(/force-failed/)).toBeVisible();
});
test('b: no route', async ({ job, api, page }) => {
  const running = await api.start({ feature: 'import' });
  await job.visit(running.path, '?ask=force-fail');
  await job.dialog.getByLabel('Reason').fill('Too late');
  await job.dialog.getByRole('button', { name: 'Force fail' }).click();
  await expect(job.notice(/force-failed/)).toBeVisible();
});
test('c: no route, from plain', async ({ job, api, page }) => {
  const running = await api.start({ feature: 'import' });
  await job.visit(running.path);
  await job.actions.getByRole('link', { name: 'Force fail…' }).click();
  await job.dialog.getByLabel('Reason').fill('Too late');
  await job.dialog.getByRole('button', { name: 'Force fail' }).click();
  await expect(job.notice(/force-failed/)).toBeVisible();
});
