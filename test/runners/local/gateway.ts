import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { PrincipalId } from '../../../src/core/index.ts'
import type { Isolation, SandboxFacts, SandboxSpec } from '../../../src/runners/index.ts'
import { until } from '../../support/until.ts'

export const canary = 'canary-8c1f0e'
const mebibyte = 1024 * 1024

/** A state directory of its own, an application that stands in for the checkout, and a place for the proxy. */
export class World implements AsyncDisposable {
  readonly folder: string
  readonly stateDir: string
  readonly egressSocketDir: string
  readonly appDir: string
  readonly isolation: Isolation | 'auto'
  /** The user that gateways run as; `undefined`: the one that runs the tests. */
  readonly userId: number | undefined
  readonly #gateways: Gateway[] = []

  constructor(isolation: Isolation | 'auto', userId?: number, parent = tmpdir()) {
    this.folder = mkdtempSync(join(parent, 'toolcrib-driver-'))
    this.stateDir = join(this.folder, 'state')
    this.egressSocketDir = join(this.folder, 'egress')
    this.appDir = join(this.folder, 'app')
    this.isolation = isolation
    this.userId = userId
    for (const folder of [this.stateDir, this.egressSocketDir]) mkdirSync(folder)
    cpSync(resolve(import.meta.dirname, 'fixture-app'), this.appDir, { recursive: true })
    chmodSync(this.folder, 0o711)
    chmodSync(this.stateDir, 0o700)
    chmodSync(this.egressSocketDir, 0o711)
    if (userId !== undefined) chownSync(this.stateDir, userId, userId)
  }

  async gateway(
    change: { isolation?: Isolation | 'auto'; inherit?: string; readOnlyPaths?: string[] } = {},
  ): Promise<Gateway> {
    const options = {
      stateDir: this.stateDir,
      egressSocketDir: this.egressSocketDir,
      appDir: this.appDir,
      nodePath: process.execPath,
      isolation: change.isolation ?? this.isolation,
      ...(change.readOnlyPaths === undefined ? {} : { readOnlyPaths: change.readOnlyPaths }),
      // The stand-in is not worth one.
      compileCache: false,
    }
    const gateway = new Gateway(options, this.userId, change.inherit)
    this.#gateways.push(gateway)
    await gateway.ready
    return gateway
  }

  /** Something that answers at `proxy.sock`, as the egress proxy would. */
  async proxy(answer: string): Promise<Server> {
    const path = join(this.egressSocketDir, 'proxy.sock')
    rmSync(path, { force: true })
    const server = createServer((_, response) => response.end(answer))
    await new Promise<void>((resolve) => server.listen(path, resolve))
    chmodSync(path, 0o666)
    return server
  }

  #lives(): { name: string; uid: string }[] {
    return globSync(join(this.stateDir, 'runners', '*', 'g*.json')).map((file) =>
      JSON.parse(readFileSync(file, 'utf8')),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const last = this.#gateways.find((gateway) => gateway.lives) ?? (await this.gateway())
    // Also those that ended by themselves: what they left goes with them.
    for (const { name, uid } of this.#lives()) await last.delete(name, uid, 0)
    for (const gateway of this.#gateways) await gateway.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A gateway process of the test's own. */
export class Gateway {
  readonly ready: Promise<string>
  readonly child: ChildProcess
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #next = 0

  constructor(options: object, userId: number | undefined, inherit: string | undefined) {
    const become = ['--reuid', String(userId), '--regid', String(userId), '--clear-groups', '--']
    const words = [process.execPath, join(import.meta.dirname, 'driver-process.ts'), JSON.stringify(options)]
    const [program = '', ...args] = userId === undefined ? words : ['setpriv', ...become, ...words]
    // A descriptor that the process is born with, above a gap that Node's own start does not look beyond.
    const born = inherit === undefined ? [] : [...Array(60).fill('ignore'), openSync(inherit, 'r')]
    this.child = spawn(program, args, {
      env: { PATH: process.env['PATH'], TOOLCRIB_CANARY: canary, AWS_SECRET_ACCESS_KEY: canary },
      stdio: ['pipe', 'pipe', 'inherit', ...born],
    })
    const started = Promise.withResolvers<string>()
    this.ready = started.promise
    this.child.once('exit', () => started.reject(new Error('the gateway process ended')))
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const said = JSON.parse(line)
      if (said.ready) started.resolve(said.ready)
      else if (said.failed) started.reject(new Error(said.failed))
      else if (said.error)
        this.#waiting.get(said.id)?.reject(Object.assign(new Error(said.error.message), said.error))
      else this.#waiting.get(said.id)?.resolve(said.result)
    })
  }

  ensure = (spec: SandboxSpec) => this.#ask<{ kind: 'ours' | 'taken'; facts: SandboxFacts }>('ensure', spec)
  observe = (name: string) => this.#ask<SandboxFacts | undefined>('observe', name)
  list = () => this.#ask<SandboxFacts[]>('list')
  delete = (name: string, uid: string, graceMs: number) => this.#ask<void>('delete', name, uid, graceMs)
  dial = (facts: SandboxFacts) => this.#ask<string>('dial', facts)

  get lives(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** Makes a sandbox and waits until its toolhost listens. */
  async start(spec: SandboxSpec): Promise<SandboxFacts> {
    await this.ensure(spec)
    let facts: SandboxFacts | undefined
    await until(async () => {
      facts = await this.observe(spec.name)
      return facts?.phase === 'running'
    })
    const started = facts
    if (started === undefined) throw new Error('unreachable')
    // Between making its socket and listening on it a toolhost refuses: whoever dials then tries again.
    await until(
      async () =>
        await this.run(started, 'true').then(
          () => true,
          () => false,
        ),
    )
    return started
  }

  /** Runs a shell command inside, by way of the toolhost. */
  async run(
    facts: SandboxFacts,
    command: string,
  ): Promise<{ code: number | string; stdout: string; stderr: string }> {
    return JSON.parse(await post(await this.dial(facts), command))
  }

  async kill(): Promise<void> {
    if (!this.lives) return
    const ended = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.kill('SIGKILL')
    await ended
  }

  async #ask<T>(method: string, ...args: unknown[]): Promise<T> {
    const id = this.#next++
    const answer = Promise.withResolvers<unknown>()
    this.#waiting.set(id, answer)
    this.child.stdin?.write(`${JSON.stringify({ id, method, args })}\n`)
    return (await answer.promise) as T
  }
}

export function post(socketPath: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: '/run', method: 'POST' }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve(text))
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

let count = 0

export function sandboxSpec(change: Partial<SandboxSpec> = {}): SandboxSpec {
  count++
  return {
    name: `r-test-${count}`,
    homeName: `h-test-${count}`,
    principalId: `prn_test${count}` as PrincipalId,
    generation: 1,
    uid: `life-${count}`,
    caCertificate: 'a certificate\n',
    limits: {
      memoryBytes: 256 * mebibyte,
      processes: 96,
      openFiles: 256,
      parallelCalls: 4,
      queuedCalls: 8,
    },
    ...change,
  }
}
