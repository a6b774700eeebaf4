import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { AppError, createTrouble, type Log, newId, type Secret } from '../../../core/index.ts'
import {
  type CredentialRow,
  credentialById,
  type MintClaim,
  type Store,
  takeMintClaim,
} from '../../../store/index.ts'
import { type OpeningKey, openCredential } from '../../../vault/index.ts'
import { askEndpoint, type EndpointDeps, type EndpointReply } from './endpoint.ts'
import type { TokenRequest } from './oauth.ts'
import {
  claimId,
  type MintOrder,
  readTokenAnswer,
  refusedByClock,
  repeatable,
  type SoughtToken,
  soughtBy,
  tokenId,
  tokenRequest,
} from './recipe.ts'
import { createSettlement, type MintFailed, type MintFailure } from './settle.ts'
import { createMintedTokens, type HeldToken } from './tokens.ts'
import { createMintTrouble } from './trouble.ts'

export type Minted =
  /**
   * `id` names this very token, for `rejected`. `former`: every other one that is still good and may come back in an
   * answer, whichever proxy minted it. `key` names all of them.
   */
  | { ok: true; id: string; key: string; secret: Secret; former: readonly Secret[] }
  | { ok: false; reason: MintFailure }

export interface Mint {
  /**
   * A token that is good now: the one at hand, or a new one. However many ask on however many proxies, one asks the
   * token endpoint. A refresh that may have been made is never made again. Never throws.
   */
  token(order: MintOrder): Promise<Minted>
  /**
   * The tokens that have not ended, if there are any, without asking for one: what an answer must be searched for.
   * Throws `unavailable` when the database cannot be asked.
   */
  existing(order: MintOrder): Promise<Minted | undefined>
  /** An upstream answered 401 to this token. */
  rejected(id: string): void
  /** Looks at the database again before a token is used: what was read is older than it seems. */
  invalidate(): void
  /**
   * Asks no token endpoint any more, and waits until what was asked is written down, for as long as a claim lasts: a
   * refresh token that rotates may be spent, and the new one is in nobody else's hands.
   */
  close(): Promise<void>
}

export interface MintOptions {
  store: Store
  opening: ReadonlyMap<string, OpeningKey>
  endpoint: EndpointDeps
  /** How old a look at what other proxies minted may be. */
  maxAgeMs: number
  now: () => number
  log: Log
}

/** Why there is nothing to ask with; not one byte of a request left. */
interface Unprepared {
  kind: 'unprepared'
  reason: MintFailure
  code: string
}

/** How long a claim lasts, in times of the endpoint's own limit: time to ask, and to write down what was said. */
const claimFactor = 6
const backoffMs = {
  mint_unavailable: 2_000,
  mint_refused: 15_000,
  mint_uncertain: 2_000,
  credential_unreadable: 2_000,
}

export function createMint(options: MintOptions): Mint {
  const { store, endpoint, log } = options
  const tokens = createMintedTokens({ store, opening: options.opening, maxAgeMs: options.maxAgeMs, log })
  const trouble = createMintTrouble(log)
  const reading = createTrouble(log, {
    fails: 'minted tokens cannot be read',
    lasts: 'minted tokens still cannot be read',
    over: 'minted tokens can be read again',
  })
  const flights = new Map<string, Promise<Minted>>()
  const failed = new LRUCache<string, MintFailure>({ max: 2_000 })
  const holdMs = endpoint.timeoutMs * claimFactor
  const waitMs = endpoint.timeoutMs * 2
  const settle = createSettlement({ store, tokens, patienceMs: holdMs / 2, log })
  let closed = false

  const good = (token: HeldToken, all: readonly HeldToken[]): Minted => {
    const others = all.filter(({ sealed }) => sealed !== token.sealed)
    return {
      ok: true,
      id: token.sealed,
      key: [token, ...others].map(({ name }) => name).join(' '),
      secret: token.secret,
      former: others.map(({ secret }) => secret),
    }
  }
  const bad = (reason: MintFailure): Minted => ({ ok: false, reason })
  /** The same, found out just now. */
  const failedBy = (order: MintOrder, reason: MintFailure, code: string): Minted => {
    trouble.happened(order, `${reason}: ${code}`)
    return bad(reason)
  }
  const endClaim = async (order: MintOrder, claim: MintClaim, failure: MintFailed): Promise<Minted> => {
    const { reason, code, clockOffSeconds } = failure
    const clock = clockOffSeconds === undefined ? '' : `; the clock here is off by ${clockOffSeconds} s`
    const minted = failedBy(order, reason, code + clock)
    await settle.failed(order, claim, failure)
    return minted
  }

  /** A step before anything is sent: where it fails nothing was spent, and the claim is given back if there is one. */
  const beforeSending = async <T>(claim: MintClaim, step: Promise<T>): Promise<T> => {
    try {
      return await step
    } catch (err) {
      await settle.release(claim)
      throw err
    }
  }

  /** Asks until there is a token, a certain failure, or no more time. */
  const fly = async (sought: SoughtToken, order: MintOrder): Promise<Minted> => {
    const claim: MintClaim = {
      id: claimId(order),
      credentialId: order.rows[0].id,
      version: order.rows[0].version,
      claim: newId('mnt'),
    }
    const deadline = performance.now() + waitMs
    for (let pauseMs = 20; !closed && performance.now() < deadline; pauseMs = Math.min(pauseMs * 2, 250)) {
      const { fresh, all } = await tokens.find(sought)
      if (fresh !== undefined) return good(fresh, all)
      const taking = takeMintClaim(store.db, claim, { holdMs, repeatable: repeatable(order.spec) })
      // A connection that breaks says nothing of what was written.
      const taken = await beforeSending(claim, taking)
      if (taken === 'overdue') {
        const code = 'claim_overdue'
        return await endClaim(order, claim, { reason: 'mint_uncertain', code, after: 'uncertain' })
      }
      if (taken === 'uncertain') return failedBy(order, 'mint_uncertain', 'since_earlier')
      if (taken === 'refused') return failedBy(order, 'mint_refused', 'since_earlier')
      if (taken === 'mine') return await underClaim(sought, order, claim)
      await sleep(pauseMs)
    }
    return closed ? bad('mint_unavailable') : failedBy(order, 'mint_unavailable', 'claim_held')
  }

  const underClaim = async (sought: SoughtToken, order: MintOrder, claim: MintClaim): Promise<Minted> => {
    // Between our look and our claim another replica may have been and gone.
    const { fresh, all } = await beforeSending(claim, tokens.find(sought))
    if (fresh !== undefined) {
      await settle.release(claim)
      return good(fresh, all)
    }
    const { asked, clockOffSeconds } = await beforeSending(claim, ask(order))
    if (asked.kind === 'unprepared') {
      const { reason, code } = asked
      return await endClaim(order, claim, { reason, code, after: 'release', clockOffSeconds })
    }
    const after = repeatable(order.spec) ? 'release' : 'uncertain'
    if (asked.kind !== 'answered') {
      const unsent = asked.kind === 'unsent'
      const reason = unsent || after === 'release' ? 'mint_unavailable' : 'mint_uncertain'
      const end = unsent ? 'release' : after
      return await endClaim(order, claim, { reason, code: asked.code, after: end, clockOffSeconds })
    }
    const answer = readTokenAnswer(order.spec, asked, options.now())
    if (answer.kind === 'unclear') {
      const reason = after === 'release' ? 'mint_unavailable' : 'mint_uncertain'
      return await endClaim(order, claim, { reason, code: `http_${asked.status}`, after, clockOffSeconds })
    }
    if (answer.kind === 'refused') {
      const end = answer.final ? 'refused' : 'release'
      const reason = answer.code === 'too_many_requests' ? 'mint_unavailable' : 'mint_refused'
      const { code, refreshToken } = answer
      return await endClaim(order, claim, { reason, code, after: end, refreshToken, clockOffSeconds })
    }
    const kept = await settle.minted(sought, order, claim, { ...answer, clockOffSeconds })
    if (kept !== undefined) return good(kept.fresh, kept.all)
    // It may have been all the same, where the connection broke before that was said; or another replica's was.
    const now = await tokens.find(sought)
    return now.fresh === undefined
      ? failedBy(order, 'mint_unavailable', 'not_kept')
      : good(now.fresh, now.all)
  }

  /**
   * Asks, and once more by the endpoint's own clock where it refused because of ours; `clockOffSeconds` then says so.
   * Rejects where nothing was sent that spends anything.
   */
  const ask = async (
    order: MintOrder,
  ): Promise<{ asked: EndpointReply | Unprepared; clockOffSeconds?: number | undefined }> => {
    const asked = await askBy(order, 0)
    const aheadMs = asked.kind === 'answered' ? refusedByClock(order.spec, asked, options.now()) : undefined
    if (aheadMs === undefined) return { asked }
    const clockOffSeconds = Math.round(-aheadMs / 1_000)
    log.warn(
      { credential: order.name, clockOffSeconds },
      'the clock of this machine is wrong: a token is asked for by that of its endpoint',
    )
    return { asked: await askBy(order, aheadMs), clockOffSeconds }
  }

  /** With what is set once the endpoint has been dialled, by a clock so far ahead of ours. */
  const askBy = async (order: MintOrder, aheadMs: number) =>
    await askEndpoint(endpoint, order.spec, () => prepare(order, aheadMs), order.principalId)

  /** Opens what the token is made from, as it stands now: a refresh token may have been rotated a moment ago. */
  const prepare = async (order: MintOrder, aheadMs: number): Promise<TokenRequest | Unprepared> => {
    const rows: CredentialRow[] = []
    for (const row of order.rows) {
      const now = await credentialById(store.db, row.id)
      if (now === undefined || now.version !== row.version)
        return { kind: 'unprepared', reason: 'mint_unavailable', code: 'credential_changed' }
      rows.push(now)
    }
    try {
      const secrets = await Promise.all(rows.map(async (row) => await openCredential(options.opening, row)))
      // A key of no use is found out here.
      return tokenRequest(order.spec, secrets, options.now() + aheadMs)
    } catch (err) {
      // The message of a key's parser is constant, and that of the vault names the row.
      trouble.happened(order, err)
      return { kind: 'unprepared', reason: 'credential_unreadable', code: 'input_unreadable' }
    }
  }

  const search = async (sought: SoughtToken) => {
    try {
      const found = await tokens.search(sought)
      reading.over('minted tokens')
      return found
    } catch (cause) {
      reading.happened('minted tokens', cause)
      throw new AppError('unavailable', 'minted tokens cannot be read', { cause })
    }
  }

  const start = (id: string, order: MintOrder): Promise<Minted> => {
    const flight = fly(soughtBy(order), order)
      .then(
        (minted) => {
          if (minted.ok) trouble.over(order)
          else failed.set(id, minted.reason, { ttl: backoffMs[minted.reason] })
          return minted
        },
        (err: unknown) => {
          // The database could not be asked, and so nobody else was: the next request may try at once.
          trouble.happened(order, err)
          return bad('mint_unavailable')
        },
      )
      .finally(() => flights.delete(id))
    flights.set(id, flight)
    return flight
  }

  return {
    async token(order) {
      const id = tokenId(order)
      const held = tokens.held(id)
      if (held?.fresh !== undefined) return good(held.fresh, held.all)
      const reason = failed.get(id)
      if (reason !== undefined) return bad(reason)
      const flight = flights.get(id) ?? start(id, order)
      // Whoever waits gives up in time; the flight itself goes on until its outcome is written down.
      return await Promise.race([flight, sleep(waitMs, bad('mint_unavailable'), { ref: false })])
    },
    async existing(order) {
      const id = tokenId(order)
      const held = tokens.held(id)
      // With none at hand another proxy may have minted one just now.
      const { fresh, all } = held?.fresh === undefined ? await search(soughtBy(order)) : held
      const token = fresh ?? all[0]
      return token === undefined ? undefined : good(token, all)
    },
    rejected: (id) => tokens.rejected(id),
    invalidate: () => tokens.invalidate(),
    async close() {
      closed = true
      // Each has its own limits; a claim that is not ended by then is lost to others anyway.
      await Promise.race([Promise.all(flights.values()), sleep(holdMs, undefined, { ref: false })])
    },
  }
}
