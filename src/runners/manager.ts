import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, type PrincipalId, type RunnerId } from '../core/index.ts'
import { findRunner, listRunners, viewRunners } from '../store/index.ts'
import { carry, listTools } from './call.ts'
import { beginStop } from './cull.ts'
import { Holds } from './holds.ts'
import { putSource } from './launch.ts'
import { type Context, defaultTimings, type RunnersDeps } from './options.ts'
import { Reconciler } from './reconciler.ts'
import { startRounds } from './rounds.ts'
import { gatewayClosing } from './sentences.ts'
import type { Runners, SourceToRun } from './types.ts'
import { toView } from './view.ts'
import { openDial, type Parts, visit } from './visit.ts'
import { Changes, RowChanges } from './wait.ts'
import { Wakes } from './wake.ts'

/**
 * The manager of all runners on one replica. Any number of replicas may run it on one database and one driver;
 * none is special. It begins to work at once: it adopts what runs and continues what a dead replica left.
 */
export function createRunners(deps: RunnersDeps): Runners {
  const close = new AbortController()
  const ending = new AbortController()
  const context: Context = {
    ...deps,
    timings: { ...defaultTimings, ...deps.timings },
    closing: ending.signal,
    sandboxes: new Changes(),
    changed: (id) => {
      changes.wake(id)
      checkHeld(id)
    },
  }
  const { store, log, timings } = context
  const holds = new Holds(context)
  const checkHeld = (id: RunnerId) => {
    holds.check(id).catch((err: unknown) => log.warn({ runnerId: id, err }, 'a held runner cannot be read'))
  }
  const changes = new RowChanges(deps.notices, checkHeld)
  const reconciler = new Reconciler(context)
  const rounds = startRounds(context, holds, reconciler)
  const wakes = new Wakes(context, { holds, changes, nudge: rounds.nudge })
  const parts: Parts = { context, holds, wakes }
  const background = new Set<Promise<void>>()

  const refuseWhenClosing = () => {
    if (close.signal.aborted) throw gatewayClosing()
  }

  async function warm(principalId: PrincipalId, sources: SourceToRun[]): Promise<void> {
    const caller = { signal: close.signal, waiting: () => undefined }
    await visit(parts, principalId, caller, async (held) => {
      const dial = await openDial(context, held, close.signal)
      for (const source of sources) await putSource(context, held, dial, source)
    })
  }

  async function stop(principalId: PrincipalId, cause: string): Promise<void> {
    const row = await beginStop(context, principalId, cause)
    if (row === undefined) return
    rounds.nudge()
    using change = changes.watch(row.id)
    const deadline = performance.now() + timings.stopWaitMs
    while (performance.now() < deadline) {
      const now = await findRunner(store.db, { id: row.id })
      if (now === undefined || now.state !== 'stopping' || now.generation !== row.generation) return
      await change.next(250, close.signal)
      if (close.signal.aborted) break
    }
    throw new AppError(
      'unavailable',
      'the sandbox takes no more calls and its leases have ended, but its end is not confirmed yet; it will be',
    )
  }

  return {
    async call(call, hooks) {
      refuseWhenClosing()
      return await carry(parts, call, hooks)
    },
    awake: (principalId) => !close.signal.aborted && holds.has(principalId),
    async listTools(principalId, source, signal) {
      refuseWhenClosing()
      return await listTools(parts, principalId, source, signal)
    },
    prewarm(principalId, sources) {
      if (close.signal.aborted) return
      const work = warm(principalId, sources)
        .catch((err: unknown) => log.info({ principalId, err }, 'pre-warming a runner failed'))
        .finally(() => background.delete(work))
      background.add(work)
    },
    list: async () => (await viewRunners(store.db)).map(toView),
    find: async (principalId) => (await viewRunners(store.db, principalId)).map(toView)[0],
    stop,
    async [Symbol.asyncDispose]() {
      close.abort()
      const patience = performance.now() + timings.closeGraceMs
      while (holds.active > 0 && performance.now() < patience) await sleep(20)
      if (deps.stopAllOnClose === true) await stopAll()
      ending.abort()
      await rounds.settle()
      await Promise.allSettled(background)
      changes.close()
      await holds.close()
    },
  }

  async function stopAll(): Promise<void> {
    const rows = await listRunners(store.db).catch(() => [])
    for (const row of rows)
      await beginStop(context, row.principalId, 'the service was closed').catch(() => undefined)
    const deadline = performance.now() + timings.stopWaitMs
    while (performance.now() < deadline) {
      rounds.nudge()
      const left = await listRunners(store.db, 'stopping').catch(() => [])
      if (left.length === 0) return
      await sleep(50)
    }
    log.warn({}, 'some sandboxes had not ended when the service closed')
  }
}
