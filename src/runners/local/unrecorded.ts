import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../core/index.ts'
import { layoutOf } from './layout.ts'
import { processTable, signalProcess, supervisors } from './processes.ts'

/** After KILL, everything is gone within milliseconds, unless a process hangs in the kernel. */
const patienceMs = 10_000

/**
 * Ends every sandbox that was made with this `stateDir`, also those whose records and locks were removed with it: by
 * what their supervisors have in their command lines. For whoever is sure that nobody else works with that folder.
 */
export async function endUnrecorded(stateDir: string): Promise<void> {
  const { marker } = layoutOf(stateDir)
  for (const deadline = Date.now() + patienceMs; ; await sleep(5)) {
    const left = supervisors(await processTable(), (words) => words.some((word) => word.startsWith(marker)))
    if (left.length === 0) return
    if (Date.now() > deadline)
      throw new AppError('runner_failed', `${left.length} processes of sandboxes of ${stateDir} do not end.`)
    for (const each of left) await signalProcess(each, 'SIGKILL')
  }
}
