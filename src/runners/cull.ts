import type { PrincipalId } from '../core/index.ts'
import { findRunner, listRunners, moveRunner, type RunnerRow } from '../store/index.ts'
import type { Context } from './options.ts'

/** Stops runners that nobody holds and that were idle, or lived, long enough; each by compare-and-set. */
export async function cullIdle(context: Context): Promise<number> {
  const { store, replica, timings } = context
  let culled = 0
  for (const row of await listRunners(store.db, 'ready')) {
    if (row.holds > 0) continue
    const stop = (cause: string, message: string, limit: { idleMs: number } | { readyMs: number }) =>
      moveRunner(store.db, {
        id: row.id,
        from: 'ready',
        to: 'stopping',
        generation: row.generation,
        replicaId: replica.id,
        cause,
        message,
        ...limit,
      })
    let moved = await stop('idle', `it was idle for ${spell(timings.idleStopMs)}`, {
      idleMs: timings.idleStopMs,
    })
    if (moved === undefined && timings.maxAgeMs !== null) {
      moved = await stop('max_age', `it had run for ${spell(timings.maxAgeMs)}`, {
        readyMs: timings.maxAgeMs,
      })
    }
    if (moved === undefined) continue
    context.changed(row.id)
    culled++
  }
  return culled
}

/**
 * Takes a runner out of service at once, whatever it is doing: the row that is now ending, or `undefined` when
 * there was nothing to end.
 */
export async function beginStop(
  context: Context,
  principalId: PrincipalId,
  cause: string,
): Promise<RunnerRow | undefined> {
  const { store, replica } = context
  for (;;) {
    const row = await findRunner(store.db, { principalId })
    if (row === undefined) return undefined
    if (row.state !== 'starting' && row.state !== 'ready' && row.state !== 'failed' && row.state !== 'lost')
      return row.state === 'stopping' ? row : undefined
    const moved = await moveRunner(store.db, {
      id: row.id,
      from: row.state,
      to: 'stopping',
      generation: row.generation,
      replicaId: replica.id,
      cause: 'stopped',
      message: `it was stopped: ${cause}`,
      set: { wanted: false, failures: 0 },
    })
    if (moved === undefined) continue
    context.changed(moved.id)
    return moved
  }
}

function spell(ms: number): string {
  if (ms >= 2 * 3_600_000) return `${Math.round(ms / 3_600_000)} hours`
  if (ms >= 2 * 60_000) return `${Math.round(ms / 60_000)} min`
  return `${Math.round(ms / 1000)} s`
}
