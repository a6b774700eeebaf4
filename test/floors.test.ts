import { globSync } from 'node:fs'
import { cruise, type ICruiseResult } from 'dependency-cruiser'
import extractOptions from 'dependency-cruiser/config-utl/extract-depcruise-options'
import extractTsConfig from 'dependency-cruiser/config-utl/extract-ts-config'
import { expect, test } from 'vitest'

test('imports go down, through the door, and every module was seen', async () => {
  const options = await extractOptions(`${process.cwd()}/.dependency-cruiser.mjs`)
  const result = await cruise(
    ['src', 'db', 'sources'],
    options,
    {},
    { tsConfig: extractTsConfig('tsconfig.json') },
  )
  const output = result.output as ICruiseResult
  // A cruiser that cannot parse TypeScript sees nothing and finds nothing wrong.
  const sources = globSync(['src/**/*.ts', 'db/**/*.ts', 'sources/**/*.ts'])
  const seen = new Set(output.modules.map((module) => module.source))
  expect(sources.filter((file) => !seen.has(file))).toEqual([])
  expect(output.summary.violations.map((v) => `${v.rule.name}: ${v.from} → ${v.to}`)).toEqual([])
})

test('every room opens with a paragraph that says what it promises', async () => {
  const { readFileSync } = await import('node:fs')
  const doors = globSync('src/*/index.ts')
  const silent = doors.filter((door) => !/^\/\*\*\n \* \w+:/.test(readFileSync(door, 'utf8')))
  expect(silent).toEqual([])
})
