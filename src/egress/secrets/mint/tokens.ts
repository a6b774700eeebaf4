import { LRUCache } from 'lru-cache'
import type { Log, Secret } from '../../../core/index.ts'
import { dropMintedToken, egressKeys, freshToken, type Store } from '../../../store/index.ts'
import { type OpeningKey, open, sealTo } from '../../../vault/index.ts'

/** A minted token as it is handed out. `former`: the one before it, which an upstream may still echo. */
export interface HeldToken {
  secret: Secret
  former: Secret | undefined
  sealed: string
  mintedAt: number
  /** In `performance.now()`; renewed before it really ends. */
  freshUntil: number
}

export interface MintedTokens {
  /** From memory alone. */
  held(id: string): HeldToken | undefined
  /** From memory or the database; undefined when it must be minted. Throws when the database cannot be asked. */
  find(id: string): Promise<HeldToken | undefined>
  hold(id: string, token: Omit<HeldToken, 'former'>): HeldToken
  /** An upstream refused it: another is minted for the next request, at most every half minute. */
  rejected(id: string): void
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

const rejectedAfterMs = 30_000

export function createMintedTokens(options: {
  store: Store
  opening: ReadonlyMap<string, OpeningKey>
  log: Log
}): MintedTokens {
  const { store, opening, log } = options
  const known = new LRUCache<string, HeldToken>({ max: 5_000 })

  const held = (id: string) => {
    const token = known.get(id)
    return token !== undefined && token.freshUntil > performance.now() ? token : undefined
  }
  const hold: MintedTokens['hold'] = (id, token) => {
    const before = known.get(id)
    const former = before?.sealed === token.sealed ? before.former : before?.secret
    const kept = { ...token, former }
    known.set(id, kept)
    return kept
  }

  return {
    held,
    hold,
    async find(id) {
      const here = held(id)
      if (here !== undefined) return here
      const row = await freshToken(store.db, id)
      const key = row === undefined ? undefined : opening.get(row.keyId)
      if (row === undefined || key === undefined) return undefined
      const secret = await open(key, row.sealed, tokenContext(id, row.keyId)).catch((err: unknown) => {
        log.warn({ err }, 'a minted token does not open, another is minted')
        return undefined
      })
      if (secret === undefined) return undefined
      const now = performance.now()
      return hold(id, {
        secret,
        sealed: row.sealed,
        mintedAt: now - row.ageMs,
        freshUntil: now + row.freshMs,
      })
    },
    rejected(id) {
      const token = known.get(id)
      if (token === undefined || performance.now() - token.mintedAt < rejectedAfterMs) return
      known.set(id, { ...token, freshUntil: 0 })
      dropMintedToken(store.db, id, token.sealed).catch((err: unknown) =>
        log.warn({ err }, 'a refused token could not be forgotten'),
      )
    },
  }
}
