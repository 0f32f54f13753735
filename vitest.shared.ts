/** Settings that every package's tests share. Each run leaves a report that scripts/test.mjs adds up. */
export const testConfig = {
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    reporters: ['default', 'json'],
    outputFile: { json: '.test-report.json' },
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Two cores: more workers only take turns, and the real servers of the tests need room.
    maxWorkers: 2,
  },
};
