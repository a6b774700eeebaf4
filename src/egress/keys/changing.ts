import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../core/index.ts'
import {
  egressKeys,
  type HeldKeys,
  liveHolders,
  notify,
  type Store,
  whileChangingKeys,
} from '../../store/index.ts'
import { type KeyFolder, readKeyFolder } from './key-folder.ts'

// What every change of keys goes by, of the sealing key or of the CA.

export interface RotateOptions {
  store: Store
  /** The key folder of this deployment. */
  dir: string
  /** Who asked, for the audit. */
  by: string
  now: number
  /** How long to wait for proxies to take up what is new. */
  waitMs: number
  /** Called before each step with what it does, for people. */
  say: (step: string) => void
}

/** Does `work` as the only one that changes keys; throws `conflict` while somebody else does. */
export async function alone<Result>(store: Store, work: () => Promise<Result>): Promise<Result> {
  const done = await whileChangingKeys(store, async () => ({ result: await work() }))
  if (done !== undefined) return done.result
  throw new AppError(
    'conflict',
    'another `toolcrib keys rotate` runs; wait for it to end, then run this again',
  )
}

/** The folder, when it is the one that the deployment lives by; throws `not_found` or `conflict` when it is not. */
export async function ownFolder({ store, dir }: Pick<RotateOptions, 'store' | 'dir'>): Promise<KeyFolder> {
  const folder = await readKeyFolder(dir)
  const [newest] = await egressKeys(store.db)
  if (newest === undefined) throw noKeys(dir)
  if (folder.sealing.some((key) => key.id === newest.id)) return folder
  throw new AppError(
    'conflict',
    `credentials are sealed to ${newest.id}, which is not in ${dir}; run this where the key is, or copy the newest key folder here first`,
  )
}

/**
 * Waits until `enough` of what each live proxy holds. Throws `conflict` that names those for which it did not come true
 * within `waitMs`; `what` is what they lack.
 */
export async function untilHeld(
  { store, dir, waitMs }: RotateOptions,
  what: string,
  enough: (held: HeldKeys) => boolean,
): Promise<void> {
  const deadline = performance.now() + waitMs
  for (let round = 0; ; round++) {
    // Again now and then: a proxy whose connection to the database was away has not heard it.
    if (round % 10 === 0) await notify(store.db, { kind: 'egress_keys' })
    const lacking = (await liveHolders(store.db)).filter(({ held }) => held === null || !enough(held))
    if (lacking.length === 0) return
    if (performance.now() >= deadline) {
      const who = lacking.map(({ id, host }) => `${id} on ${host}`).join(', ')
      throw new AppError(
        'conflict',
        `not finished: after ${waitMs / 1_000} s ${what} is not in use by ${who}; where that proxy has a key folder of its own copy ${dir} there, then run this again`,
      )
    }
    await sleep(200)
  }
}

export function noKeys(dir: string): AppError {
  return new AppError(
    'not_found',
    `there are no egress keys in use with ${dir}; start \`toolcrib egress\` once`,
  )
}
