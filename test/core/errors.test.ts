import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { errorCodes } from '../../src/core/index.ts'

test('every error code is documented with its status, and nothing else is', () => {
  const text = readFileSync('docs/reference/errors.md', 'utf8')
  const rows = [...text.matchAll(/^\| `(\w+)` +\| (\d{3}) +\| (\S.*?) +\| (\S.*?) +\|$/gm)]
  const documented = Object.fromEntries(rows.map(([, code, status]) => [code, Number(status)]))
  expect(documented).toEqual(errorCodes)
  expect(rows).toHaveLength(Object.keys(errorCodes).length)
})
