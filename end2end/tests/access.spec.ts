// What a person may not do is neither offered nor done.

import { expect, test } from '../fixtures';

for (const role of ['viewer', 'reporter'] as const) {
  test(`a ${role} looks and cannot touch`, async ({ api, server, visitor, guard }) => {
    const name = `${role}-${Date.now()}`;
    const link = await api.addUser(name, role);
    const { page, signIn, overview, job } = await visitor();
    await page.goto(link);
    await expect(signIn.heading).toHaveText(`Welcome, ${name}`);
    await signIn.choosePassword('a long enough password');
    await expect(page).toHaveURL(/\/admin\/jobs$/);

    const running = await api.start({ feature: 'import', title: 'Hands off', activityTimeout: 1 });
    await overview.visit();
    await expect(overview.row('Hands off')).toBeVisible();
    await expect(page.getByText('Start a job')).toHaveCount(0);
    await expect(page.getByRole('link', { name: /Emergency cleanup…|Abort…|Force fail…/ })).toHaveCount(0);
    await expect(page.getByRole('button', { name: /Sweep/ })).toHaveCount(0);
    await job.visit(running.path, '?ask=force-fail');
    await expect(job.heading).toHaveText('Hands off');
    await expect(job.actions).toBeHidden();
    await expect(job.dialog).toHaveCount(0);

    // Going round the page does not help.
    const jar = await page.context().storageState();
    const forms: [string, Record<string, string>][] = [
      ['/rpc/jobs/force-fail', { id: running.id, reason: 'by hand' }],
      ['/rpc/jobs/abort', { id: running.id, reason: 'by hand' }],
      ['/rpc/jobs/start', { feature: 'demo-condensation' }],
      ['/rpc/system/emergency-cleanup', { reason: 'by hand', shown: '1', confirm: '1' }],
      ['/rpc/system/sweep', {}],
    ];
    for (const [path, form] of forms) {
      const answer = await server.post(path, form, jar as never);
      expect([answer.status, answer.headers.get('location')], path).toEqual([302, expect.stringContaining('notice=forbidden')]);
    }
    expect((await running.state()).status).toBe('running');
    await job.visit(running.path, '?notice=forbidden');
    await expect(job.notice('Your role does not allow this.')).toBeVisible();

    guard.allow(/status of 403/);
    const answer = await page.goto('/admin/jobs/emergency-cleanup');
    expect(answer?.status()).toBe(403);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('This page cannot be shown');
  });
}

test('a form from elsewhere is refused', async ({ server, jar, api }) => {
  const running = await api.start({ feature: 'import' });
  const cookie = jar.cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
  const answer = await fetch(`${server.url}/rpc/jobs/force-fail`, {
    method: 'POST',
    body: new URLSearchParams({ id: running.id, reason: 'from elsewhere' }),
    redirect: 'manual',
    headers: { cookie, accept: 'text/html', origin: 'http://elsewhere.example', 'sec-fetch-site': 'cross-site' },
  });
  expect(answer.status).toBe(403);
  expect((await running.state()).status).toBe('running');
});
