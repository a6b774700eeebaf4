import { defineConfig } from 'vitest/config'
import { LeftOutReporter } from './test/support/left-out.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real servers and sandboxes share the machine: few files at a time, generous limits, never a retry.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    globalSetup: ['test/support/global-machine.ts', 'test/support/global-database.ts'],
    reporters: ['default', new LeftOutReporter()],
  },
})
