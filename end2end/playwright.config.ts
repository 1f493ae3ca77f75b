// Three ways to look at one dashboard: alive, with JavaScript off, and on a phone.

import { defineConfig } from '@playwright/test';

const size = { width: 1360, height: 900 };
const root = process.getuid?.() === 0;

export default defineConfig({
  testDir: 'tests',
  outputDir: 'test-results',
  workers: 2,
  retries: 0,
  // A server belongs to a worker; tests of one file share it and clean up after themselves.
  fullyParallel: true,
  forbidOnly: !!process.env.CI,
  timeout: 30_000,
  expect: { timeout: 8_000 },
  reporter: process.env.CI ? [['line']] : [['list']],
  // Pictures are taken on demand: SCREENS=1 npx playwright test screens --project chromium
  grepInvert: process.env.SCREENS ? undefined : /@screens/,
  use: {
    browserName: 'chromium',
    screenshot: 'only-on-failure',
    actionTimeout: 8_000,
    navigationTimeout: 15_000,
    viewport: size,
    launchOptions: {
      // The system's browser; none is ever downloaded.
      executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
      args: [
        ...(root ? ['--no-sandbox'] : []),
        '--disable-gpu',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--no-first-run',
      ],
    },
  },
  projects: [
    { name: 'chromium' },
    { name: 'chromium-nojs', use: { javaScriptEnabled: false }, testIgnore: /\.hydrate\.spec\.ts$/ },
    {
      name: 'mobile',
      use: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
      // What does not depend on the screen is tested once.
      grepInvert: process.env.SCREENS ? /@desktop/ : /@screens|@desktop/,
    },
  ],
});
