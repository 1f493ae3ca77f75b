// What runs, what needs somebody, and starting things; alive or by loading the page again.

import { expect, test } from '../fixtures';

test.describe('a server nobody used', () => {
  test.use({ fresh: true });

  test('says that all is calm and how to begin', async ({ overview }) => {
    await overview.visit();
    await expect(overview.heading).toHaveText('All calm');
    await expect(overview.running).toContainText('Nothing is running.');
    await expect(overview.running).toContainText('longhaul exec');
    await expect(overview.past).toContainText('No job has ended yet.');
    await expect(overview.tile('Health')).toHaveText('Healthy');
    await expect(overview.tile('Active')).toHaveText('0 of 50');
  });

  test('counts what there is', async ({ overview, api }) => {
    await api.ended({ feature: 'import' });
    await api.ended({ feature: 'import' });
    await api.ended({ feature: 'import' }, 'failed');
    await api.ended({ feature: 'export' }, 'aborted');
    await api.start({ feature: 'export', title: 'Still going' });
    await overview.visit();
    await expect(overview.tile('Active')).toHaveText('1 of 50');
    await expect(overview.tile('Waiting')).toHaveText('0');
    await expect(overview.tile('Stale')).toHaveText('0');
    await expect(overview.tile('Completed')).toHaveText('2 2 today');
    await expect(overview.tile('Failed')).toHaveText('1 1 today');
    await expect(overview.tile('Aborted')).toHaveText('1 1 today');
    await expect(overview.running.getByRole('heading')).toHaveText(/^Running\s*1$/);
    await expect(overview.past.getByRole('heading')).toHaveText(/^Past\s*4$/);
    for (const [chip, count] of Object.entries({ All: 4, Completed: 2, Failed: 1, Aborted: 1 })) {
      await expect(overview.chip(chip)).toHaveText(`${chip}${count}`);
    }
  });

  test('a job that falls silent comes to need somebody', async ({ overview, api, page }) => {
    await overview.visit();
    const job = await api.start({ feature: 'import', title: 'Falls silent', activityTimeout: 1 });
    await job.heartbeat();
    await overview.soon(() => expect(overview.heading).toHaveText('1 job needs you', { timeout: 100 }), 5_000);
    await expect(overview.need('Falls silent')).toContainText(/has been silent for \d+ seconds?\./);
    await expect(overview.need('Falls silent')).toContainText('Its process is alive');
    await expect(overview.tile('Stale')).toHaveText('1');
    await expect(overview.tile('Health')).toHaveText('Degraded');
    // The one safe action is at hand.
    await overview.need('Falls silent').getByRole('link', { name: 'Force fail…' }).click();
    await expect(page.getByRole('dialog', { name: 'Force-fail “Falls silent”?' })).toBeVisible();
  });

  test('a process that does not know it was ended is shown, with what it tried', async ({ overview, api, job }) => {
    const zombie = await api.start({ feature: 'import', title: 'Does not give up' });
    await zombie.progress(0.4);
    await overview.visit();
    await expect(overview.row('Does not give up')).toBeVisible();
    await zombie.forceFail('hung');
    for (const value of [0.5, 0.6]) await expect(zombie.progress(value)).rejects.toThrow(/^409/);
    await overview.soon(() =>
      expect(overview.need('Does not give up')).toContainText('2 late writes were refused', { timeout: 100 }),
    );
    await expect(overview.heading).toHaveText('1 job needs you');
    await expect(overview.need('Does not give up')).toContainText('its process is still running');
    await expect(overview.row('Does not give up')).toHaveCount(0);
    await expect(overview.pastRow('Does not give up')).toContainText('Job force-failed: hung · 2 late writes refused');

    await job.visit(zombie.path);
    await expect(job.fact('Late writes')).toContainText('2 refused');
    await expect(job.bar).toHaveAttribute('value', '40');
  });

  test('says when the limit of active jobs is near, and reached', async ({ overview, api, page }) => {
    await Promise.all(Array.from({ length: 41 }, () => api.start({ feature: 'many' })));
    await overview.visit();
    await expect(overview.tile('Health')).toHaveText('Degraded');
    await Promise.all(Array.from({ length: 9 }, () => api.start({ feature: 'many' })));
    await expect(api.start({ feature: 'many' })).rejects.toThrow(/^429/);
    await overview.soon(() => expect(overview.tile('Health')).toHaveText('Critical', { timeout: 100 }));
    await expect(overview.tile('Active')).toHaveText('50 of 50');
    await overview.openStartMenu();
    await page.getByRole('button', { name: 'Start: Check the store' }).click();
    await expect(overview.notice('As many jobs are active as may be.')).toBeVisible();
  });
});

for (const [title, feature] of [
  ['Check the store', 'integrity-check'],
  ['Back up the store', 'backup'],
]) {
  test(`${feature} is started from the dashboard and seen to end`, async ({ overview, job }) => {
    await overview.visit();
    await overview.start(title);
    await expect(job.notice('The job was started.')).toBeVisible();
    await expect(job.heading).toHaveText(title);
    await job.soon(() => expect(job.status).toHaveText('Completed', { timeout: 100 }), 10_000);
    await expect(job.bar).toHaveAttribute('value', '100');
    await expect(job.fact('Output')).toContainText('{');
    await expect(job.fact('Author')).toHaveText('admin');
    await overview.visit();
    await expect(overview.pastRow(title).first()).toContainText('Completed');
  });
}

test('a job started by a program appears, moves, speaks and ends', async ({ overview, api }) => {
  await overview.visit();
  const title = 'Started elsewhere';
  const job = await api.start({ feature: 'import', title, author: 'anna@example.org' });
  await overview.soon(() => expect(overview.row(title)).toBeVisible({ timeout: 100 }));
  await expect(overview.row(title)).toContainText('anna@example.org');
  await job.steps([{ id: 'load', title: 'Load parties' }, { id: 'save', title: 'Save' }]);
  await job.progress(0.5, 'load');
  await job.say('Row 500 of 1 000');
  await overview.soon(async () => {
    await expect(overview.bar(title)).toHaveAttribute('value', '25', { timeout: 100 });
    await expect(overview.row(title)).toContainText('Load parties', { timeout: 100 });
    await expect(overview.row(title)).toContainText('Row 500 of 1 000', { timeout: 100 });
  });
  await job.complete();
  await overview.soon(async () => {
    await expect(overview.row(title)).toHaveCount(0, { timeout: 100 });
    await expect(overview.pastRow(title)).toContainText('Completed', { timeout: 100 });
  });
});

test('the demonstration is stopped with a reason', async ({ overview, job }) => {
  await overview.visit();
  await overview.start('Demonstration: condense arguments');
  await job.soon(() => expect(job.line('Batch 1 of 5').first()).toBeVisible({ timeout: 100 }), 10_000);
  await job.ask('Abort…', 'Only trying it out');
  await expect(job.notice('The job was asked to stop.')).toBeVisible();
  await job.soon(() => expect(job.status).toHaveText('Aborted', { timeout: 100 }), 5_000);
  await expect(job.deeds).toContainText([/admin.*Only trying it out/]);
  await expect(job.line('Only trying it out')).toHaveClass(/operator/);
  await expect(job.actions).toBeHidden();
  await overview.visit();
  await expect(overview.pastRow('Demonstration').first()).toContainText('Stopped by admin: Only trying it out');
});

test('one that hangs is started from the dashboard', async ({ overview, job, page }) => {
  await overview.visit();
  await overview.openStartMenu();
  await page.getByRole('button', { name: 'One that hangs' }).click();
  await page.waitForURL(/notice=started/);
  await expect(job.fact('Input')).toHaveText('{"hang":true}');
});

test('one that hangs does not listen, and is ended by force', async ({ job, server, jar }) => {
  const input = JSON.stringify({ hang: true, pace: 50 });
  const answer = await server.post('/rpc/jobs/start', { feature: 'demo-condensation', input }, jar);
  const path = (answer.headers.get('location') ?? '').split('?')[0];
  await job.visit(path);
  await job.soon(() => expect(job.line('Processing step 3 of 5')).toBeVisible({ timeout: 100 }), 10_000);
  await job.ask('Abort…', 'It seems to hang');
  await expect(job.status).toHaveText('Stopping');
  await expect(job.actions.getByRole('link')).toHaveText(['Force fail…']);
  await job.ask('Force fail…', 'It does hang');
  await expect(job.notice('The job was force-failed.')).toBeVisible();
  await job.soon(() => expect(job.status).toHaveText('Failed', { timeout: 100 }));
  await expect(job.page.locator('.error-text')).toHaveText('Job force-failed: It does hang');
  await expect(job.deeds).toHaveCount(2);
});

test('a reason is asked for, and an empty one is refused', async ({ job, api, server, jar }) => {
  const running = await api.start({ feature: 'import' });
  const answer = await server.post('/rpc/jobs/abort', { id: running.id, reason: '   ' }, jar);
  expect(answer.headers.get('location')).toContain('notice=invalid_value');
  await job.visit(running.path, '?notice=invalid_value');
  await expect(job.notice('Give a reason of 1 to 1000 characters.')).toBeVisible();
  await expect(job.status).toHaveText('Running');
});

test('a job that has reported everything is finishing, not done', async ({ overview, api }) => {
  const job = await api.start({ feature: 'import', title: 'Nearly there' });
  await job.progress(1);
  await overview.visit();
  await expect(overview.row('Nearly there')).toContainText('Finishing');
  await expect(overview.bar('Nearly there')).toHaveAttribute('value', '99');
});
