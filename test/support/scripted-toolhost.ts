import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../src/core/index.ts'
import type { ToolhostDial } from '../../src/runners/driver.ts'
import type { SandboxIdentity, ToolhostClient } from '../../src/runners/index.ts'
import type { CallRequest } from '../../src/wire/index.ts'
import type { ScriptedMachine, ScriptedSandbox } from './scripted-driver.ts'

/** A call that a scripted toolhost accepted: at this moment it has run. */
export interface Execution {
  callId: string
  uid: string
  generation: number
}

export interface ScriptedToolhost extends ToolhostClient {
  readonly executions: Execution[]
  /** What a tool does; the default answers at once with its arguments. */
  tool: (request: CallRequest, signal: AbortSignal) => Promise<Record<string, unknown>>
}

/**
 * Toolhosts of all sandboxes on a scripted machine, and the client to them.
 *
 * Where it lies: there is no wire, so a request is never half sent; a call that is aborted is gone at once; a
 * dead sandbox is noticed at once, where a real one might leave a connection hanging.
 */
export function scriptedToolhost(machine: ScriptedMachine): ScriptedToolhost {
  const executions: Execution[] = []

  const reach = (dial: ToolhostDial, expect?: SandboxIdentity): ScriptedSandbox => {
    const sandbox = machine.byAddress(dial.socketPath)
    const up = sandbox !== undefined && performance.now() >= sandbox.bootedAt
    if (!up) throw unsent('nothing answers')
    if (
      expect !== undefined &&
      (expect.sandboxUid !== sandbox.spec.uid || expect.generation !== sandbox.spec.generation)
    )
      throw unsent('another sandbox answered')
    return sandbox
  }
  const nameOf = (dial: ToolhostDial) => machine.byAddress(dial.socketPath)?.spec.name ?? ''

  const host: ScriptedToolhost = {
    executions,
    tool: async (request) => ({ content: [{ type: 'text', text: JSON.stringify(request.arguments) }] }),
    health: (dial) =>
      machine.perform('health', nameOf(dial), () => {
        const { spec, running } = reach(dial)
        return {
          sandboxUid: spec.uid,
          generation: spec.generation,
          egress: machine.egress,
          sources: [],
          running,
          queued: 0,
        }
      }),
    putSource: (dial, source, { expect }) =>
      machine.perform('put', nameOf(dial), () => {
        const sandbox = reach(dial, expect)
        if (sandbox.draining) return { type: 'refused', code: 'draining', message: 'draining' }
        if (sandbox.sources.get(source.id)?.digest !== source.digest)
          sandbox.sources.set(source.id, { digest: source.digest, lease: source.lease })
        return { type: 'ok' }
      }),
    listTools: (dial, sourceId, { expect }) =>
      machine.perform('tools', nameOf(dial), () => {
        const sandbox = reach(dial, expect)
        return sandbox.sources.has(sourceId)
          ? { type: 'ok', tools: [{ name: 'echo' }] }
          : { type: 'refused', code: 'unknown_source', message: 'no such source' }
      }),
    drain: (dial, { expect }) =>
      machine.perform('drain', nameOf(dial), () => {
        reach(dial, expect).draining = true
      }),
    call: (dial, request, { signal, expect, onFrame }) =>
      machine.perform('call', nameOf(dial), async () => {
        const sandbox = reach(dial, expect)
        if (sandbox.draining) return { type: 'refused', code: 'draining', message: 'draining' }
        if (!sandbox.sources.has(request.sourceId))
          return { type: 'refused', code: 'unknown_source', message: 'no such source' }
        if (sandbox.running >= sandbox.spec.limits.parallelCalls)
          return { type: 'refused', code: 'busy', message: 'busy' }
        const { uid, generation } = sandbox.spec
        sandbox.running++
        executions.push({ callId: request.callId, uid, generation })
        onFrame({ type: 'accepted' })
        const end = AbortSignal.any([signal, sandbox.death.signal])
        try {
          const ended = new Promise<undefined>((resolve) => {
            if (end.aborted) resolve(undefined)
            else end.addEventListener('abort', () => resolve(undefined))
          })
          const result = await Promise.race([host.tool(request, end), ended])
          if (sandbox.death.signal.aborted) return { type: 'unknown', message: 'the connection broke off' }
          if (result !== undefined) return { type: 'result', result }
          await sleep(2)
          return { type: 'failed', code: 'call_cancelled', message: 'cancelled' }
        } finally {
          sandbox.running--
        }
      }),
  }
  return host
}

function unsent(message: string): AppError {
  return new AppError('unavailable', message, { details: { sent: false } })
}
