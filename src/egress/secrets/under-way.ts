import { LRUCache } from 'lru-cache'
import type { EgressRule, MintedSpecs } from '../../catalog/index.ts'
import { createTrouble, type Log, type PrincipalId } from '../../core/index.ts'
import { type CredentialRow, credentialsForAny, type Store } from '../../store/index.ts'
import { keepLooking } from '../keep-looking.ts'
import type { Sought } from './live-forms.ts'
import type { Needs } from './needs.ts'
import { createPlaces, type Place } from './places.ts'
import type { Prepared } from './prepared.ts'
import { soughtBeside, soughtIn } from './sought.ts'
import { type Reading, readingOf, type Value, type Values } from './values.ts'

/** What one person's requests to one host by the rules of one source take with them. */
export interface Asking {
  rules: readonly EgressRule[]
  needs: Needs
  minted: MintedSpecs
  principalId: PrincipalId
  /** What was last read of the vault for it, and since when that holds, in milliseconds of `performance.now()`. */
  reading: Reading | undefined
  readAt: number
}

/** The answers under way, and what each of them is searched for. */
export interface UnderWay {
  /** Where such requests go: the same for all sources. */
  place(principalId: PrincipalId, host: string): Place<Asking>
  /** To be called with rows read at `readAt`, before any value is asked for: what is minted from then on is heard of. */
  read(asking: Asking, rows: readonly CredentialRow[], readAt: number): Reading
  /** To be called before a value is sent: what is minted is everybody's who may be shown it. */
  tell(value: Value): void
  /** An answer that began with `found` is being searched until what is returned is called, once. */
  use(place: Place<Asking>, asking: Asking, found: readonly Sought[]): () => void
  /** A credential was set, rotated or removed. */
  changed(): void
  close(): Promise<void>
}

/**
 * What is under way goes by what was read before for two of these at most, five seconds: a notice may be lost, and other
 * proxies mint. What was read since the last look waits for the next one.
 */
const lookEveryMs = 2_500

export function createUnderWay(options: {
  store: Store
  valueOf: Values['valueOf']
  prepared: Prepared
  log: Log
}): UnderWay {
  const { store, valueOf, prepared } = options
  const places = createPlaces<Asking>((sought) => prepared.of(sought))
  // What is told of each token that is minted, by what it is a token for.
  const told = new LRUCache<string, string>({ max: 5_000 })
  const trouble = createTrouble(options.log, {
    fails: 'answers under way could not be searched for what is new',
    lasts: 'answers under way still cannot be searched for what is new',
    over: 'answers under way are searched for what is new again',
  })
  const looks = keepLooking({ look, everyMs: lookEveryMs })
  let changedAt = Number.NEGATIVE_INFINITY

  async function look(): Promise<boolean> {
    prepared.forgetUnused()
    const readAt = performance.now()
    const due = places
      .all()
      .flatMap((place) =>
        place.underWay
          .filter((asking) => asking.readAt <= changedAt || readAt - asking.readAt >= lookEveryMs)
          .map((asking) => ({ place, asking })),
      )
    if (due.length === 0) return true
    try {
      const names = [...new Set(due.flatMap(({ asking }) => asking.needs.names))]
      const principalIds = [...new Set(due.map(({ asking }) => asking.principalId))]
      const rows = await credentialsForAny(store.db, { names, principalIds })
      const outcomes = await Promise.allSettled(
        due.map(async ({ place, asking }) => await lookAgain(place, asking, rows, readAt)),
      )
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
      trouble.over('look')
      return true
    } catch (err) {
      trouble.happened('look', err)
      return false
    }
  }

  async function lookAgain(
    place: Place<Asking>,
    asking: Asking,
    rows: readonly CredentialRow[],
    readAt: number,
  ): Promise<void> {
    const { needs, principalId, minted } = asking
    const own = rows.filter(
      ({ name, scope, scopeId }) =>
        needs.names.includes(name) && (scope === 'global' || scopeId === principalId),
    )
    const reading = readingOf(needs, minted, own, principalId)
    asking.reading = reading
    for (const binding of needs.atHost) {
      const value = await valueOf(binding.credential, reading, false)
      if (typeof value === 'object') place.forms.insist([soughtIn(binding, value)])
    }
    for (const credential of needs.alongside) {
      const value = await valueOf(credential, reading, false)
      if (typeof value === 'object') place.forms.insist([soughtBeside(credential, value)])
    }
    asking.readAt = Math.max(asking.readAt, readAt)
  }

  return {
    place: (principalId, host) => places.at(`${principalId} ${host}`),
    read(asking, rows, readAt) {
      if (asking.reading?.rows !== rows) {
        asking.reading = readingOf(asking.needs, asking.minted, rows, asking.principalId)
        asking.readAt = readAt
      }
      return asking.reading
    },
    tell(value) {
      const { token } = value
      if (token === undefined || told.get(token.tokenId) === value.key) return
      told.set(token.tokenId, value.key)
      for (const place of places.all())
        for (const { needs, reading } of place.asked) {
          const isIt = (name: string) => reading?.orders.get(name)?.tokenId === token.tokenId
          place.forms.insist([
            ...needs.atHost
              .filter(({ credential }) => isIt(credential))
              .map((binding) => soughtIn(binding, value)),
            ...needs.alongside.filter(isIt).map((credential) => soughtBeside(credential, value)),
          ])
        }
    },
    use(place, asking, found) {
      const release = place.use(asking, found)
      if (asking.readAt <= changedAt) looks.nudge()
      return release
    },
    changed() {
      changedAt = performance.now()
      looks.nudge()
    },
    close: () => looks.stop(),
  }
}
