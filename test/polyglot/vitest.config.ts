import { defineConfig } from 'vitest/config';

/** `npm run test:polyglot`: the workers in other languages. They need Python and Go, which `npm test` does not. */
export default defineConfig({
  test: {
    include: ['test/polyglot/*.polyglot.ts'],
    globalSetup: ['./test/support/postgres.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // The last line says how many passed and failed.
    reporters: ['verbose', './test/support/count_reporter.ts'],
  },
});
