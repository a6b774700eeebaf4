import { setTimeout as sleep } from 'node:timers/promises'
import type { RunnerDriver, SandboxFacts, SandboxPhase, SandboxSpec } from '../../src/runners/index.ts'

export type Operation =
  | 'ensure'
  | 'observe'
  | 'delete'
  | 'list'
  | 'dial'
  | 'health'
  | 'put'
  | 'tools'
  | 'call'
  | 'drain'

/** A sandbox of the scripted machine. */
export interface ScriptedSandbox {
  spec: SandboxSpec
  phase: SandboxPhase
  message: string | null
  bootedAt: number
  draining: boolean
  running: number
  /** What the sources inside were started with. */
  sources: Map<string, { digest: string; lease: string }>
  /** Rejects every call in it when the sandbox dies. */
  death: AbortController
}

/**
 * One machine that runs sandboxes, in memory: any number of drivers and toolhost clients share it, as replicas
 * share a host or a cluster.
 *
 * Where it lies: a sandbox is an object, so nothing is isolated, no process is killed and no socket opened; it
 * dies at once and whole; its facts are never stale unless a fault says so; the clock of booting is a sleep.
 */
export class ScriptedMachine {
  readonly sandboxes = new Map<string, ScriptedSandbox>()
  /** Names held by something that is not ours. */
  readonly foreign = new Set<string>()
  /** Every ensure that made a sandbox, and every delete that ended one. */
  readonly made: string[] = []
  readonly ended: string[] = []
  readonly operations: { operation: Operation; name: string }[] = []
  bootMs = 5
  endMs = 1
  egress: 'enforced' | 'open' | 'not_probed' = 'enforced'
  /** Called before and after each operation; throwing before loses the request, throwing after loses the answer. */
  before: (operation: Operation, name: string) => Promise<void> | void = () => {}
  after: (operation: Operation, name: string) => Promise<void> | void = () => {}
  readonly #watchers = new Set<(name: string) => void>()

  async perform<T>(operation: Operation, name: string, work: () => Promise<T> | T): Promise<T> {
    this.operations.push({ operation, name })
    await this.before(operation, name)
    const result = await work()
    await this.after(operation, name)
    return result
  }

  changed(name: string): void {
    for (const watcher of this.#watchers) queueMicrotask(() => watcher(name))
  }

  /** What `kill -9` of everything inside, or a deletion behind our back, looks like. */
  kill(name: string): void {
    const sandbox = this.sandboxes.get(name)
    if (sandbox === undefined) return
    this.sandboxes.delete(name)
    sandbox.death.abort()
    this.changed(name)
  }

  facts(sandbox: ScriptedSandbox): SandboxFacts {
    const { name, uid, generation } = sandbox.spec
    const up = performance.now() >= sandbox.bootedAt
    const phase = sandbox.phase === 'booting' && up ? 'running' : sandbox.phase
    return { name, uid, generation, phase, address: `scripted:${uid}`, message: sandbox.message }
  }

  byAddress(address: string): ScriptedSandbox | undefined {
    for (const sandbox of this.sandboxes.values()) {
      if (`scripted:${sandbox.spec.uid}` === address) return sandbox
    }
    return undefined
  }

  /** A driver as one replica has it. */
  driver(isolation: RunnerDriver['isolation'] = 'bubblewrap'): RunnerDriver {
    return {
      kind: 'local',
      isolation,
      ensure: (spec, signal) =>
        this.perform('ensure', spec.name, () => {
          signal.throwIfAborted()
          return this.#ensure(spec)
        }),
      observe: (name, signal) =>
        this.perform('observe', name, () => {
          signal.throwIfAborted()
          const sandbox = this.sandboxes.get(name)
          if (sandbox !== undefined) return this.facts(sandbox)
          return this.foreign.has(name) ? foreignFacts(name) : undefined
        }),
      delete: (name, uid, _graceMs, signal) =>
        this.perform('delete', name, async () => {
          signal.throwIfAborted()
          const sandbox = this.sandboxes.get(name)
          if (sandbox?.spec.uid !== uid) return
          sandbox.phase = 'stopping'
          await sleep(this.endMs)
          if (this.sandboxes.get(name) !== sandbox) return
          this.ended.push(uid)
          this.kill(name)
        }),
      list: (signal) =>
        this.perform('list', '', () => {
          signal.throwIfAborted()
          return [...this.sandboxes.values()].map((sandbox) => this.facts(sandbox))
        }),
      watch: (changed) => {
        this.#watchers.add(changed)
        return {
          [Symbol.asyncDispose]: async () => {
            this.#watchers.delete(changed)
          },
        }
      },
      dial: (facts) =>
        this.perform('dial', facts.name, () => {
          const sandbox = this.sandboxes.get(facts.name)
          if (sandbox?.spec.uid !== facts.uid) throw new Error('no such sandbox')
          return { socketPath: `scripted:${facts.uid}`, release() {} }
        }),
    }
  }

  #ensure(spec: SandboxSpec): { kind: 'ours' | 'taken'; facts: SandboxFacts } {
    if (this.foreign.has(spec.name)) return { kind: 'taken', facts: foreignFacts(spec.name) }
    const known = this.sandboxes.get(spec.name)
    if (known !== undefined) {
      return { kind: known.spec.uid === spec.uid ? 'ours' : 'taken', facts: this.facts(known) }
    }
    const sandbox: ScriptedSandbox = {
      spec,
      phase: 'booting',
      message: null,
      bootedAt: performance.now() + this.bootMs,
      draining: false,
      running: 0,
      sources: new Map(),
      death: new AbortController(),
    }
    this.sandboxes.set(spec.name, sandbox)
    this.made.push(spec.uid)
    this.changed(spec.name)
    return { kind: 'ours', facts: this.facts(sandbox) }
  }
}

function foreignFacts(name: string): SandboxFacts {
  return { name, uid: 'not-ours', generation: 0, phase: 'running', address: null, message: null }
}
