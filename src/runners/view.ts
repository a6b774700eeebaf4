import type { RunnerRow } from '../store/index.ts'
import type { Isolation } from './driver.ts'
import type { RunnerView } from './types.ts'

/** A row as people see it: every state comes with its reason. */
export function toView(row: RunnerRow & { principalName: string }): RunnerView {
  return {
    id: row.id,
    principalId: row.principalId,
    principalName: row.principalName,
    state: row.state,
    phase: row.phase,
    generation: row.generation,
    // Written by `moveRunner` from a driver's own `isolation`.
    isolation: row.isolation as Isolation | null,
    holds: row.holds,
    lastActivityAt: row.lastActivityAt,
    stateSince: row.stateSince,
    message: explain(row),
  }
}

function explain(row: RunnerRow): string | null {
  switch (row.state) {
    case 'stopped':
      return row.generation === 0 ? 'it was never started; the first call starts it' : row.message
    case 'starting':
      return (
        row.message ?? (row.phase === 'booting' ? 'its toolhost is booting' : 'its sandbox is being made')
      )
    case 'failed':
      return `it could not be started: ${row.message ?? 'no reason known'}`
    case 'ready':
    case 'lost':
    case 'stopping':
    case 'deleting':
    case 'deleted':
      return row.message
  }
}
