import { LRUCache } from 'lru-cache'
import { AppError, type Clock, type ErrorCode, type Log, Secret, type TokenId } from '../core/index.ts'
import { readTokenState, type Store, type TokenState, touchToken } from '../store/index.ts'
import { coarseAddress, limitedAddress } from './address.ts'
import type { Background } from './background.ts'
import type { Hasher } from './hash.ts'
import { createKnownKeys } from './known.ts'
import { createLimits } from './limits.ts'
import { createRefusals } from './refusals.ts'
import { keyLength, parseKey } from './token.ts'
import type { Access, Caller } from './types.ts'

interface From {
  address: string
  client: string | null
}

const newOne = 'ask for a new one with /mcp-token in Slack'

/**
 * Who sends a bearer text. One database round trip of every `verify` reads the row as it is now, so that what
 * ended anywhere is refused here on the next request; argon2 only runs the first time that this process meets a
 * token (or its reissued secret), once for however many requests came with it.
 *
 * What a row says about itself (expired, revoked, deactivated) is told only to who proved to hold the secret;
 * everybody else hears the same `token_unknown`.
 */
export function createVerifier(deps: {
  store: Store
  hasher: Hasher
  background: Background
  log: Log
  clock: Clock
}): Pick<Access, 'recall' | 'verify'> {
  const known = createKnownKeys()
  const limits = createLimits(deps.clock)
  const refusals = createRefusals(deps)
  const proofs = new Map<string, Promise<void>>()
  // Requests that read the row just before it was touched would all touch it again.
  const touched = new LRUCache<TokenId, number>({ max: 10_000 })

  const read = async (id: TokenId) => {
    try {
      return await readTokenState(deps.store.pool, id)
    } catch (cause) {
      throw new AppError('unavailable', 'Your token cannot be checked right now. Try again in 5 seconds.', {
        cause,
      })
    }
  }

  /** Throws unless the secret belongs to the row; takes from the limits only when it does not. */
  const prove = async (id: TokenId, secret: Secret, digest: Buffer, row: TokenState, from: From) => {
    const who = {
      address: limitedAddress(from.address),
      id,
      atHome: row.lastUsedAddress === coarseAddress(from.address),
    }
    // Asked before waiting and again after: a thousand guesses sent at once must not all have been let in before
    // the first of them failed.
    limits.checkProof(who)
    if (!(await deps.hasher.matches(row, secret, () => limits.checkProof(who)))) {
      limits.failed(who)
      throw unknownToken()
    }
    known.remember(id, digest, row.secretHash)
  }

  const provedOnce = async (id: TokenId, secret: Secret, digest: Buffer, row: TokenState, from: From) => {
    const key = `${digest.toString('base64')} ${row.secretHash}`
    const running = proofs.get(key)
    if (running !== undefined) return await running
    const proof = prove(id, secret, digest, row, from).finally(() => proofs.delete(key))
    proofs.set(key, proof)
    await proof
  }

  const touch = (id: TokenId, from: From) => {
    const now = deps.clock.now()
    if (now - (touched.get(id) ?? Number.NEGATIVE_INFINITY) < 60_000) return
    touched.set(id, now)
    deps.background.start('last use of a token', () =>
      touchToken(deps.store.pool, {
        id,
        client: from.client === null ? null : printable(from.client),
        address: coarseAddress(from.address),
      }),
    )
  }

  const refuse = async (error: AppError, from: From, id?: TokenId, row?: TokenState) => {
    await refusals.record(from.address, {
      kind: 'token.refused',
      // An id without a row is only what somebody made up.
      ...(row === undefined || id === undefined ? {} : { tokenId: id, principalId: row.principalId }),
      data: { code: error.code, address: from.address },
    })
    return error
  }

  const verify = async (bearer: string, from: From): Promise<Caller> => {
    const parsed = parseKey('tcb', bearer)
    if (parsed === undefined) throw await refuse(malformed(bearer), from)
    const id = `tok_${parsed.id}` as TokenId
    const digest = known.digest(bearer)
    let row: TokenState | undefined
    try {
      if (!known.seen(id, digest)) limits.checkLookUp(limitedAddress(from.address))
      // A first look, then the proof, then a second look: the row may have changed while argon2 ran. A third
      // time only when the secret was reissued in between.
      for (let look = 0; look < 3; look++) {
        row = await read(id)
        if (row === undefined) throw limits.noSuchToken(limitedAddress(from.address)) ?? unknownToken()
        if (known.has(id, digest, row.secretHash)) {
          const refusal = judge(row)
          if (refusal !== undefined) throw refusal
          if (row.useIsStale) touch(id, from)
          const caller = callerOf(id, row)
          known.keep(id, caller)
          return caller
        }
        await provedOnce(id, new Secret(parsed.secret), digest, row, from)
      }
      throw new AppError('unavailable', 'Your token changed while it was checked. Try again.')
    } catch (error) {
      if (error instanceof AppError && recorded.has(error.code)) throw await refuse(error, from, id, row)
      throw error
    }
  }

  return {
    verify,
    recall(bearer) {
      const parsed = parseKey('tcb', bearer)
      return parsed === undefined ? undefined : known.recall(`tok_${parsed.id}`, known.digest(bearer))
    },
  }
}

function callerOf(id: TokenId, row: TokenState): Caller {
  return {
    principalId: row.principalId,
    principalName: row.principalName,
    tokenId: id,
    toolkit: row.toolkit,
    expiresAt: new Date(row.expiresAtMs),
    catalogVersion: row.catalogVersion,
  }
}

const recorded = new Set<ErrorCode>([
  'token_unknown',
  'token_expired',
  'token_revoked',
  'principal_deactivated',
  'forbidden',
  'rate_limited',
])

/** What is wrong with the token itself, most telling first; `undefined`: nothing. */
function judge(row: TokenState): AppError | undefined {
  if (row.principalKind !== 'person')
    return new AppError('forbidden', 'The system principal may not use a token.')
  if (row.principalState !== 'active') {
    return new AppError(
      'principal_deactivated',
      `${row.principalName} is deactivated here; an admin can reactivate them.`,
    )
  }
  if (row.revoked) return new AppError('token_revoked', `This token was revoked; ${newOne}.`)
  if (row.expired) {
    return new AppError(
      'token_expired',
      `This token expired on ${new Date(row.expiresAtMs).toISOString()}; ${newOne}.`,
    )
  }
  return undefined
}

function unknownToken(): AppError {
  return new AppError('token_unknown', `This token is not known here; ${newOne}.`)
}

function malformed(bearer: string): AppError {
  return new AppError(
    'token_malformed',
    `This is not a whole token: one is "tcb_…" with ${keyLength} characters and a checksum, ${bearer.length} characters came. Copy it again, or ${newOne}.`,
  )
}

/** Names that clients give themselves end up in Slack, on terminals and in the console. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '').slice(0, 100)
}
