import { setTimeout as sleep } from 'node:timers/promises'
import { createTrouble, type Log, type PrincipalId, type Secret } from '../../../core/index.ts'
import {
  appendEvents,
  closeMintClaim,
  demandEgressKey,
  type MintClaim,
  putMintedToken,
  releaseMintClaim,
  rotateCredential,
  type Store,
} from '../../../store/index.ts'
import { tokenEndpoint } from './endpoint.ts'
import { type Lifetime, renewAfter } from './lifetime.ts'
import { type MintOrder, ownerOf, type SoughtToken } from './recipe.ts'
import { type MintedTokens, sealToNewest, tokenContext } from './tokens.ts'

/** Why there is no token; `docs/reference/egress-denials.md` explains each. */
export type MintFailure = 'mint_unavailable' | 'mint_refused' | 'mint_uncertain' | 'credential_unreadable'

export interface MintFailed {
  reason: MintFailure
  /** Of the server or the connection: a code, never its text. */
  code: string
  /** What becomes of the claim: `release` lets the next request try again. */
  after: 'release' | 'uncertain' | 'refused'
  /** The one to ask with from now on; it is kept, as `minted` keeps it, when the claim is released. */
  refreshToken?: Secret | undefined
  clockOffSeconds?: number | undefined
}

/** Writes down what came of a claim. Each tries for `patienceMs` while the database cannot be asked; none rejects. */
export interface Settlement {
  /**
   * Keeps the token, and in the same transaction a rotated refresh token in place of the spent one; only then may
   * either be used. Undefined when it could not, or an admin has set another credential.
   */
  minted(
    sought: SoughtToken,
    order: MintOrder,
    claim: MintClaim,
    answer: {
      token: Secret
      lifetime: Lifetime
      refreshToken: Secret | undefined
      clockOffSeconds?: number | undefined
    },
  ): Promise<ReturnType<MintedTokens['hold']> | undefined>
  failed(order: MintOrder, claim: MintClaim, failure: MintFailed): Promise<void>
  release(claim: MintClaim): Promise<void>
}

export function createSettlement(options: {
  store: Store
  tokens: Pick<MintedTokens, 'hold'>
  patienceMs: number
  log: Log
}): Settlement {
  const { store, log } = options
  const trouble = createTrouble(log, {
    fails: 'what came of minting cannot be written',
    lasts: 'what came of minting still cannot be written',
    over: 'what came of minting can be written again',
  })

  /** What is known is lost with the claim: a moment without the database must not make it uncertain. */
  const insist = async <T>(what: object, write: () => Promise<T>): Promise<T | undefined> => {
    const since = performance.now()
    for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
      try {
        const written = await write()
        trouble.over('outcomes')
        return written
      } catch (err) {
        trouble.happened('outcomes', err)
        if (performance.now() - since > options.patienceMs) {
          log.error({ ...what }, 'what came of minting was not written: the claim is left to run out')
          return undefined
        }
        await sleep(pauseMs)
      }
    }
  }

  /** What takes the place of the refresh token that was spent; undefined where none was, or no other was given. */
  const sealRotated = async ({ spec, rows: [row] }: MintOrder, refreshToken: Secret | undefined) =>
    spec.kind !== 'oauth_refresh_token' || refreshToken === undefined
      ? undefined
      : { ...row, ...(await sealToNewest(store, refreshToken, (keyId) => ({ ...row, keyId }))) }

  return {
    async minted(sought, order, claim, answer) {
      const { usedMs, searchedMs } = answer.lifetime
      const renewMs = renewAfter(answer.lifetime)
      const since = performance.now()
      // Sealed anew for each attempt: the key may have been retired between two of them.
      const write = async () => {
        const token = await sealToNewest(store, answer.token, (keyId) => tokenContext(sought.id, keyId))
        const rotated = await sealRotated(order, answer.refreshToken)
        return await store.db.transaction().execute(async (tx) => {
          await demandEgressKey(tx, token.keyId)
          if (!(await releaseMintClaim(tx, claim))) return undefined
          if (rotated !== undefined && !(await rotateCredential(tx, rotated))) return undefined
          // It grows old while it is not written; to be searched for longer does no harm.
          const leftMs = renewMs - (performance.now() - since)
          await putMintedToken(tx, { ...sought, ...token, renewMs: leftMs, searchedMs })
          await appendEvents(tx, [
            {
              kind: 'credential.minted',
              ...whose(order),
              data: {
                ...factsOf(order),
                expiresInSeconds: Math.round(usedMs / 1_000),
                rotated: rotated !== undefined,
                ...clockOf(answer),
              },
            },
          ])
          return { sealed: token.sealed, rotated: rotated !== undefined }
        })
      }
      const kept = await insist({ credential: order.name }, write)
      if (kept === undefined) return undefined
      const { sealed, rotated } = kept
      log.info({ credential: order.name, rotated }, 'token minted')
      const now = performance.now()
      const times = { mintedAt: now, freshUntil: since + renewMs, endsAt: now + searchedMs }
      return options.tokens.hold({ id: sought.id, secret: answer.token, sealed, ...times })
    },

    async failed(order, claim, { reason, code, after, refreshToken, ...clock }) {
      const write = async () => {
        const rotated = after === 'release' ? await sealRotated(order, refreshToken) : undefined
        await store.db.transaction().execute(async (tx) => {
          if (after === 'release') {
            const ours = await releaseMintClaim(tx, claim)
            if (ours && rotated !== undefined) await rotateCredential(tx, rotated)
          } else await closeMintClaim(tx, claim, after)
          await appendEvents(tx, [
            {
              kind: 'credential.mint_failed',
              ...whose(order),
              data: { ...factsOf(order), reason, code, ...clockOf(clock) },
            },
          ])
        })
      }
      await insist({ credential: order.name }, write)
    },

    async release(claim) {
      await insist({ claim: claim.id }, async () => await releaseMintClaim(store.db, claim))
    },
  }
}

function factsOf({ name, spec, rows }: MintOrder) {
  const { host, port } = tokenEndpoint(spec)
  return { credential: name, from: rows.map((row) => row.name), kind: spec.kind, host, port }
}

function whose(order: MintOrder): { principalId?: PrincipalId } {
  const principalId = ownerOf(order)
  return principalId === undefined ? {} : { principalId }
}

function clockOf({ clockOffSeconds }: { clockOffSeconds?: number | undefined }) {
  return clockOffSeconds === undefined ? {} : { clockOffSeconds }
}
