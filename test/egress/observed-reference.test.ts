import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createMetrics } from '../../src/egress/records/metrics.ts'

/** What a table of the documentation names in one of its columns. */
function named(file: string, column: number): string[][] {
  const rows = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
  return rows.map((row) =>
    Array.from((row.split('|')[column] ?? '').matchAll(/`([A-Za-z_.…]+)`/g), ([, name = '']) => name),
  )
}

/** The members of an interface, or of a type in braces, in order. */
function members(text: string): string[] {
  return Array.from(text.replaceAll(/\/\*\*[^]*?\*\//g, '').matchAll(/(\w+)\??:/g), ([, name = '']) => name)
}

test('the reference of metrics names each of them with its labels, and no other', async () => {
  const metrics = createMetrics()
  const facts = { bytesIn: 1, bytesOut: 1, redactions: 1, frames: { sent: 1, received: 1 } }
  metrics.denied('orders', 'path_not_allowed')
  metrics.finished('orders', { ...facts, status: 200, failure: 'client_closed' })
  metrics.answered(1)
  const found = new Map<string, Set<string>>()
  for (const [, series = '', labels = ''] of (await metrics.text()).matchAll(/^(\w+)(?:\{(.*)\})? /gm)) {
    const name = series.replace(/_(?:bucket|sum|count)$/, '')
    if (/^toolcrib_egress_(?:process|nodejs)_/.test(name)) continue
    const known = found.get(name) ?? new Set()
    for (const [, label = ''] of labels.matchAll(/(\w+)=/g)) if (label !== 'le') known.add(label)
    found.set(name, known)
  }
  const gauges = Array.from(
    readFileSync('src/egress/egress.ts', 'utf8').matchAll(/metrics\.gauge\(\s*'(\w+)'/g),
    ([, name]) => `toolcrib_egress_${name}`,
  )
  expect([found.size, gauges.length]).toEqual([6, 3])
  for (const name of gauges) found.set(name, new Set())
  const file = 'docs/reference/metrics.md'
  const labels = named(file, 2).map((row) => row.filter((name) => !/^(?:sent|received)$/.test(name)))
  const told = named(file, 1).map(([name = ''], i) => [name, labels[i]] as const)
  expect(new Map(told.filter(([name]) => !name.includes('…')))).toEqual(
    new Map([...found].map(([name, known]) => [name, [...known]])),
  )
})

test('the reference of records names each fact of a decision, and no other', () => {
  const source = readFileSync('src/core/events.ts', 'utf8')
  const shape = (name: string) =>
    members(new RegExp(`interface ${name} \\{([^]*?)\\n\\}`).exec(source)?.[1] ?? '')
  const own = source.matchAll(/'egress\.(?:allowed|would_deny|denied)': EgressFacts & \{([^]*?)\n? *\}/g)
  const outcome = shape('EgressOutcome').filter((name) => !/^(?:sent|received)$/.test(name))
  const facts = [
    ...shape('EgressFacts'),
    ...Array.from(own, ([, text = '']) => members(text)).flat(),
    ...outcome.map((name) => `outcome.${name}`),
    // Of the event itself, and of its line in the log.
    'principalId',
    'decision',
    'durationMs',
  ]
  expect(facts.length).toBeGreaterThan(25)
  const text = readFileSync('docs/reference/egress-records.md', 'utf8')
  const table = /^\| fact [^]*?\n\n/m.exec(text)?.[0] ?? ''
  const told = table
    .split('\n')
    .slice(2)
    .flatMap((row) => Array.from((row.split('|')[1] ?? '').matchAll(/`([\w.]+)`/g), ([, name]) => name))
  expect(new Set(told)).toEqual(new Set(facts))
})
