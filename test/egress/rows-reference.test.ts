import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const folder = 'test/egress/rows'

/** The rows of each file there, by the titles of its tests. */
function rowsByFile(): Map<string, Set<number>> {
  const files = globSync(`${folder}/*.test.ts`).toSorted()
  return new Map(
    files.map((file) => {
      const titles = readFileSync(file, 'utf8').matchAll(
        /['`](?:invariant \d+: )?rows? (\d+)(?: and (\d+))?: /g,
      )
      const rows = [...titles].flatMap(([, row, other]) => (other === undefined ? [row] : [row, other]))
      return [file.slice(folder.length + 1, -'.test.ts'.length), new Set(rows.map(Number))]
    }),
  )
}

test('each of the 44 groups of attacks is tried over the wire, where docs/reference/attacks.md says', () => {
  const tried = new Map<number, string[]>()
  for (const [file, rows] of rowsByFile()) {
    for (const row of rows) tried.set(row, [...(tried.get(row) ?? []), file])
  }
  const all = Array.from({ length: 44 }, (_, index) => index + 1)
  expect(all.filter((row) => !tried.has(row))).toEqual([])
  const table = [
    ...readFileSync('docs/reference/attacks.md', 'utf8').matchAll(/^\| +(\d+) +\|(.*)\|(.*)\|(.*)\|$/gm),
  ]
  expect(table.map(([, row]) => Number(row))).toEqual(all)
  for (const [, row, what = '', outcome = '', where = ''] of table) {
    expect([row, what.trim().length > 0, outcome.trim().length > 0]).toEqual([row, true, true])
    const named = [...where.matchAll(/`([a-z0-9-]+)`/g)].map(([, file]) => file)
    expect([row, new Set(named)]).toEqual([row, new Set(tried.get(Number(row)))])
  }
})
