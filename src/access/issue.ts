import { AppError, type PrincipalId, type TokenId } from '../core/index.ts'
import {
  appendEvents,
  type Executor,
  findPrincipal,
  findToken,
  insertOrReissueToken,
  lockPrincipal,
  lockToken,
  notify,
  type PrincipalRow,
  requestKeyUsed,
  revokeTokens,
  type Store,
  toolkitSlugs,
} from '../store/index.ts'
import type { Hasher } from './hash.ts'
import { chooseLifetime, type Lifetimes, minLifetimeMs } from './lifetime.ts'
import { composeKey, mintKeyId, mintSecret } from './token.ts'
import type { Access, IssuedToken } from './types.ts'

/** Gives tokens: argon2 first, then one transaction with the row, its event and the notice. */
export function createIssuer(deps: {
  store: Store
  hasher: Hasher
  lifetimes: Lifetimes
}): Pick<Access, 'issue' | 'rotate'> {
  const { db } = deps.store
  return {
    async issue({ principalId, lifetimeMs, toolkit, by, requestKey }) {
      const lifetime = chooseLifetime(lifetimeMs, deps.lifetimes)
      mayHaveTokens(await findPrincipal(db, principalId), principalId)
      if (toolkit !== undefined) await requireToolkit(db, toolkit)
      const fresh = await mint(deps.hasher)
      return await db.transaction().execute(async (trx) => {
        const principal = mayHaveTokens(await lockPrincipal(trx, principalId, 'share'), principalId)
        const row = await insert(trx, fresh, {
          principalId,
          toolkit: toolkit ?? null,
          lifetimeMs: lifetime,
          requestKey: requestKey ?? null,
          replaces: null,
        })
        await recordGiven(trx, row, principalId, by, row.id === fresh.id)
        return issued(fresh, row, principal)
      })
    },

    async rotate({ tokenId, by, requestKey }) {
      const old = await findToken(db, tokenId)
      if (old === undefined) throw new AppError('not_found', `There is no token ${tokenId}.`)
      const { principalId } = old
      const fresh = await mint(deps.hasher)
      return await db.transaction().execute(async (trx) => {
        const principal = mayHaveTokens(await lockPrincipal(trx, principalId, 'share'), principalId)
        const locked = await lockToken(trx, tokenId)
        const again = requestKey !== undefined && (await requestKeyUsed(trx, requestKey))
        if (locked === undefined || (!locked.live && !again)) {
          throw new AppError('conflict', `Token ${tokenId} has ended and cannot be rotated; issue a new one.`)
        }
        const row = await insert(trx, fresh, {
          principalId,
          toolkit: locked.toolkit,
          // As long as the old one was made for, within what is allowed today.
          lifetimeMs: Math.min(
            Math.max(locked.expiresAt.getTime() - locked.issuedAt.getTime(), minLifetimeMs),
            deps.lifetimes.maxLifetimeMs,
          ),
          requestKey: requestKey ?? null,
          replaces: tokenId,
        })
        if (row.id === fresh.id) {
          await revokeTokens(trx, { id: tokenId }, 'rotated')
          await appendEvents(trx, [
            { kind: 'token.revoked', principalId, tokenId, data: { by, cause: 'rotated' } },
            {
              kind: 'token.rotated',
              principalId,
              tokenId: row.id,
              data: { replaces: tokenId, expiresAt: row.expiresAt.toISOString(), by },
            },
          ])
          await notify(trx, { kind: 'token', id: tokenId })
        } else await recordGiven(trx, row, principalId, by, false)
        return issued(fresh, row, principal)
      })
    },
  }
}

async function mint(hasher: Hasher) {
  const secret = mintSecret()
  const id = `tok_${mintKeyId()}` as TokenId
  return { id, secret, ...(await hasher.hash(secret)) }
}
type Fresh = Awaited<ReturnType<typeof mint>>
type Row = { id: TokenId; expiresAt: Date; toolkit: string | null }

async function insert(
  trx: Executor,
  fresh: Fresh,
  token: {
    principalId: PrincipalId
    toolkit: string | null
    lifetimeMs: number
    requestKey: string | null
    replaces: TokenId | null
  },
): Promise<Row> {
  const row = await insertOrReissueToken(trx, {
    id: fresh.id,
    secretHash: fresh.secretHash,
    pepperId: fresh.pepperId,
    ...token,
  })
  if (row !== undefined) return row
  throw new AppError(
    'conflict',
    'This request was already answered with a token that has ended, or that was asked for otherwise. Ask again.',
  )
}

async function recordGiven(trx: Executor, row: Row, principalId: PrincipalId, by: string, made: boolean) {
  const about = { principalId, tokenId: row.id }
  const expiresAt = row.expiresAt.toISOString()
  await appendEvents(trx, [
    made
      ? { kind: 'token.issued', ...about, data: { expiresAt, toolkit: row.toolkit, by } }
      : { kind: 'token.reissued', ...about, data: { by } },
  ])
  await notify(trx, { kind: 'token', id: row.id })
}

function issued(fresh: Fresh, row: Row, principal: PrincipalRow): IssuedToken {
  const token = composeKey('tcb', row.id.slice('tok_'.length), fresh.secret)
  return { id: row.id, token, expiresAt: row.expiresAt, toolkit: row.toolkit, principal }
}

function mayHaveTokens(principal: PrincipalRow | undefined, id: PrincipalId): PrincipalRow {
  if (principal === undefined) throw new AppError('not_found', `There is no principal ${id}.`)
  if (principal.kind !== 'person') {
    throw new AppError('forbidden', `${principal.name} is not a person and cannot have tokens.`)
  }
  if (principal.state !== 'active') {
    throw new AppError(
      'principal_deactivated',
      `${principal.name} is deactivated and gets no token until an admin reactivates them.`,
    )
  }
  return principal
}

async function requireToolkit(db: Executor, toolkit: string): Promise<void> {
  const slugs = await toolkitSlugs(db)
  if (slugs.includes(toolkit)) return
  const known = slugs.length === 0 ? 'none is configured' : `there is ${slugs.join(', ')}`
  throw new AppError('not_found', `There is no toolkit ${JSON.stringify(toolkit.slice(0, 60))}; ${known}.`)
}
