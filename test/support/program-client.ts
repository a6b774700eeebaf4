/**
 * Programs that people really use, with nothing but the environment that a sandbox gives to its sources. It lies in
 * running them without the sandbox.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { onTestFinished } from 'vitest'
import { sourceEnvironment } from '../../src/toolhost/source-environment.ts'
import { writeTrust } from '../../src/toolhost/trust.ts'
import { injectBearer, makeWorld, rule, theSecret, type World } from './egress-world.ts'
import { demanding } from './package-servers.ts'
import type { Upstream } from './upstream.ts'

const run = promisify(execFile)
export const host = 'api.orders.test'
export const demanded = `Bearer ${theSecret}`

export interface Client {
  /** Where the upstream is for programs. */
  url: string
  folder: string
  world: World
  /** Behind it; WebSockets are its own to take. */
  up: Upstream
  /** Runs a program as a source is run; its standard output. */
  run(command: string, args: string[], extra?: Record<string, string>): Promise<string>
}

/** An upstream that demands a credential, a rule that injects it, and the environment of a source. */
export async function makeClient(
  handle: (url: () => string) => RequestListener,
): Promise<Client & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-clients-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const world = await makeWorld()
  let url = ''
  const up = await world.upstream(
    demanding(
      demanded,
      handle(() => url),
    ),
  )
  url = `https://${host}:${up.port}`
  await world.setRules([
    rule(host, up.port, { methods: ['GET', 'HEAD', 'POST', 'WEBSOCKET'], inject: injectBearer }),
  ])
  const path = [dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter)
  const caFile = join(folder, 'ca.pem')
  await writeFile(caFile, world.ca)
  const { lease } = await world.addLease({ from: '127.0.0.1' })
  const trust = await writeTrust({ caFile, folder, path })
  const environment = sourceEnvironment(
    { id: 'orders', command: 'true', args: [], environment: {}, lease, digest: '' },
    { home: folder, temporaryFolder: folder, path },
    { relayPort: world.egress.tcpPort ?? 0, caFile, ...trust },
  )
  return {
    url,
    folder,
    world,
    up,
    async run(command, args, extra = {}) {
      const running = run(command, args, {
        cwd: folder,
        env: { ...environment, ...extra },
        timeout: 90_000,
        encoding: 'utf8',
      })
      running.child.stdin?.end()
      const { stdout } = await running
      return stdout
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
}
