import { newId } from '../core/index.ts'
import { type Fence, type RunnerRow, raiseGeneration } from '../store/index.ts'
import type { SandboxFacts } from './driver.ts'
import type { Context } from './options.ts'
import { failStart } from './start-failure.ts'

/** The name is held by another sandbox: one of ours from before is ended; anything else is left alone. */
export async function clearName(
  context: Context,
  row: RunnerRow,
  fence: Fence,
  facts: SandboxFacts,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { driver, store, timings, log } = context
  const ours = (await driver.list(signal)).some((one) => one.name === row.name && one.uid === facts.uid)
  if (!ours) {
    return await failStart(
      context,
      row,
      fence,
      {
        cause: 'name_conflict',
        message: `something that is not ours has the name ${row.name}; it was left alone; an admin must remove it`,
        fatal: true,
      },
      signal,
    )
  }
  if (facts.generation >= row.generation) {
    // The database is older than the sandbox, as after a restored backup. Its leases may be unknown here: replace it.
    log.error(
      { runner: row.name, row: row.generation, sandbox: facts.generation },
      'sandbox is newer than its row',
    )
    const next = { generation: facts.generation + 1, sandboxUid: newId('sbx') }
    if (!(await raiseGeneration(store.db, row.id, fence, next))) return undefined
  }
  await driver.delete(row.name, facts.uid, timings.stopGraceMs, signal)
  return 0
}
