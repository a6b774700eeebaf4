import { type MintedSpec, mintInputs } from '../../../catalog/index.ts'
import { digestJson, type PrincipalId, type Secret } from '../../../core/index.ts'
import type { CredentialRow } from '../../../store/index.ts'
import { chooseCredential } from '../../../vault/index.ts'
import { clockRefused, githubRequest, readGithubAnswer } from './github.ts'
import {
  oauthRequest,
  readOAuthAnswer,
  type TokenAnswer,
  type TokenReply,
  type TokenRequest,
} from './oauth.ts'

/** One minted credential for one person: its configuration and the stored rows that it is made from, in order. */
export interface MintOrder {
  name: string
  spec: MintedSpec
  rows: readonly [CredentialRow, ...CredentialRow[]]
  /** Whose request it is, also where the credential is everybody's; the token is the same whoever asks. */
  principalId: PrincipalId
}

/** The order for one person; undefined when something that it is made from is not stored for them. */
export function mintOrder(
  name: string,
  spec: MintedSpec,
  rows: readonly CredentialRow[],
  principalId: PrincipalId,
): MintOrder | undefined {
  const [first, ...rest] = mintInputs(spec).map((input) => chooseCredential(rows, input, principalId))
  const others = rest.filter((row) => row !== undefined)
  return first === undefined || others.length < rest.length
    ? undefined
    : { name, spec, rows: [first, ...others], principalId }
}

/** The first of what it is made from that is not stored for this person, where `mintOrder` finds something missing. */
export function missingInput(
  spec: MintedSpec,
  rows: readonly CredentialRow[],
  principalId: PrincipalId,
): string {
  const inputs = mintInputs(spec)
  return inputs.find((input) => chooseCredential(rows, input, principalId) === undefined) ?? inputs[0]
}

/** Whose credential is spent, when it is one person's. */
export function ownerOf({ rows }: MintOrder): PrincipalId | undefined {
  return rows.find((row) => row.scope === 'principal')?.scopeId as PrincipalId | undefined
}

/** Names a token by everything that it is made from: another configuration or another value is another token. */
export function tokenId({ spec, rows }: MintOrder): string {
  return digestJson({ spec, inputs: rows.map(({ id, version }) => [id, version]) })
}

/** A token as it is looked for: the one to hand out, and those that were made from the same. */
export interface SoughtToken {
  id: string
  credentialId: CredentialRow['id']
  /** Names what they are made from, whichever values an admin gave it: one made with an older value is still good. */
  recipe: string
}

export function soughtBy(order: MintOrder): SoughtToken {
  const { spec, rows } = order
  const recipe = digestJson({ spec, inputs: rows.map(({ id }) => id) })
  return { id: tokenId(order), credentialId: rows[0].id, recipe }
}

/** Names what only one may do at a time: a refresh spends the refresh token, whoever asks and for which scopes. */
export function claimId(order: MintOrder): string {
  const [{ id, version }] = order.rows
  return order.spec.kind === 'oauth_refresh_token' ? `refresh ${id} ${version}` : tokenId(order)
}

/** Whether asking again after a lost answer does no harm. */
export function repeatable(spec: MintedSpec): boolean {
  return spec.kind !== 'oauth_refresh_token' || !spec.rotates
}

/** The request to send; `secrets` are the opened rows, in the order of `mintInputs`. Throws on a key of no use. */
export function tokenRequest(spec: MintedSpec, secrets: readonly Secret[], nowMs: number): TokenRequest {
  const of = (name: string | undefined) => secrets[mintInputs(spec).indexOf(name ?? '')]
  switch (spec.kind) {
    case 'oauth_client_credentials':
      return oauthRequest(spec, { clientSecret: of(spec.client_secret), refreshToken: undefined })
    case 'oauth_refresh_token':
      return oauthRequest(spec, {
        clientSecret: of(spec.client_secret),
        refreshToken: of(spec.refresh_token),
      })
    case 'github_app': {
      const key = of(spec.private_key)
      if (key === undefined) throw new Error('no private key')
      return githubRequest(spec, key, nowMs)
    }
  }
}

export function readTokenAnswer(spec: MintedSpec, reply: TokenReply, nowMs: number): TokenAnswer {
  return spec.kind === 'github_app' ? readGithubAnswer(reply, nowMs) : readOAuthAnswer(reply)
}

/** How far the endpoint's clock is ahead of ours, if it refused what was signed by ours and may take what is by its own. */
export function refusedByClock(spec: MintedSpec, reply: TokenReply, nowMs: number): number | undefined {
  return spec.kind === 'github_app' ? clockRefused(reply, nowMs) : undefined
}
