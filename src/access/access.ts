import { type Clock, type Log, newId, systemClock } from '../core/index.ts'
import {
  appendEvents,
  endedTokens,
  findPrincipal,
  findPrincipalBySlack,
  findToken,
  listPrincipals,
  listTokens,
  type Store,
  upsertPerson,
} from '../store/index.ts'
import { createBackground } from './background.ts'
import { createEnding } from './end.ts'
import { createGate } from './gate.ts'
import { createHasher, type Pepper } from './hash.ts'
import { createIssuer } from './issue.ts'
import { checkLifetimes } from './lifetime.ts'
import type { Access } from './types.ts'
import { createVerifier } from './verify.ts'

export interface AccessOptions {
  store: Store
  /** The first makes new hashes, the others still verify. */
  peppers: readonly Pepper[]
  maxLifetimeMs: number
  /** 7 days when left out, or the maximum when that is less. */
  defaultLifetimeMs?: number
  log: Log
  /** For the limits in memory only; whether a token has expired is told by the database's clock. */
  clock?: Clock
}

const week = 7 * 86_400_000

/** Disposing waits for what is written in the background; the store stays open. */
export function createAccess(options: AccessOptions): Access & AsyncDisposable {
  const { store, log, clock = systemClock } = options
  const { db } = store
  const lifetimes = {
    maxLifetimeMs: options.maxLifetimeMs,
    defaultLifetimeMs: options.defaultLifetimeMs ?? Math.min(week, options.maxLifetimeMs),
  }
  checkLifetimes(lifetimes)
  // Two of the four threads that DNS and files also need; the queue is longer than any honest morning.
  const hasher = createHasher(options.peppers, createGate({ running: 2, waiting: 1_000 }))
  const background = createBackground(log)

  return {
    ...createIssuer({ store, hasher, lifetimes }),
    ...createEnding({ store }),
    ...createVerifier({ store, hasher, background, log, clock }),

    async ensurePrincipal({ slackTeam, slackUser, name }) {
      const known = await findPrincipalBySlack(db, slackTeam, slackUser)
      if (known?.name === name) return known
      return await db.transaction().execute(async (trx) => {
        const person = { id: newId('prn'), slackTeam, slackUser, name }
        const { principal, created } = await upsertPerson(trx, person)
        if (created) {
          await appendEvents(trx, [
            { kind: 'principal.created', principalId: principal.id, data: { name, slackTeam, slackUser } },
          ])
        }
        return principal
      })
    },
    findPrincipal: (id) => findPrincipal(db, id),
    findBySlack: (slackTeam, slackUser) => findPrincipalBySlack(db, slackTeam, slackUser),
    listPrincipals: () => listPrincipals(db),
    list: (filter) => listTokens(db, filter),
    findToken: (id) => findToken(db, id),
    ended: async (ids) => (ids.length === 0 ? [] : await endedTokens(store.pool, ids)),
    [Symbol.asyncDispose]: () => background[Symbol.asyncDispose](),
  }
}
