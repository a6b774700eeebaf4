import { createTrouble } from '../core/index.ts'
import { findRunner, listRunners, reapHolds } from '../store/index.ts'
import { cullIdle } from './cull.ts'
import { checkReady } from './facts.ts'
import type { Holds } from './holds.ts'
import type { Context } from './options.ts'
import { Pulse } from './pulse.ts'
import type { Reconciler } from './reconciler.ts'
import { Sweep } from './sweep.ts'

/** Everything that happens by the clock or by a hint of the driver, each in a loop of its own until closing. */
export function startRounds(
  context: Context,
  holds: Holds,
  reconciler: Reconciler,
): { nudge: () => void; settle(): Promise<void> } {
  const { store, driver, timings, log, closing } = context
  const trouble = createTrouble(log, {
    fails: 'a round of the runners failed; nothing was decided',
    lasts: 'rounds of the runners still fail; nothing is decided',
    over: 'the rounds of the runners work again',
  })
  const sweep = new Sweep(context)
  const pulse = new Pulse(context, () => nudge())
  let wake: (() => void) | undefined
  let nudged = false
  const nudge = () => {
    nudged = true
    wake?.()
  }

  /** Runs `round` now and every `ms`; a nudge cuts the first loop's wait short. Failures are logged, never fatal. */
  const loop = async (name: string, ms: number, round: () => Promise<unknown>, isNudged = false) => {
    while (!closing.aborted) {
      if (isNudged) nudged = false
      try {
        await round()
        trouble.over(name)
      } catch (err) {
        if (!closing.aborted) trouble.happened(name, err)
      }
      if (isNudged && nudged) continue
      await pause(ms, closing, (end) => {
        if (isNudged) wake = end
      })
    }
  }

  /** Names being looked at; true when another change came meanwhile. */
  const looks = new Map<string, boolean>()
  const lookAgain = async (name: string) => {
    const row = await findRunner(store.db, { name })
    if (row?.state === 'ready' && row.sandboxUid !== null) {
      await checkReady(context, { ...row, sandboxUid: row.sandboxUid }, closing)
    }
    if (row?.state === 'lost' || row?.state === 'ready') nudge()
  }
  const heard = (name: string) => {
    context.sandboxes.wake(name)
    if (closing.aborted) return
    if (looks.has(name)) {
      looks.set(name, true)
      return
    }
    looks.set(name, false)
    lookAgain(name)
      .catch((err: unknown) => log.warn({ runner: name, err }, 'a changed sandbox cannot be looked at'))
      .finally(() => {
        const again = looks.get(name)
        looks.delete(name)
        if (again === true) heard(name)
      })
  }
  const watching = driver.watch(heard)

  const loops = [
    loop('claim', timings.tickMs, () => reconciler.claim(nudge), true),
    loop('compare', timings.tickMs, () => holds.compare()),
    loop('relist', timings.relistMs, () => relist(context)),
    loop('pulse', timings.healthEveryMs, () => pulse.round()),
    loop('cull', timings.cullMs, async () => {
      if ((await cullIdle(context)) > 0) nudge()
    }),
    loop('reap', Math.min(timings.cullMs, timings.reapAfterSeconds * 250), () =>
      reapHolds(store.db, timings.reapAfterSeconds),
    ),
    loop('sweep', timings.sweepMs, () => sweep.run(closing)),
  ]

  return {
    nudge,
    async settle() {
      await Promise.allSettled(loops)
      await pulse.settle()
      await reconciler.settle()
      await watching[Symbol.asyncDispose]()
    },
  }
}

/** Every ready runner that the list does not show alive is looked at directly; the list alone decides nothing. */
async function relist(context: Context): Promise<void> {
  const { driver, store, closing } = context
  const rows = await listRunners(store.db, 'ready')
  if (rows.length === 0) return
  const seen = new Map((await driver.list(closing)).map((facts) => [facts.name, facts]))
  for (const row of rows) {
    const facts = seen.get(row.name)
    if (facts?.uid === row.sandboxUid && facts.phase === 'running') continue
    if (row.sandboxUid !== null) await checkReady(context, { ...row, sandboxUid: row.sandboxUid }, closing)
  }
}

function pause(ms: number, closing: AbortSignal, expose: (end: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      closing.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    closing.addEventListener('abort', end)
    expose(end)
    if (closing.aborted) end()
  })
}
