import { defineConfig } from 'vitest/config';

/** `npm run test:real`: hours of compiling are not for `npm test`. One step after the other, each needs the one before. */
export default defineConfig({
  test: {
    include: ['real/**/*.test.ts'],
    reporters: ['verbose'],
    bail: 1,
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
  },
});
