import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { silentLog } from '../../../src/core/index.ts'
import { createLocalDriver, detectIsolation } from '../../../src/runners/index.ts'
import { openCompileCache } from '../../../src/runners/local/compile-cache.ts'
import { layoutOf } from '../../../src/runners/local/layout.ts'
import { inside, planMounts } from '../../../src/runners/local/mounts.ts'
import { needing } from '../../support/needs.ts'
import { until } from '../../support/until.ts'
import { sandboxSpec } from './gateway.ts'

const appDir = resolve(import.meta.dirname, '../../..')
const [isolation] = (await detectIsolation()).works.filter((each) => each !== 'kubernetes')
const longAgo = new Date(Date.now() - 3_600_000)

/** A state directory of its own around the real program; `open` is a gateway's start. */
async function newState() {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-cache-'))
  const options = {
    stateDir: join(folder, 'state'),
    egressSocketDir: join(folder, 'egress'),
    appDir,
    nodePath: process.execPath,
    isolation: isolation ?? 'none',
    log: silentLog,
  } as const
  await mkdir(options.egressSocketDir)
  const all = join(options.stateDir, 'compile-cache')
  return {
    options,
    all,
    open: async () => await openCompileCache({ ...options, layout: layoutOf(options.stateDir) }),
    [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true, force: true }),
  }
}

test('a cache whose files were cut short or changed does no harm: sandboxes start without it', {
  timeout: 120_000,
  ...needing('sandbox'),
}, async () => {
  await using state = await newState()
  const { filled } = await state.open()
  await filled
  const [name = 'none'] = await readdir(state.all)
  const cache = join(state.all, name)
  const files = (await readdir(cache, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  expect(files.length).toBeGreaterThan(20)
  for (const [index, file] of files.entries()) {
    const { size } = await stat(file)
    if (index % 2 === 0) await truncate(file, Math.floor(size / 2))
    else await writeFile(file, (await readFile(file)).fill(0xff, 64))
  }
  const spoilt = await Promise.all(files.map(async (file) => await readFile(file)))

  const driver = await createLocalDriver(state.options)
  const spec = sandboxSpec()
  const signal = AbortSignal.timeout(60_000)
  await driver.ensure(spec, signal)
  const log = join(layoutOf(state.options.stateDir).of(spec.name).folder, 'log')
  await until(async () => (await readFile(log, 'utf8')).includes('toolhost ready'), 30_000)
  await driver.delete(spec.name, spec.uid, 0, signal)
  // Nor did anything inside mend it: it is the gateway's alone.
  expect(await Promise.all(files.map(async (file) => await readFile(file)))).toEqual(spoilt)
  expect((await stat(state.all)).mode & 0o777).toBe(0o700)
})

test('sandboxes see the cache read-only', async () => {
  await using state = await newState()
  const [home, sockets, files] = ['/h', '/s', '/f']
  const mounts = planMounts({
    ...state.options,
    readOnlyPaths: [],
    hiddenPaths: [],
    home,
    sockets,
    files,
    scratchBytes: 1,
    compileCache: state.options.egressSocketDir,
  })
  expect(mounts.filter((mount) => 'to' in mount && mount.to === inside.compileCache)).toEqual([
    { kind: 'ro', from: state.options.egressSocketDir, to: inside.compileCache },
  ])
})

test('a draft that was never finished is not used, and what a killed filling left is removed once it is old', {
  timeout: 60_000,
  ...needing('sandbox'),
}, async () => {
  await using state = await newState()
  const draft = join(state.all, '0123456789abcdef.aB3xYz')
  await mkdir(draft, { recursive: true, mode: 0o700 })
  const [old, young] = await Promise.all([1, 2].map(() => mkdtemp(join(tmpdir(), 'toolcrib-compile-'))))
  await mkdir(join(old ?? '', 'home'))
  for (const folder of [draft, old ?? '']) await utimes(folder, longAgo, longAgo)

  const cache = await state.open()
  expect(cache.folder).toBeUndefined()
  await cache.filled
  expect(cache.folder).toMatch(/\/[0-9a-f]{16}$/)
  expect([draft, old ?? '', young ?? ''].map((folder) => existsSync(folder))).toEqual([false, false, true])
  await rm(young ?? '', { recursive: true })
})

/** A program as small as can be: a toolhost that listens until it is told to end, and one sample source. */
async function writeApp(folder: string, source: string): Promise<string> {
  const files = {
    'package.json': '{"type":"module"}',
    'src/toolhost/main.ts': `
      import { readFileSync } from 'node:fs'
      import { createServer } from 'node:net'
      const { socketPath } = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
      const server = createServer().listen(socketPath)
      process.on('SIGTERM', () => server.close())`,
    'sources/one/server.ts': source,
  }
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  return folder
}

test('a filling that was cut off keeps nothing, and the next start fills it whole', {
  timeout: 60_000,
  ...needing('sandbox'),
}, async () => {
  await using state = await newState()
  const app = join(state.options.stateDir, '../app')
  const open = async (source: string) => {
    const options = { ...state.options, appDir: await writeApp(app, source) }
    const cache = await openCompileCache({ ...options, layout: layoutOf(options.stateDir) })
    await cache.filled
    return cache.folder
  }
  // As the kernel does when memory runs out: what the process had compiled is not written.
  expect(await open("process.kill(process.pid, 'SIGKILL')")).toBeUndefined()
  expect(existsSync(state.all) ? await readdir(state.all) : []).toEqual([])
  // One that ends with an error of its own says nothing about the others.
  const folder = await open('process.exit(1)')
  expect((await readdir(folder ?? '', { recursive: true })).length).toBeGreaterThan(1)
})

if (isolation === undefined)
  process.stderr.write(
    'left out here, no sandboxes: npx vitest run test/runners/local/compile-cache.test.ts\n',
  )
