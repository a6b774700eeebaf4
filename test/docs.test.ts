import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { configFile } from '../src/config-schema.ts'

const read = (path: string) => readFileSync(path, 'utf8')
const documents = globSync(['*.md', 'docs/**/*.md'])
/** Without what stands in code, where brackets are no links. */
const prose = (text: string) => text.replaceAll(/^```[^]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '')

test('every relative link in the documentation leads to a file, and to a heading where it names one', () => {
  const broken = documents.flatMap((document) =>
    [...prose(read(document)).matchAll(/\]\(([^)\s]+)\)/g)]
      .map((match) => match[1] ?? '')
      .filter((link) => !/^[a-z]+:/.test(link) && !leadsSomewhere(document, link))
      .map((link) => `${document}: ${link}`),
  )
  expect(broken).toEqual([])
})

test('every invariant names its tests, and each of them exists', () => {
  const titles = new Set(
    globSync('test/**/*.ts').flatMap((file) =>
      [...read(file).matchAll(/['`]invariant (\d+): (.*?)['`]\s*[,)]/g)].map(
        ([, number, title]) => `${number} ${title?.replaceAll(/\$\{[^}]*\}|%s/g, '…')}`,
      ),
    ),
  )
  const rows = [...read('ARCHITECTURE.md').matchAll(/^\| (\d+) +\| .*? \| (.*?) +\|$/gm)]
  expect(rows.map((row) => Number(row[1]))).toEqual(Array.from({ length: 14 }, (_, index) => index + 1))
  for (const [, number, cell = ''] of rows) {
    const named = [...cell.matchAll(/“(.*?)”/g)].map((match) => `${number} ${match[1]}`)
    expect(named.filter((title) => !titles.has(title))).toEqual([])
    expect(named.length > 0 || /^[*_]comes with /.test(cell)).toBe(true)
  }
})

test('the README lists every setting with its default, and nothing else', () => {
  const table = /^\| setting [^]*?\n\n/m.exec(read('README.md'))?.[0] ?? ''
  const documented = [...table.matchAll(/^\| `(.+?)` +\| (.*?) +\|/gm)].map(([, name, told]) => [name, told])
  const schema = z.toJSONSchema(configFile, { io: 'input', unrepresentable: 'any' }) as Schema
  const settings = leaves(schema, '')
  expect(new Set(documented.map(([name]) => name))).toEqual(new Set(settings.map(({ name }) => name)))
  expect(documented).toHaveLength(settings.length)
  for (const { name, fallback } of settings) {
    if (fallback === undefined) continue
    const spelt = typeof fallback === 'string' ? fallback : JSON.stringify(fallback)
    expect(documented).toContainEqual([name, `\`${spelt}\``])
  }
})

test('the README lists every variable of the environment that is read', () => {
  const names = [...read('src/config.ts').matchAll(/\b(?:TOOLCRIB|SLACK|DATABASE)_[A-Z_]+\b/g)].map(String)
  const missing = [...new Set(names)].filter(
    (name) => !read('README.md').includes(`\`${name.replace(/_FILE$/, '')}\``),
  )
  expect(missing).toEqual([])
})

test('the reference of the endpoint names every JSON-RPC code that is answered', () => {
  const codes = [...read('src/mcp/rpc.ts').matchAll(/: (-32\d{3}),/g)].map((match) => match[1] ?? '')
  expect(codes.length).toBeGreaterThan(5)
  const told = read('docs/reference/mcp.md')
  expect(codes.filter((code) => !told.includes(`\`${code}\``))).toEqual([])
})

test('the guide to troubleshooting knows every check of the doctor', () => {
  const checks = globSync('src/app-doctor*.ts').map(read).join('\n')
  const names = [...checks.matchAll(/check\(\s*'([a-z ]+)'/g)].map((match) => match[1])
  expect(names.length).toBeGreaterThan(5)
  const told = read('docs/guides/troubleshooting.md')
  expect(names.filter((name) => !new RegExp(`^\\| ${name} +\\|`, 'm').test(told))).toEqual([])
})

test('decisions have numbers of their own, and say what was given up', () => {
  const files = globSync('docs/decisions/*.md').map((file) => ({ file, text: read(file) }))
  const numbers = files.map(({ file }) => /\/(\d{4})-[a-z0-9-]+\.md$/.exec(file)?.[1])
  expect(new Set(numbers).size).toBe(files.length)
  const wrong = files.filter(
    ({ text }, index) =>
      !text.startsWith(`# ${numbers[index]} `) ||
      !text.includes('**Context.**') ||
      !text.includes('**Choice.**') ||
      !/\*\*(Given up|What we gave up)\.\*\*/.test(text),
  )
  expect(wrong.map(({ file }) => file)).toEqual([])
})

function leadsSomewhere(document: string, link: string): boolean {
  const [path = '', heading] = link.split('#')
  const target = path === '' ? document : join(dirname(document), path)
  if (!existsSync(target)) return false
  if (heading === undefined) return true
  const headings = [...read(target).matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} -]/gu, '')
      .replaceAll(' ', '-'),
  )
  return headings.includes(heading)
}

interface Schema {
  default?: unknown
  properties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
  items?: Schema
}

/** Every setting that has a value of its own: `<name>` stands for a key that people choose, `[]` for each of a list. */
function leaves(schema: Schema, name: string): { name: string; fallback: unknown }[] {
  if (schema.properties !== undefined) {
    const start = name === '' ? '' : `${name}.`
    return Object.entries(schema.properties).flatMap(([key, member]) => leaves(member, start + key))
  }
  const { additionalProperties: entry, items } = schema
  if (typeof entry === 'object' && entry.properties !== undefined) return leaves(entry, `${name}.<name>`)
  if (items?.properties !== undefined) return leaves(items, `${name}[]`)
  return [{ name, fallback: schema.default }]
}
