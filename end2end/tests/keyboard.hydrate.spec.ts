// Everything can be done without a mouse.

import type { Page } from '@playwright/test';

import { expect, test } from '../fixtures';

/** What the focus is on, in words. */
function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const at = document.activeElement;
    if (!at || at === document.body) return '';
    return at.getAttribute('aria-label') ?? (at as HTMLInputElement).name ?? at.textContent?.trim() ?? at.tagName;
  });
}

/** Presses Tab until the focus is on it. */
async function tabTo(page: Page, what: string, most = 80): Promise<void> {
  for (let presses = 0; presses < most; presses += 1) {
    await page.keyboard.press('Tab');
    const name = await page.evaluate(() => {
      const at = document.activeElement as HTMLElement | null;
      return `${at?.getAttribute('aria-label') ?? ''}|${at?.textContent?.trim() ?? ''}`;
    });
    if (name.split('|').some((part) => part === what)) return;
  }
  throw new Error(`Tab never reached “${what}”; it is on “${await focused(page)}”`);
}

test('the first key leads past the bar to the content @desktop', async ({ overview, page }) => {
  await overview.visit();
  await page.keyboard.press('Tab');
  const skip = page.getByRole('link', { name: 'Skip to the content' });
  await expect(skip).toBeFocused();
  await expect(skip).toBeInViewport();
  await page.keyboard.press('Enter');
  await expect(page.locator('#main')).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(page.locator('summary', { hasText: 'Start a job' })).toBeFocused();
});

for (const where of ['overview', 'job'] as const) {
  test(`Tab reaches every action of the ${where}, in the order it is read @desktop`, async ({ overview, job, api, page }) => {
    const running = await api.start({ feature: 'import', title: 'Reach me', activityTimeout: 1 });
    await running.error('Oh');
    await (where === 'overview' ? overview.visit('?feature=import') : job.visit(running.path));
    await expect(page.getByText(/has been silent/).first()).toBeVisible();
    // Everything that can be clicked, and the log that can be scrolled.
    const all = await page.evaluate(() => {
      const list = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')];
      const shown = list.filter((element) => element.checkVisibility());
      shown.forEach((element, index) => element.setAttribute('data-order', `${index}`));
      return shown.length;
    });
    expect(all).toBeGreaterThan(12);
    const order: number[] = [];
    for (let presses = 0; presses < all; presses += 1) {
      await page.keyboard.press('Tab');
      order.push(Number(await page.evaluate(() => document.activeElement?.getAttribute('data-order') ?? -1)));
    }
    expect(order).toEqual(Array.from({ length: all }, (_, index) => index));
  });
}

test('whatever has the focus shows it @desktop', async ({ overview, page }) => {
  await overview.visit();
  for (let presses = 0; presses < 12; presses += 1) {
    await page.keyboard.press('Tab');
    const ring = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement as Element);
      return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    });
    expect(ring, await focused(page)).toBe(true);
  }
});

test('a job is started, asked to stop and left by keyboard alone @desktop', async ({ overview, job, page }) => {
  await overview.visit();
  await tabTo(page, 'Start a job');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('button', { name: 'Start: Demonstration: condense arguments' })).toBeVisible();
  await tabTo(page, 'Start: Demonstration: condense arguments');
  await page.keyboard.press('Enter');
  await page.waitForURL(/notice=started/);
  await job.settled();
  await tabTo(page, 'Abort…');
  await page.keyboard.press('Enter');
  await expect(job.dialog.getByLabel('Reason')).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(job.dialog).toHaveCount(0);
  await page.keyboard.press('Enter');
  await page.keyboard.type('By keyboard');
  await page.keyboard.press('Tab');
  await expect(job.dialog.getByRole('button', { name: 'Ask it to stop' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(job.notice('The job was asked to stop.')).toBeVisible();
  await expect(job.status).toHaveText('Aborted');
  await expect(job.deeds).toContainText([/By keyboard/]);
});

test('a log is scrolled by keyboard @desktop', async ({ job, api, page }) => {
  const running = await api.start({ feature: 'import' });
  await running.sayAll(Array.from({ length: 100 }, (_, index) => ({ type: 'info', message: `Row ${index}` })));
  await job.visit(running.path);
  await expect.poll(async () => (await job.scrolled()).left).toBeLessThan(2);
  await job.log.focus();
  await page.keyboard.press('Home');
  await expect.poll(async () => (await job.scrolled()).top).toBe(0);
});
