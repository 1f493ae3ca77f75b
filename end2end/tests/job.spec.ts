// One job in full: its steps, its log, its end; alive or by loading the page again.

import { expect, test } from '../fixtures';
import type { Api, Running } from '../fixtures';

/** A job with a long log: 450 infos with a warning and an error among them. */
async function talkative(api: Api): Promise<Running> {
  const job = await api.start({ feature: 'import', title: 'Talks a lot' });
  await job.sayAll(
    Array.from({ length: 450 }, (_, index) => {
      const number = index + 1;
      if (number === 60) return { type: 'error', message: 'API rate limit exceeded, retrying in 8 s' };
      if (number === 300) return { type: 'error', message: 'API rate limit exceeded again' };
      if (number % 100 === 0) return { type: 'warning', message: `Low confidence in row ${number}` };
      return { type: 'info', message: `Row ${number} was imported` };
    }),
  );
  return job;
}

test('steps are a tree, each with its state and its bar', async ({ job, api }) => {
  const running = await api.start({ feature: 'import', title: 'Has steps' });
  await running.steps([
    { id: 'load', title: 'Load data' },
    {
      id: 'condense',
      title: 'Condense questions',
      weight: 2,
      steps: [
        { id: 'q1', title: 'Question 1', steps: [{ id: 'pros', title: 'Pros' }, { id: 'cons', title: 'Cons' }] },
        { id: 'q2', title: 'Question 2' },
      ],
    },
    { id: 'save', title: 'Save results' },
  ]);
  await running.progress(1, 'load');
  await running.progress(0.5, 'condense/q1/pros');
  await job.visit(running.path);
  await expect(job.steps.getByRole('heading')).toHaveText(/^Steps\s*7$/);
  const rows = job.steps.getByRole('listitem');
  await expect(rows).toContainText([
    /done.*Load data/s,
    /running.*Condense questions.*0 of 2/s,
    /running.*Question 1.*0 of 2/s,
    /running.*Pros/s,
    /waiting.*Cons/s,
    /waiting.*Question 2/s,
    /waiting.*Save results/s,
  ]);
  const left = async (label: string) =>
    job.step(label).locator('> span').nth(1).evaluate((element) => element.getBoundingClientRect().left);
  expect(await left('Question 1')).toBeGreaterThan(await left('Condense questions'));
  expect(await left('Save results')).toBe(await left('Load data'));
  const bar = (name: string) => job.steps.getByRole('progressbar', { name });
  await expect(bar('Load data')).toHaveAttribute('value', '100');
  await expect(bar('Condense questions')).toHaveAttribute('value', '12');
  await expect(bar('Question 1')).toHaveAttribute('value', '25');
  await expect(bar('Pros')).toHaveAttribute('value', '50');
  await expect(bar('Pros')).toHaveAttribute('max', '100');
  await expect(job.bar).toHaveAttribute('value', '31');

  await running.progress(1, 'condense/q1/pros');
  await job.soon(() => expect(bar('Condense questions')).toHaveAttribute('value', '25', { timeout: 100 }));
});

test('a long level is folded around where the work is, and unfolds', async ({ job, api, page }) => {
  const running = await api.start({ feature: 'import' });
  const steps = Array.from({ length: 40 }, (_, index) => ({ id: `s${index + 1}`, title: `Part ${index + 1}` }));
  await running.steps(steps);
  for (let number = 1; number <= 20; number += 1) await running.progress(1, `s${number}`);
  await job.visit(running.path);
  await expect(job.step('17 more')).toBeVisible();
  await expect(job.steps.getByText('Part 21', { exact: true })).toBeVisible();
  await expect(job.steps.getByText('Part 40', { exact: true })).toHaveCount(0);
  await job.steps.getByRole('link', { name: 'more' }).first().click();
  await expect(page).toHaveURL(/steps=all/);
  await expect(job.steps.getByRole('listitem')).toHaveCount(40);
  await job.steps.getByRole('link', { name: 'Fold' }).click();
  await expect(job.step('17 more')).toBeVisible();
});

test('the log is read through lenses and searched on the server', async ({ job, api, page }) => {
  const running = await talkative(api);
  await job.visit(running.path);
  await expect(job.lines).toHaveCount(200);
  await expect(job.line('Row 449 was imported')).toBeVisible();
  await expect(job.lens('All')).toHaveText(/^All\s*451$/);
  await expect(job.lens('Warnings')).toHaveText(/^Warnings\s*3$/);
  await job.lens('Errors').click();
  await expect(page).toHaveURL(/level=error/);
  await expect(job.lines).toHaveCount(2);
  await expect(job.lines.first()).toHaveClass(/error/);
  await expect(job.lens('Errors')).toHaveAttribute('aria-current', 'true');
  await job.search('again');
  await expect(job.lines).toHaveCount(1);
  await expect(page).toHaveURL(/level=error/);
  await page.getByRole('link', { name: 'Clear' }).click();
  await expect(page).not.toHaveURL(/q=/);
  await job.lens('All').click();
  await job.search('ROW 12');
  await expect(job.lines).toHaveCount(11);
  await expect(job.line('Row 129 was imported')).toBeVisible();
  await job.search('nothing says this');
  await expect(job.log).toContainText('No line matches.');
});

test('the first error is one click away, and marked', async ({ job, api, page }) => {
  const running = await talkative(api);
  await job.visit(running.path);
  await page.getByRole('link', { name: 'First error' }).click();
  await expect(page).toHaveURL(/from=error#marked/);
  await job.settled();
  const line = job.line('API rate limit exceeded, retrying in 8 s');
  await expect(line).toHaveClass(/marked/);
  await expect(line).toBeInViewport();
  await expect(job.line('Row 58 was imported')).toBeVisible();
  // From there the log goes both ways.
  await expect(job.log.getByRole('link', { name: 'Older lines' })).toBeAttached();
  await job.log.getByRole('link', { name: 'Go to the newest lines' }).click();
  await expect(job.line('Row 449 was imported')).toBeVisible();
});

test('every line has an address of its own', async ({ job, api, page }) => {
  const running = await talkative(api);
  await job.visit(running.path, '?from=100#L100');
  await expect(page.locator('#L100')).toHaveClass(/marked/);
  await expect(page.locator('#L100')).toBeInViewport();
  await expect(page.locator('#L100 time')).toHaveText(/^\d\d:\d\d:\d\d$/);
});

test('older lines are read in pages without gap or repeat', async ({ job, api, page }) => {
  const running = await talkative(api);
  await job.visit(running.path);
  const seen: string[] = [];
  const collect = async () => seen.unshift(...(await job.lines.evaluateAll((lines) => lines.map((line) => line.id))));
  await collect();
  const older = job.log.getByRole('link', { name: 'Older lines' });
  for (const left of [251, 51]) {
    const address = page.url();
    await older.click();
    await expect(page).not.toHaveURL(address);
    await expect(job.lines).toHaveCount(Math.min(left, 200));
    await job.settled();
    await collect();
  }
  await expect(older).toHaveCount(0);
  expect(seen).toEqual(Array.from({ length: 451 }, (_, index) => `L${index + 1}`));
  // Older pages keep the lens.
  await job.visit(running.path, '?level=info');
  await older.click();
  await expect(page).toHaveURL(/level=info/);
  await expect(job.lines).toHaveCount(200);
});

test('whatever a job says is shown, never obeyed', async ({ job, overview, api, page, guard }) => {
  const script = '</script><img src=x onerror="window.pwned=1;alert(1)">';
  const hostile = `${script} \u001b[31mred\u001b[0m \u202Egnp.exe \u0000 end`;
  const running = await api.start({ feature: `f ${script}`, title: `t ${hostile}`, author: `a ${script}`, tags: [script.slice(0, 40)], input: { script } });
  await running.steps([{ id: 'bad', title: `s ${hostile}` }]);
  await running.progress(0.5, 'bad');
  await running.say(hostile);
  await running.error(`two\nlines ${hostile}`);
  await overview.visit();
  for (const visit of [() => overview.visit(), () => job.visit(running.path)]) {
    await visit();
    const text = await page.locator('body').innerText();
    expect(text).toContain('</script><img src=x onerror=');
    expect(text).not.toMatch(/[\u0000\u001b\u202e]/);
    await expect(page.locator('img')).toHaveCount(0);
  }
  await expect(job.line('</script><img src=x').first()).toContainText(' red ');
  await expect(job.line('</script><img src=x').first()).toContainText('\\u{202e}gnp.exe');
  await job.ask('Abort…', `r ${hostile.replace('\u0000', '')}`);
  await expect(job.deeds).toContainText([/<\/script><img/]);
  await running.fail(`e ${hostile}`);
  await job.visit(running.path);
  await expect(page.locator('.error-text')).toContainText('onerror=');
  await overview.visit(`?q=${encodeURIComponent(script)}`);
  await expect(overview.pastRow('</script><img')).toBeVisible();
  await expect(page.getByLabel('Text')).toHaveValue(script);
  await expect(page.locator('img')).toHaveCount(0);
  expect(await page.evaluate(() => 'pwned' in window)).toBe(false);
  expect(guard.heard()).toEqual([]);
});

test('a finished job says how it ended', async ({ job, api, page }) => {
  const done = await api.start({ feature: 'import', title: 'Went well', input: { file: 'a.csv' }, tags: ['nightly'] });
  await done.complete({ rows: 3 });
  await job.visit(done.path);
  await expect(job.status).toHaveText('Completed');
  await expect(job.page.locator('.state-line')).toContainText(/100\s%.*took 00:0\d.*started by/);
  await expect(job.bar).toHaveAttribute('value', '100');
  await expect(job.fact('Output')).toHaveText('{"rows":3}');
  await expect(job.fact('Input')).toHaveText('{"file":"a.csv"}');
  await expect(job.fact('Tags')).toHaveText('nightly');
  await expect(job.actions).toBeHidden();
  await expect(page).toHaveTitle(/Went well · Longhaul/);

  const failed = await api.start({ feature: 'import', title: 'Went wrong' });
  await failed.progress(0.3);
  await failed.fail('Row 7 has no list number');
  await job.visit(failed.path);
  await expect(job.status).toHaveText('Failed');
  await expect(page.locator('.error-text')).toHaveText('Row 7 has no list number');
  await expect(job.bar).toHaveAttribute('value', '30');
  await expect(page.getByRole('link', { name: 'First error' })).toBeVisible();
});

test('a job that had already ended is not ended again', async ({ job, api }) => {
  const running = await api.start({ feature: 'import' });
  await job.visit(running.path, '?ask=force-fail');
  await job.dialog.getByLabel('Reason').fill('Too late');
  // It ends between the question and the answer, before an open page could have heard of it.
  await job.look(false);
  await running.complete();
  await job.dialog.getByRole('button', { name: 'Force fail' }).click();
  await expect(job.notice('The job had already ended, so nothing was changed.')).toBeVisible();
  await expect(job.status).toHaveText('Completed');
});

for (const [what, id] of [
  ['is no id', 'nonsense'],
  ['is nobody’s', '00000000-0000-7000-8000-000000000000'],
]) {
  test(`a job whose address ${what} is said not to be there`, async ({ page, guard }) => {
    guard.allow(/status of 404/);
    const answer = await page.goto(`/admin/jobs/${id}`);
    expect(answer?.status()).toBe(404);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('This page cannot be shown');
    await page.getByRole('link', { name: 'Back to the jobs' }).click();
    await expect(page).toHaveURL(/\/admin\/jobs$/);
  });
}

test('there is a page for where no page is', async ({ page, guard }) => {
  guard.allow(/status of 404/);
  const answer = await page.goto('/admin/no/such/page');
  expect(answer?.status()).toBe(404);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('There is no such page');
});

test('a silent job is given more time, for a while or for good', async ({ job, overview, api, page, guard }) => {
  // Without JavaScript nothing uses what the page has fetched ahead, and after a few seconds the browser says so.
  guard.allow(/preloaded using link preload but not used/);
  const silent = await api.start({ feature: 'import', title: 'Slow disk', activityTimeout: 1 });
  await overview.soon(async () => {
    await overview.visit();
    await expect(overview.need('Slow disk')).toContainText(/fail it/, { timeout: 4_000 });
  }, 10_000);
  await overview.need('Slow disk').getByRole('link', { name: 'More time…' }).click();
  await job.settled();
  const dialog = page.getByRole('dialog', { name: 'Give “Slow disk” more time?' });
  await expect(dialog).toBeVisible();
  // Nothing must be said, and a choice is made.
  await dialog.getByRole('radio', { name: '1 hour' }).check();
  await dialog.getByRole('button', { name: 'Give more time' }).click();
  await expect(job.notice('The job has more time')).toBeVisible();
  await job.settled();
  await expect(job.status).toHaveText('Running');
  await expect(job.deeds).toContainText([/admin gave it more time: no limit ends it for 60 minutes/]);
  await expect(job.fact('More time')).toContainText('none for 60 minutes');
  await overview.visit();
  await expect(overview.need('Slow disk')).toHaveCount(0);

  await job.visit(silent.path);
  await job.actions.getByRole('link', { name: 'More time…' }).click();
  await job.dialog.getByRole('radio', { name: 'No limit' }).check();
  await job.dialog.getByLabel('Reason').fill('Let it finish');
  await job.dialog.getByRole('button', { name: 'Give more time' }).click();
  await expect(job.notice('The job has more time')).toBeVisible();
  await job.settled();
  await expect(job.deeds).toContainText([/for 60 minutes/, /took its limits away.*Let it finish/]);
  await expect(job.actions.getByRole('link', { name: 'More time…' })).toHaveCount(0);
});
