// What an open page does when nobody looks, when the server is away, and when it is another one.
// @desktop: none of it depends on the screen.

import type { Page } from '@playwright/test';

import { expect, test } from '../fixtures';

test.use({ fresh: true });

/** Everything the page asks for from now on. */
function requests(page: Page): string[] {
  const asked: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  return asked;
}

for (const where of ['overview', 'job'] as const) {
  test(`the ${where} recovers from a server that was killed @desktop`, async ({ page, overview, job, api, server, guard }) => {
    // A server that is away cannot be asked without the browser noting it.
    guard.allow(/Failed to load resource: net::ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|EMPTY_RESPONSE)/);
    const running = await api.start({ feature: 'import', title: 'Goes on elsewhere' });
    await running.progress(0.2);
    await (where === 'overview' ? overview.visit() : job.visit(running.path));
    await expect(overview.badge).toHaveText('Live');
    const loads: string[] = [];
    page.on('request', (request) => request.isNavigationRequest() && loads.push(request.url()));

    await server.kill();
    await expect(overview.banner).toContainText('The server does not answer.');
    await expect(overview.badge).toHaveText('No answer');
    // What it said last is still there.
    await expect(where === 'overview' ? overview.bar('Goes on elsewhere') : job.bar).toHaveAttribute('value', '20');

    await server.run();
    // What is outside goes on; the page catches up with it by itself.
    await running.progress(0.7);
    await running.say('Said while nobody listened');
    await expect(overview.banner).toHaveCount(0, { timeout: 15_000 });
    await expect(overview.badge).toHaveText('Live');
    if (where === 'overview') {
      await expect(overview.bar('Goes on elsewhere')).toHaveAttribute('value', '70');
      await expect(overview.row('Goes on elsewhere')).toContainText('Said while nobody listened');
    } else {
      await expect(job.bar).toHaveAttribute('value', '70');
      await expect(job.line('Said while nobody listened')).toHaveCount(1);
    }
    expect(loads).toEqual([]);
  });
}

test('a run that died with its server is said to have been interrupted @desktop', async ({ overview, job, server, guard }) => {
  guard.allow(/Failed to load resource: net::ERR_/);
  await overview.visit();
  await overview.start('Demonstration: condense arguments');
  await expect(job.badge).toHaveText('Live');
  await server.kill();
  await expect(job.banner).toBeVisible();
  await server.run();
  await expect(job.status).toHaveText('Failed', { timeout: 15_000 });
  await expect(job.page.locator('.error-text')).toContainText('Interrupted by a restart');
  await expect(job.banner).toHaveCount(0);
});

test('an idle page asks for nothing @desktop', async ({ page, overview, api }) => {
  await api.start({ feature: 'import', title: 'Says nothing' });
  await overview.visit();
  await expect(overview.badge).toHaveText('Live');
  // Whatever the opened stream brought about is over: the page has been quiet for half a second.
  while (await page.waitForRequest(() => true, { timeout: 500 }).then(() => true, () => false));
  const asked = requests(page);
  await page.waitForRequest(() => true, { timeout: 5_000 }).catch(() => {});
  expect(asked).toEqual([]);
  // It is not dead: the next change is there at once.
  await api.start({ feature: 'import', title: 'Breaks the silence' });
  await expect(overview.row('Breaks the silence')).toBeVisible({ timeout: 2_000 });
});

test('a page nobody looks at pauses, and is fresh when it is seen @desktop', async ({ page, overview, visitor, jar, api }) => {
  const other = await visitor(jar);
  await other.overview.visit();
  await overview.visit();
  await expect(overview.badge).toHaveText('Live');
  await overview.look(false);
  const asked = requests(page);
  await api.start({ feature: 'import', title: 'Nobody looked' });
  await expect(other.overview.row('Nobody looked')).toBeVisible();
  await expect(overview.row('Nobody looked')).toHaveCount(0);
  expect(asked).toEqual([]);
  await overview.look(true);
  await expect(overview.row('Nobody looked')).toBeVisible({ timeout: 2_000 });
  await expect(overview.badge).toHaveText('Live');
});

test('a session that was ended elsewhere is told, and the way back leads here @desktop', async ({ page, overview, server, api, jar, guard, signIn }) => {
  // The poll that finds out is answered with 401, which the browser logs.
  guard.allow(/status of 401/);
  await overview.visit('?status=failed');
  await expect(overview.badge).toHaveText('Live');
  await server.signOut(jar);
  await api.start({ feature: 'import' });
  await expect(overview.banner).toContainText('You are signed out.');
  await expect(overview.badge).toHaveText('Signed out');
  await overview.banner.getByRole('button', { name: 'Sign in' }).click();
  await signIn.as();
  await expect(page).toHaveURL(/\/admin\/jobs\?status=failed$/);
});

test('a page of another version offers to be loaded again @desktop', async ({ page, overview, api, guard }) => {
  await overview.visit();
  await expect(overview.badge).toHaveText('Live');
  // A server of another build refuses before it answers in a form that the page could not read.
  guard.allow(/status of 409/);
  await page.route('**/rpc/board/poll?*', async (route) => {
    const url = new URL(route.request().url());
    url.searchParams.set('build', 'another');
    await route.fulfill({ response: await route.fetch({ url: url.href }) });
  });
  await api.start({ feature: 'import', title: 'Of the new version' });
  await expect(overview.banner).toContainText('A new version of Longhaul is running.');
  await expect(overview.badge).toHaveText('Old version');
  await page.unroute('**/rpc/board/poll?*');
  await overview.banner.getByRole('button', { name: 'Reload' }).click();
  await expect(overview.banner).toHaveCount(0);
  await expect(overview.row('Of the new version')).toBeVisible();
});

test('without the stream of nudges the page asks every few seconds @desktop', async ({ page, overview, api }) => {
  await page.route('**/api/admin/jobs/events*', (route) => route.abort('aborted'));
  const running = await api.start({ feature: 'import', title: 'Polled' });
  await overview.visit();
  await expect(overview.badge).toHaveText('Every few seconds');
  await running.progress(0.5);
  await expect(overview.bar('Polled')).toHaveAttribute('value', '50');
});
