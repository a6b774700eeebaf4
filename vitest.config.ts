import { defineConfig } from 'vitest/config'
import { FileOrder } from './test/support/file-order.ts'
import { LeftOutReporter } from './test/support/left-out.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real servers and sandboxes share the machine and mostly wait for each other: few files at a time, generous
    // limits, never a retry.
    maxWorkers: 3,
    sequence: { sequencer: FileOrder },
    testTimeout: 60_000,
    hookTimeout: 90_000,
    // What is waited for comes when the machine has time for it.
    expect: { poll: { timeout: 15_000, interval: 20 } },
    globalSetup: ['test/support/global-machine.ts', 'test/support/global-database.ts'],
    reporters: ['default', new LeftOutReporter()],
  },
})
