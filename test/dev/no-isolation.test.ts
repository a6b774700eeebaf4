import { execFile, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { connectV1, textOf } from '../support/clients.ts'
import { startDev } from '../support/dev-process.ts'
import { isLacking, needing } from '../support/needs.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))
const folder = await mkdtemp(join(tmpdir(), 'toolcrib-bare-'))
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('without isolation every sample source works and every surface says so', async () => {
  await using dev = await startDev({ config: (text) => `${text}\nsandbox:\n  isolation: none\n` })
  const said = await dev.newcomer('say', { as: 'alice', text: '/mcp-token' })
  expect(said).toContain('NO ISOLATION')
  const token = /tcb_\w+/.exec(said)?.[0] ?? ''
  await using client = await connectV1(dev.ready.mcp, token)
  expect(textOf(await client.call('everything_echo', { message: 'hello' }))).toBe('Echo: hello')
  expect(textOf(await client.call('workspace_run', { command: 'echo $((6*7))' }))).toContain('42')
  expect(textOf(await client.call('orders_list_orders'))).toContain('brass token')
  expect(textOf(await client.call('whoami'))).toContain('WARNING: isolation is none')

  expect(dev.ready.isolation).toBe('none')
  expect(await (await fetch(dev.ready.web)).text()).toMatch(/role="alert"[^]*NO ISOLATION/)
  expect((await dev.toolcrib(['runners', 'list'])).stdout).toContain('NONE')
  const doctor = await dev.toolcrib(['doctor'])
  expect([doctor.code, doctor.stdout]).toEqual([1, expect.stringMatching(/FAIL {2}isolation/)])
}, 120_000)

const cure = /Start the container with|Run: apt-get install|As root run/

// Where there is isolation, it is hidden; only root may, and only in a mount namespace of its own.
test('where no namespaces can be had, dev goes on and says why; serve refuses with the cure', {
  ...(isLacking('sandbox') ? needing() : needing('mount namespaces')),
  timeout: 120_000,
}, async () => {
  const hide =
    'for each in bwrap unshare; do if [ -e /usr/bin/$each ]; then mount --bind /dev/null /usr/bin/$each; fi; done; exec "$@"'
  const hidden = (...args: string[]): [program: string, args: string[]] => {
    const plain = [entry, ...args]
    if (isLacking('sandbox')) return [process.execPath, plain]
    return [
      'unshare',
      ['-m', '--propagation', 'private', 'sh', '-ec', hide, 'hide', process.execPath, ...plain],
    ]
  }
  const state = join(folder, 'state')
  const config = join(folder, 'serve.yaml')
  await writeFile(config, JSON.stringify({ state_dir: state, listen: { port: 0 }, log_level: 'error' }))
  const refused = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
    execFile(...hidden('serve', '--config', config), (error, _stdout, stderr) =>
      resolve({ code: error?.code, stderr }),
    )
  })
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(cure)
  expect(refused.stderr).toContain('isolation: none')

  const [program, args] = hidden('dev', '--port', '0', '--folder', join(folder, 'dev'))
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  let out = ''
  for await (const line of createInterface({ input: child.stdout })) {
    out += `${line}\n`
    if (cure.test(line)) break
  }
  expect(out).toContain('NO ISOLATION')
  child.kill('SIGINT')
  const code = child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve)))
  expect(code).toBe(0)
})
