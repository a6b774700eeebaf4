import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { denialReasons } from '../../src/egress/decision/denial.ts'

test('the reference explains every reason for a refusal, and no other', () => {
  const text = readFileSync('docs/reference/egress-denials.md', 'utf8')
  const rows = text.split('\n').filter((line) => line.startsWith('| `'))
  const explained = rows.flatMap((line) =>
    Array.from((line.split('|')[1] ?? '').matchAll(/`([a-z0-9_]+)`/g), (match) => match[1]),
  )
  expect(explained).toHaveLength(denialReasons.length)
  expect(new Set(explained)).toEqual(new Set(denialReasons))
})
