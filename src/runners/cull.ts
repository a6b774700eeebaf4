import type { PrincipalId } from '../core/index.ts'
import { drainRunner, findRunner, listRunners, moveRunner, type RunnerRow } from '../store/index.ts'
import type { Context } from './options.ts'

type Life = Pick<RunnerRow, 'id' | 'generation'>

/**
 * Stops runners that nobody holds and that were idle, or lived, long enough; each by compare-and-set. One that was
 * held without a pause until the grace was over drains: its calls end, and the next one gets a new sandbox.
 */
export async function cullIdle(context: Context): Promise<number> {
  let culled = 0
  for (const row of await listRunners(context.store.db, 'ready')) {
    const moved =
      row.holds > 0
        ? await drainAged(context, row)
        : ((await stopIdle(context, row)) ?? (await stopAged(context, row)))
    if (moved === undefined) continue
    context.changed(row.id)
    culled++
  }
  return culled
}

/** After the last hold of a draining runner was given back here; another replica's keeps it. */
export async function stopDrained(context: Context, life: Life): Promise<void> {
  if ((await stopAged(context, life)) !== undefined) context.changed(life.id)
}

async function stopIdle(context: Context, life: Life): Promise<RunnerRow | undefined> {
  const { idleStopMs } = context.timings
  return await stopReady(context, life, {
    cause: 'idle',
    message: `it was idle for ${spell(idleStopMs)}`,
    idleMs: idleStopMs,
  })
}

async function stopAged(context: Context, life: Life): Promise<RunnerRow | undefined> {
  const { maxAgeMs } = context.timings
  if (maxAgeMs === null) return undefined
  return await stopReady(context, life, {
    cause: 'max_age',
    message: `it had run for ${spell(maxAgeMs)}`,
    readyMs: maxAgeMs,
  })
}

async function stopReady(
  { store, replica }: Context,
  life: Life,
  why: { cause: string; message: string } & ({ idleMs: number } | { readyMs: number }),
): Promise<RunnerRow | undefined> {
  return await moveRunner(store.db, {
    id: life.id,
    from: 'ready',
    to: 'stopping',
    generation: life.generation,
    replicaId: replica.id,
    ...why,
  })
}

async function drainAged({ store, replica, timings }: Context, life: Life): Promise<RunnerRow | undefined> {
  const { maxAgeMs, maxAgeGraceMs } = timings
  if (maxAgeMs === null) return undefined
  return await drainRunner(store.db, {
    id: life.id,
    generation: life.generation,
    replicaId: replica.id,
    readyMs: maxAgeMs + maxAgeGraceMs,
    cause: 'max_age',
    message: `it has run for ${spell(maxAgeMs + maxAgeGraceMs)} without a pause`,
  })
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
