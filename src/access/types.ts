import type { PrincipalId, Secret, TokenId } from '../core/index.ts'
import type { ListedToken, PrincipalRow } from '../store/index.ts'

export type Principal = PrincipalRow

/** Who is calling: proven by a token on this very request, unless it comes from `Access.recall`. */
export interface Caller {
  principalId: PrincipalId
  principalName: string
  tokenId: TokenId
  /** The one toolkit this token opens; null opens `/mcp`. */
  toolkit: string | null
  expiresAt: Date
  /** The catalog's version when the token was checked; a replica with another one reloads before it decides. */
  catalogVersion: number
}

/** Who called a moment ago with this very text. It proves nothing now: see `Access.recall`. */
export interface RecalledCaller {
  caller: Caller
  /** The hash that the secret was proven against. */
  secretHash: string
}

export type TokenRow = ListedToken

/** A token just made: `token` is shown once and is nowhere else. */
export interface IssuedToken {
  id: TokenId
  token: Secret
  expiresAt: Date
  toolkit: string | null
  principal: Principal
}

export interface Access {
  /** The principal of this Slack user, made on first sight; the name is kept current. */
  ensurePrincipal(person: { slackTeam: string; slackUser: string; name: string }): Promise<Principal>
  findPrincipal(id: PrincipalId): Promise<Principal | undefined>
  findBySlack(slackTeam: string, slackUser: string): Promise<Principal | undefined>
  listPrincipals(): Promise<Principal[]>
  /** Ends every token at once and refuses new ones until reactivated. Idempotent. */
  deactivate(id: PrincipalId, by: string, cause: string): Promise<void>
  reactivate(id: PrincipalId, by: string): Promise<void>

  /**
   * Issues a token. The same `requestKey` again makes no second token: the secret of the first is replaced and
   * the new one returned, because the first was never delivered for certain.
   */
  issue(request: {
    principalId: PrincipalId
    lifetimeMs?: number
    toolkit?: string
    by: string
    requestKey?: string
  }): Promise<IssuedToken>
  /** A new token with the old one's toolkit and a fresh lifetime; the old one is dead when this returns. */
  rotate(request: { tokenId: TokenId; by: string; requestKey?: string }): Promise<IssuedToken>
  list(filter: { principalId?: PrincipalId; includeEnded?: boolean }): Promise<TokenRow[]>
  findToken(id: TokenId): Promise<TokenRow | undefined>
  revoke(id: TokenId, by: string, cause: string): Promise<void>
  /** Returns how many live tokens ended. */
  revokeAll(principalId: PrincipalId, by: string, cause: string): Promise<number>

  /** Who sends this bearer text; throws `token_*`, `principal_deactivated` or `rate_limited`. */
  verify(bearer: string, from: { address: string; client: string | null }): Promise<Caller>
  /**
   * Who this bearer text was for when this process verified it last, at most 30 s ago; undefined otherwise. Asks
   * nobody. It is for work whose own statement proves the token again (`CallRows.begin`); everything else, every
   * refusal included, needs `verify`.
   */
  recall(bearer: string): RecalledCaller | undefined
  /** Which of these tokens may no longer be used (revoked, expired, principal deactivated); one query. */
  ended(tokenIds: TokenId[]): Promise<TokenId[]>
}
