import { createTrouble, type Log, type ReplicaId } from '../../core/index.ts'
import { beat, type EgressCaRow, egressCas, leaveReplicas, type Store } from '../../store/index.ts'
import type { Leaves } from './certificates.ts'
import { createClockWatch } from './clock-watch.ts'
import type { EgressKeys } from './keys.ts'

export interface Announcer {
  /**
   * Reads the folder and the database again, signs with the CA that they name, and tells all that in this proxy's
   * row, with how far this machine's clock was from the database's the last time. What cannot be read leaves in use
   * what is at hand. Rejects when the row cannot be written. What fails is told in the log, once and as long as it
   * lasts, and so is that it works again.
   */
  announce(): Promise<void>
  /**
   * Says in the row that this proxy is gone, after what is being told already, so that nobody waits for it. From
   * then on nothing is announced. Rejects when the row cannot be written.
   */
  leave(): Promise<void>
}

/** Which of the CAs to sign with: the newest that may and is here, else the newest that is here. */
export function signingCa(trusted: readonly EgressCaRow[], held: ReadonlyMap<string, unknown>): string {
  const signs = trusted.find((ca) => ca.signsSince !== null && held.has(ca.id))
  return signs?.id ?? [...held.keys()].at(-1) ?? ''
}

/** Keeps this proxy at the keys that the folder has and at the CA that the database names. */
export function createAnnouncer(options: {
  store: Store
  keys: EgressKeys
  leaves: Pick<Leaves, 'signWith'>
  signs: string
  replica: { id: ReplicaId; kind: 'egress'; host: string }
  now: () => number
  log: Log
}): Announcer {
  const { store, keys, replica, now, log } = options
  const clock = createClockWatch({ wall: now, log })
  let { signs } = options
  const trouble = createTrouble(log, {
    fails: 'keys cannot be read or told of; those at hand stay in use',
    lasts: 'keys still cannot be read or told of; others may take this proxy for dead',
    over: 'keys are read and told of again',
  })
  let announcing = Promise.resolve()
  let left = false

  async function refresh(): Promise<void> {
    try {
      await keys.reload(now())
      const next = signingCa(await egressCas(store.db), keys.authorities)
      const authority = keys.authorities.get(next)
      trouble.over('keys')
      if (authority === undefined || next === signs) return
      options.leaves.signWith(authority)
      signs = next
      log.info({ caId: signs }, 'leaves are signed under another CA')
    } catch (err) {
      trouble.happened('keys', err)
    }
  }

  async function announceOnce(): Promise<void> {
    await refresh()
    const held = { opens: [...keys.opening.keys()], cas: [...keys.authorities.keys()], signs }
    try {
      await clock.compare(() => beat(store.db, { ...replica, held, clockAheadMs: clock.aheadMs }))
      trouble.over('heartbeat')
    } catch (err) {
      trouble.happened('heartbeat', err)
      throw err
    }
  }

  /** One after the other: what an earlier one found must not be written over what a later one did. */
  function inTurn(step: () => Promise<void>): Promise<void> {
    announcing = announcing.catch(() => undefined).then(step)
    return announcing
  }

  return {
    announce() {
      if (left) return Promise.resolve()
      return inTurn(announceOnce)
    },
    leave() {
      left = true
      return inTurn(() => leaveReplicas(store.db, replica.id))
    },
  }
}
