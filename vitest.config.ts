import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // One PostgreSQL for the whole run; each file makes its own databases in it.
    globalSetup: ['./test/support/postgres.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // Two processes: the machines this runs on have two cores, and PostgreSQL needs its share.
    maxWorkers: 2,
    restoreMocks: true,
    reporters: process.env.CI ? ['default', './test/support/count_reporter.ts'] : ['default'],
  },
});
