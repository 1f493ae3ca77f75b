// Every page in every state: it can be used by everybody, fits every screen, and keeps its own policy.

import AxeBuilder from '@axe-core/playwright';

import { expect, test } from '../fixtures';
import { LOOKS } from '../fixtures/stage';

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const WIDTHS = [320, 390, 768, 1360];

for (const { name, as, go, allow } of LOOKS) {
  test(`${name} @desktop`, async ({ scene, visitor, guard }) => {
    // The reference is the longest page there is, and is looked at in every light and size.
    test.setTimeout(90_000);
    guard.allow(...(allow ?? []));
    const { page } = await visitor(as?.(scene));
    await go(page, scene);
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: width < 768 ? 844 : 900 });
      const over = await page.evaluate(() => {
        const root = document.documentElement;
        if (root.scrollWidth <= root.clientWidth) return [];
        const wide = [...document.querySelectorAll('body *')].filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1);
        return [`${root.scrollWidth} px`, ...wide.slice(0, 5).map((element) => `${element.tagName}.${element.className}`)];
      });
      expect.soft(over, `${name} fits ${width} px`).toEqual([]);
    }
    for (const [screen, size] of Object.entries({ phone: { width: 390, height: 844 }, desktop: { width: 1360, height: 900 } })) {
      await page.setViewportSize(size);
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        // Only colours differ between the themes; the rest is looked at once.
        const axe = new AxeBuilder({ page });
        const { violations } = await (colorScheme === 'light' ? axe.withTags(TAGS) : axe.withRules(['color-contrast'])).analyze();
        const found = violations.flatMap(({ id, nodes }) =>
          nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary?.replace(/\s+/g, ' ')}`),
        );
        expect.soft(found, `${name} on a ${colorScheme} ${screen}`).toEqual([]);
      }
    }
  });
}
