import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { summary } from './support/left-out.ts'

test('what a machine cannot show is named once for each lack, with what helps and the command that runs it', () => {
  const lacking = {
    curl: { why: 'curl is not installed.', cure: 'Run: apt-get install curl.' },
    root: { why: 'This is not root.', cure: 'Become root.' },
    patience: { why: 'It takes long.', cure: '', environment: 'TOOLCRIB_SLOW=1' },
  }
  const tests = [
    { file: 'test/b.test.ts', lacks: ['curl' as const] },
    { file: 'test/a.test.ts', lacks: ['curl' as const] },
    { file: 'test/a.test.ts', lacks: ['root' as const, 'curl' as const] },
    { file: 'test/a.test.ts', lacks: ['patience' as const] },
  ]
  expect(summary(tests, lacking)).toBe(`Left out here: 4 tests. With what they need, these commands run them:

  2 tests for want of curl
    curl is not installed. Run: apt-get install curl.
    npx vitest run test/a.test.ts test/b.test.ts

  1 test for want of root and curl
    This is not root. Become root.
    curl is not installed. Run: apt-get install curl.
    npx vitest run test/a.test.ts

  1 test for want of patience
    It takes long.
    TOOLCRIB_SLOW=1 npx vitest run test/a.test.ts`)
  expect(summary([], lacking)).toBe('')
})

test('no test is skipped in any other way, which would name neither a reason nor a command', () => {
  const other = /\.(skip|skipIf|runIf|todo)\b/
  const found = globSync('test/**/*.ts').filter((file) => other.test(readFileSync(file, 'utf8')))
  expect(found.filter((file) => file !== 'test/left-out.test.ts')).toEqual([])
})
