// Pictures of every page in every state: SCREENS=1 npx playwright test screens --project chromium
// They land in test-results/screens/.

import { test } from '../fixtures';
import { LOOKS } from '../fixtures/stage';

for (const { name, as, go, allow } of LOOKS) {
  test(`${name} @screens @desktop`, async ({ scene, visitor, guard }) => {
    guard.allow(...(allow ?? []));
    const { page } = await visitor(as?.(scene));
    await go(page, scene);
    for (const [screen, size] of Object.entries({ phone: { width: 390, height: 844 }, desktop: { width: 1360, height: 900 } })) {
      await page.setViewportSize(size);
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: `test-results/screens/${name}-${screen}-${colorScheme}.png`, fullPage: !name.includes('dialog') });
      }
    }
  });
}
