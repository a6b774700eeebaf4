import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { testStore } from '../support/database.ts'
import { runToolcrib } from '../support/dev-process.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))

/**
 * Says at the end of a process how many threads it had and what its children would be given. It prints that, because a
 * process that has ended can be asked no other way.
 */
const spy = `
  import { readdirSync } from 'node:fs'
  process.on('exit', () => {
    const { UV_THREADPOOL_SIZE, MALLOC_MMAP_THRESHOLD_ } = process.env
    const left = [UV_THREADPOOL_SIZE, MALLOC_MMAP_THRESHOLD_].filter((value) => value !== undefined)
    console.log(JSON.stringify({ threads: readdirSync('/proc/self/task').length, left }))
  })`

/** Ends at once: there is no such configuration. */
function start(command: string): Promise<{ threads: number; left: string[] }> {
  const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(spy)}`
  const env = { PATH: process.env['PATH'], TOOLCRIB_CONFIG: '/nowhere/toolcrib.yaml', NODE_OPTIONS }
  return new Promise((resolve) =>
    execFile(process.execPath, [entry, command], { env }, (_error, stdout) =>
      resolve(JSON.parse(stdout) as { threads: number; left: string[] }),
    ),
  )
}

test('the egress proxy has threads to spare for look-ups that hang, and no server hands its settings to children', async () => {
  const [egress, serve] = await Promise.all([start('egress'), start('serve')])
  expect(egress.threads).toBeGreaterThan(64)
  expect(serve.threads).toBeLessThan(egress.threads)
  expect([egress.left, serve.left]).toEqual([[], []])
})

test('a server whose port is taken makes no admin key, and it and a proxy without its certificate authorities name the setting', async () => {
  await using store = await testStore({ poolSize: 1 })
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-start-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const other = createServer()
  onTestFinished(() => void other.close())
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as AddressInfo
  const config = join(folder, 'toolcrib.yaml')
  const settings = {
    state_dir: folder,
    listen: { port },
    sandbox: { isolation: 'none' },
    egress: { upstream_ca_files: ['none.pem'] },
  }
  await writeFile(config, JSON.stringify(settings))
  const environment = { DATABASE_URL: store.url, TOOLCRIB_CONFIG: config }
  const [serve, egress] = await Promise.all(
    ['serve', 'egress'].map((command) => runToolcrib([command], environment)),
  )
  expect(serve?.code).toBe(1)
  expect(serve?.stderr).toContain(
    `toolcrib: listen: 127.0.0.1:${port} is in use; end what listens there, perhaps another \`toolcrib serve\`, or name another port`,
  )
  // It is shown once, by the start that succeeds.
  const { rows } = await store.pool.query('SELECT 1 FROM admin_keys')
  expect(rows).toEqual([])
  expect(egress?.code).toBe(2)
  expect(egress?.stderr).toContain(`${join(folder, 'none.pem')} cannot be read (ENOENT)`)
})

test('a word after egress that is no command of its is wrong use, and told with those that there are', async () => {
  const mistyped = await runToolcrib(['egress', 'alow', 'orders', 'GET', 'https://api.example.com/'], {})
  expect([mistyped.code, mistyped.stderr]).toEqual([
    2,
    "error: unknown command 'alow'; use allow or suggest\n",
  ])
})
