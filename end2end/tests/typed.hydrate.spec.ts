// What somebody typed is not lost.
// @desktop: none of it depends on the screen.

import { expect, test } from '../fixtures';

test.use({ fresh: true });

test('a reason survives being signed out while it is typed @desktop', async ({ job, api, page, server, jar, guard, signIn }) => {
  guard.allow(/status of 401/);
  const running = await api.start({ feature: 'import', title: 'Asked to stop' });
  await job.visit(running.path);
  await expect(job.badge).toHaveText('Live');
  await job.actions.getByRole('link', { name: 'Abort…' }).click();
  await job.dialog.getByLabel('Reason').fill('It reads the wrong file');
  await server.signOut(jar);
  await running.progress(0.3);
  // The banner lies above the dialog, and can be used.
  await expect(job.banner).toContainText('You are signed out.');
  await job.banner.getByRole('button', { name: 'Sign in' }).click();
  await signIn.as();
  await job.settled();
  await expect(job.dialog.getByLabel('Reason')).toHaveValue('It reads the wrong file');
  await job.dialog.getByRole('button', { name: 'Ask it to stop' }).click();
  await expect(job.notice('The job was asked to stop')).toBeVisible();
  // The page that says so forgets the text once it has come to life.
  await job.settled();
  // It was taken, so it does not come back.
  await job.visit(running.path);
  await expect(job.dialog).toHaveCount(0);
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
});

test('what was taken does not come back though the page that said so never came to life @desktop', async ({ job, api, page, guard }) => {
  guard.allow(/ERR_FAILED|Failed to fetch|dynamically imported/);
  const running = await api.start({ feature: 'import', title: 'Left early' });
  await job.visit(running.path);
  await job.actions.getByRole('link', { name: 'Abort…' }).click();
  await job.dialog.getByLabel('Reason').fill('It reads the wrong file');
  await page.route('**/pkg/*.wasm', (route) => route.abort());
  await job.dialog.getByRole('button', { name: 'Ask it to stop' }).click();
  await expect(job.notice('The job was asked to stop')).toBeVisible();
  await page.unroute('**/pkg/*.wasm');
  await job.visit(running.path);
  await expect(job.badge).toHaveText('Live');
  await expect(job.dialog).toHaveCount(0);
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
});

test('what was given up is not kept @desktop', async ({ job, api }) => {
  const running = await api.start({ feature: 'import', title: 'Goes on' });
  await job.visit(running.path);
  await job.actions.getByRole('link', { name: 'Abort…' }).click();
  await job.dialog.getByLabel('Reason').fill('Never mind');
  await job.dialog.getByRole('link', { name: 'Cancel' }).click();
  await job.visit(running.path);
  await expect(job.dialog).toHaveCount(0);
});
