import { AppError, type Clock, type TokenId } from '../core/index.ts'
import { createBuckets } from './buckets.ts'

interface Who {
  /** The limited address (address.ts). */
  address: string
  id: TokenId
  /** The address is in the network where this token was last used. */
  atHome: boolean
}

export interface Limits {
  /** Before a token that this process never saw costs a database query. */
  checkLookUp(address: string): void
  /** Counts a look-up that found no such token; `rate_limited` once there were too many. */
  noSuchToken(address: string): AppError | undefined
  /** Before a secret that this process never saw costs an argon2. */
  checkProof(who: Who): void
  /** Counts a wrong secret. */
  failed(who: Who): void
}

/**
 * How often wrong tokens may be tried. Guessing 256 bits is hopeless at any rate; what is guarded here is the CPU,
 * the database and the audit log, and it must not become a way to lock people out. So:
 *
 * - A token already proven in this process passes by all limits: nothing that others send can stop it.
 * - By token id: 10 wrong secrets, then 10 a minute. The network where the token was last used has a bucket of its
 *   own, so that strangers who learnt an id (ids are no secrets) cannot keep its owner from a fresh replica.
 * - By address: 20 wrong tokens, then 20 a minute. When that is used up, ids that nobody failed at are still
 *   tried: a colleague behind the same address, whose token this replica has not seen yet, gets in.
 * - By address: 600 look-ups, then 600 a minute, whatever they find.
 *
 * What remains: whoever floods from the very address of a person, or guesses at that person's id from their
 * network, delays the first request of that person on a replica that never saw their token.
 */
export function createLimits(clock: Clock): Limits {
  const lookUps = createBuckets({ burst: 600, perMinute: 600 }, clock)
  const addresses = createBuckets({ burst: 20, perMinute: 20 }, clock)
  const ids = createBuckets({ burst: 10, perMinute: 10 }, clock)
  const idKey = (who: Who) => (who.atHome ? `${who.id} at home` : who.id)
  return {
    checkLookUp(address) {
      if (lookUps.empty(address)) throw tooMany()
      lookUps.take(address)
    },
    noSuchToken(address) {
      const exhausted = addresses.empty(address)
      addresses.take(address)
      return exhausted ? tooMany() : undefined
    },
    checkProof(who) {
      if (ids.empty(idKey(who))) throw tooMany()
      if (addresses.empty(who.address) && !ids.full(idKey(who))) throw tooMany()
    },
    failed(who) {
      ids.take(idKey(who))
      addresses.take(who.address)
    },
  }
}

function tooMany(): AppError {
  return new AppError(
    'rate_limited',
    'Too many wrong tokens came from here, or for this token. Wait a minute, then try again with the right one.',
  )
}
