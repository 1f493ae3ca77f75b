import { ADMIN, expect, test } from '../fixtures';

test.describe('signed out', () => {
  test.use({ signedIn: false });

  test('a wrong password is told and nobody gets in', async ({ signIn, page }) => {
    await signIn.visit('/admin/jobs?status=failed');
    await signIn.as({ ...ADMIN, password: 'not the password' });
    await expect(signIn.notice('That name and password do not go together.')).toBeVisible();
    await expect(page).toHaveURL(/\/login\?/);
    // Where they were going is not forgotten.
    await signIn.as();
    await expect(page).toHaveURL(/\/admin\/jobs\?status=failed$/);
  });

  test('a visitor is led to the sign-in page, and from there to where they were going', async ({ page, signIn }) => {
    await page.goto('/admin/jobs?feature=import&q=Row%2013');
    await expect(signIn.heading).toHaveText('Sign in');
    await signIn.as();
    await expect(page).toHaveURL(/\/admin\/jobs\?feature=import&q=Row(%20|\+)13$/);
    await expect(page.getByRole('region', { name: 'Past' }).getByRole('link', { name: 'Import 13' })).toBeVisible();
  });

  test('nobody is led out of this server', async ({ page, signIn, server }) => {
    await signIn.visit('//elsewhere.example/');
    await signIn.as();
    await expect(page).toHaveURL(`${server.url}/admin/jobs`);
  });

  test('a forged address puts no words into the page', async ({ page, signIn }) => {
    await page.goto('/login?notice=<b>Your%20password%20has%20expired</b>');
    await expect(signIn.heading).toHaveText('Sign in');
    await expect(page.locator('.notice')).toHaveCount(0);
    await expect(page.locator('body')).not.toContainText('expired');
  });

  test('signing out ends the session', async ({ page, signIn, overview }) => {
    await signIn.visit();
    await signIn.as();
    await expect(page).toHaveURL(/\/admin\/jobs$/);
    const cookies = await page.context().cookies();
    await overview.signOut();
    await expect(signIn.notice('You are signed out.')).toBeVisible();
    await page.goto('/admin/jobs');
    await expect(signIn.heading).toHaveText('Sign in');
    // Not only the cookie is gone: it is worth nothing any more.
    await page.context().addCookies(cookies);
    await page.goto('/admin/jobs');
    await expect(signIn.heading).toHaveText('Sign in');
  });
});

test('somebody who is signed in finds the way from the root', async ({ page }) => {
  await page.goto('/');
  await expect(page).toHaveURL(/\/admin\/jobs$/);
});

test.describe('a first start', () => {
  test.use({ fresh: true, unattended: false, signedIn: false });

  test('prints a link that lets somebody in, once', async ({ page, signIn, overview, visitor, server }) => {
    const link = /https?:\/\/\S+\/login\?link=\S+/.exec(server.printed)?.[0] ?? '';
    expect(link).toContain(server.url);
    await page.goto(link);
    await expect(signIn.heading).toHaveText('Welcome, admin');
    await signIn.choosePassword('a long enough password', 'another long password');
    await expect(signIn.notice('The two passwords are not the same.')).toBeVisible();
    await signIn.choosePassword('a long enough password');
    await expect(page).toHaveURL('/admin/jobs');
    await expect(overview.heading).toHaveText('All calm');

    const other = await visitor();
    await other.page.goto(link);
    await expect(other.signIn.heading).toHaveText('This link does not work any more');
    await other.page.getByRole('link', { name: 'Sign in with a password' }).click();
    await other.signIn.as({ name: 'admin', password: 'a long enough password' });
    await expect(other.page).toHaveURL('/admin/jobs');
  });
});
