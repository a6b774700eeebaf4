import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import { createToolhostClient } from '../../src/runners/client/index.ts'
import { type ProbeTarget, startToolhost } from '../../src/toolhost/index.ts'
import { toolhostSettings, toolhostSettingsVariable } from '../../src/wire/index.ts'
import { needing } from '../support/needs.ts'
import { checkout, nasty } from './toolhost-process.ts'

const expect1 = { sandboxUid: 'probed', generation: 1 }

function settingsIn(folder: string, more: object = {}) {
  return toolhostSettings.parse({
    ...expect1,
    socketPath: join(folder, 'toolhost.sock'),
    egressSocketPath: null,
    caFile: null,
    home: folder,
    temporaryFolder: folder,
    probe: true,
    ownPidNamespace: false,
    limits: { memoryBytes: 2 ** 31, parallelCalls: 4, queuedCalls: 16 },
    ...more,
  })
}

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'toolcrib-probe-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

test('invariant 2: where something outside answers, health tells what, and nothing is started or called', async () => {
  await using folder = await temporaryFolder()
  const tried: ProbeTarget[] = []
  const toolhost = await startToolhost({
    settings: settingsIn(folder.path),
    kubernetesApi: { host: '10.0.0.1', port: 6443 },
    log: silentLog,
    // Lies: dials nobody; only the metadata address answers.
    dial: async (target) => {
      tried.push(target)
      return target.host === '169.254.169.254'
    },
  })
  await using client = createToolhostClient()
  const dial = { socketPath: join(folder.path, 'toolhost.sock'), release: () => undefined }
  const signal = AbortSignal.timeout(5_000)
  expect(await client.health(dial, { signal })).toMatchObject({
    egress: 'open',
    leak: 'the metadata address (169.254.169.254, port 80)',
    sources: [],
  })
  const launch = {
    id: 's',
    command: process.execPath,
    args: [nasty],
    environment: {},
    lease: 'l',
    digest: 'd',
  }
  const refused = { type: 'refused', code: 'egress_not_enforced' }
  expect(await client.putSource(dial, launch, { expect: expect1, signal })).toMatchObject(refused)
  expect(
    await client.call(
      dial,
      { callId: 'c', sourceId: 's', tool: 'echo', arguments: {}, timeoutMs: 1_000 },
      { expect: expect1, signal, onFrame: () => undefined },
    ),
  ).toMatchObject(refused)
  expect(tried.map((target) => target.host)).toEqual(
    expect.arrayContaining(['169.254.169.254', '10.0.0.1', '1.1.1.1', '2606:4700:4700::1111']),
  )
  await toolhost.drain()
})

/** Runs the real program in a network namespace of its own, after `prepare`, and returns its health. */
async function healthInNamespace(folder: string, prepare: string) {
  const child = spawn(
    'unshare',
    [
      '-Urn',
      'sh',
      '-c',
      `${prepare} exec "$0" "$1"`,
      process.execPath,
      join(checkout, 'src/toolhost/main.ts'),
    ],
    {
      env: {
        PATH: process.env['PATH'] ?? '',
        [toolhostSettingsVariable]: JSON.stringify(settingsIn(folder)),
      },
      stdio: ['ignore', 'inherit', 'pipe'],
    },
  )
  await once(child.stderr, 'data')
  await using client = createToolhostClient()
  const dial = { socketPath: join(folder, 'toolhost.sock'), release: () => undefined }
  const start = performance.now()
  const health = await client.health(dial, { signal: AbortSignal.timeout(5_000) })
  const took = performance.now() - start
  await client.drain(dial, { expect: expect1, signal: AbortSignal.timeout(5_000) })
  await once(child, 'exit')
  return { health, took }
}

// The tests set their namespace up with `ip`.
const emptyNetwork = needing('user namespaces', 'ip')

test('in an empty network namespace the probe finds egress enforced, at once', emptyNetwork, async () => {
  await using folder = await temporaryFolder()
  const { health, took } = await healthInNamespace(folder.path, 'ip link set lo up;')
  expect(health.egress).toBe('enforced')
  expect(took).toBeLessThan(900)
})

test('the real probe notices a metadata address that answers', emptyNetwork, async () => {
  await using folder = await temporaryFolder()
  // Prints "up", which the shell waits for before the probe begins.
  const listener = `require("net").createServer((s) => s.destroy()).listen(80, "169.254.169.254", () => console.log("up"))`
  // The listener lives in the namespace's own loopback and goes with its pipe's reader.
  const { health } = await healthInNamespace(
    folder.path,
    `ip link set lo up; ip addr add 169.254.169.254/32 dev lo; mkfifo ${folder.path}/up; "$0" -e '${listener}; setTimeout(() => process.exit(), 8000)' >${folder.path}/up & read up <${folder.path}/up;`,
  )
  expect(health).toMatchObject({ egress: 'open', leak: 'the metadata address (169.254.169.254, port 80)' })
})
