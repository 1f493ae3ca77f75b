// The API reference: reached from the bar, read without JavaScript, and left again.

import { expect, test } from '../fixtures';

test('the API reference is a page like the others', async ({ visitor, jar }) => {
  const { page, overview } = await visitor(jar);
  await overview.visit();
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'API' }).click();
  await expect(page).toHaveURL(/\/api\/docs$/);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('API reference');
  await expect(page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'API' })).toHaveAttribute('aria-current', 'page');

  const operation = page.getByRole('article', { name: 'Start a job', exact: true });
  await operation.getByRole('link', { name: 'Start a job', exact: true }).click();
  await expect(page).toHaveURL(/#startJob$/);
  await expect(operation).toBeInViewport();
  await expect(operation.locator('pre')).toContainText('$LONGHAUL_SERVER/api/admin/jobs/start');
  await operation.getByRole('link', { name: 'StartBody' }).click();
  const shape = page.getByRole('article', { name: 'StartBody' });
  await expect(shape).toBeInViewport();
  await expect(shape).toContainText('1 to 100 characters');

  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Jobs' }).click();
  await expect(page).toHaveURL(/\/admin\/jobs$/);
});
