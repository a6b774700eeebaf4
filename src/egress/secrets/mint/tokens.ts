import { LRUCache } from 'lru-cache'
import { type Log, type Secret, sha256 } from '../../../core/index.ts'
import {
  egressKeys,
  retireMintedToken,
  type SearchableToken,
  type Store,
  searchableTokens,
} from '../../../store/index.ts'
import { type OpeningKey, open, sealTo } from '../../../vault/index.ts'
import { hourMs, refusableAfter } from './lifetime.ts'
import type { SoughtToken } from './recipe.ts'

/** A minted token, opened. Times are of `performance.now()`. */
export interface HeldToken {
  /** Names what it is a token for; `sealed` names this very one, and `name` too, in few letters. */
  id: string
  secret: Secret
  sealed: string
  name: string
  mintedAt: number
  /** Renewed from then on, before it really ends. */
  freshUntil: number
  endsAt: number
}

/** What there is of one id. */
export interface HeldTokens {
  /** The one to hand out; undefined when it must be minted. */
  fresh: HeldToken | undefined
  /** Every one that is made from the same and has not ended: an upstream may still echo it, whoever minted it. */
  all: readonly HeldToken[]
}

export interface MintedTokens {
  /** From memory alone; undefined when the database was last asked more than `maxAgeMs` ago. */
  held(id: string): HeldTokens | undefined
  /** From the database, which other proxies write too. Throws when it cannot be asked. */
  find(sought: SoughtToken): Promise<HeldTokens>
  /** As `find`, with a look that is under way already: enough to search by, not to mint by. */
  search(sought: SoughtToken): Promise<HeldTokens>
  /** One that was minted here and is kept: it is the fresh one. */
  hold(token: Omit<HeldToken, 'name'>): HeldTokens & { fresh: HeldToken }
  /**
   * An upstream refused the token that was sealed so: it is not handed out again, from now on by this proxy, in a
   * moment by all. Nothing when it is younger than `refusableAfter`: then it is not the token that is wrong.
   */
  rejected(sealed: string): void
  /** What was read of the database is older than it seems, as after this machine slept. */
  invalidate(): void
}

/** What a stored token is bound to: it opens as this token of this name and as nothing else. */
export function tokenContext(id: string, keyId: string) {
  return { keyId, name: 'minted', scope: 'token', scopeId: id }
}

/** Seals to the newest published key, as gateways do, for a row that `contextOf` names. */
export async function sealToNewest(
  store: Store,
  secret: Secret,
  contextOf: (keyId: string) => Parameters<typeof sealTo>[2],
): Promise<{ keyId: string; sealed: string }> {
  const [key] = await egressKeys(store.db)
  if (key === undefined) throw new Error('there is no key to seal to')
  return { keyId: key.id, sealed: await sealTo(key.publicKey, secret, contextOf(key.id)) }
}

export function createMintedTokens(options: {
  store: Store
  opening: ReadonlyMap<string, OpeningKey>
  maxAgeMs: number
  log: Log
}): MintedTokens {
  const { store, opening, maxAgeMs, log } = options
  const known = new LRUCache<string, { lookedAt: number; all: readonly HeldToken[] }>({ max: 5_000 })
  // By the sealed text: each is opened once.
  const opened = new LRUCache<string, HeldToken | 'unreadable'>({ max: 10_000 })
  const told = new LRUCache<string, true>({ max: 10_000 })
  const refused = new LRUCache<string, true>({ max: 10_000 })
  const looks = new Map<string, Promise<HeldTokens>>()
  let invalidatedAt = Number.NEGATIVE_INFINITY

  const view = (id: string, tokens: readonly HeldToken[]): HeldTokens => {
    const now = performance.now()
    const all = tokens.filter(({ endsAt }) => endsAt > now)
    const isFresh = (token: HeldToken) =>
      token.id === id && token.freshUntil > now && !refused.has(token.sealed)
    return { fresh: all.find(isFresh), all }
  }

  const openRow = async (row: SearchableToken): Promise<HeldToken | undefined> => {
    const { id, keyId, sealed } = row
    const before = opened.get(sealed)
    const key = opening.get(keyId)
    if (before === 'unreadable') return undefined
    if (before === undefined && key === undefined) {
      // The key may yet come, so the next look tries again.
      if (!told.has(sealed))
        log.warn({ keyId }, 'the key of a minted token is not here: it is not searched for')
      told.set(sealed, true)
      return undefined
    }
    try {
      const secret = before?.secret ?? (key && (await open(key, sealed, tokenContext(id, keyId))))
      if (secret === undefined) return undefined
      const now = performance.now()
      const times = { mintedAt: now - row.ageMs, freshUntil: now + row.freshMs, endsAt: now + row.endsMs }
      const token = { id, secret, sealed, name: before?.name ?? sha256(sealed), ...times }
      opened.set(sealed, token)
      return token
    } catch (err) {
      opened.set(sealed, 'unreadable')
      log.warn({ err }, 'a minted token does not open: it is not searched for')
      return undefined
    }
  }

  const find: MintedTokens['find'] = async (sought) => {
    const { id } = sought
    const lookedAt = performance.now()
    const read = await Promise.all((await searchableTokens(store.db, sought)).map(openRow))
    const found = read.filter((token) => token !== undefined)
    // What was minted while the database was asked may not be among what it said.
    const since = (known.get(id)?.all ?? []).filter(
      ({ mintedAt, sealed }) => mintedAt > lookedAt && !found.some((token) => token.sealed === sealed),
    )
    const all = [...since, ...found]
    known.set(id, { lookedAt, all })
    return view(id, all)
  }

  return {
    find,
    held(id) {
      const entry = known.get(id)
      return entry !== undefined &&
        entry.lookedAt > invalidatedAt &&
        performance.now() - entry.lookedAt < maxAgeMs
        ? view(id, entry.all)
        : undefined
    },
    search(sought) {
      const { id } = sought
      let look = looks.get(id)
      if (look === undefined) {
        look = find(sought).finally(() => {
          if (looks.get(id) === look) looks.delete(id)
        })
        looks.set(id, look)
      }
      return look
    },
    hold(minted) {
      const token = { ...minted, name: sha256(minted.sealed) }
      const before = known.get(token.id)
      const all = [token, ...(before?.all ?? [])]
      opened.set(token.sealed, token)
      known.set(token.id, { lookedAt: before?.lookedAt ?? Number.NEGATIVE_INFINITY, all })
      return { fresh: token, all }
    },
    rejected(sealed) {
      const token = opened.get(sealed)
      if (token === undefined || token === 'unreadable') return
      const agoMs = ({ mintedAt }: HeldToken) => performance.now() - mintedAt
      const lately = known.get(token.id)?.all.filter((each) => each.id === token.id && agoMs(each) < hourMs)
      if (refused.has(sealed) || agoMs(token) < refusableAfter(lately?.length ?? 1)) return
      refused.set(sealed, true)
      retireMintedToken(store.db, token.id, sealed).catch((err: unknown) =>
        log.warn({ err }, 'other proxies could not be told of a refused token'),
      )
    },
    invalidate() {
      invalidatedAt = performance.now()
      looks.clear()
    },
  }
}
