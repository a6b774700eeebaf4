import type { EgressRule, MintedSpec, MintedSpecs } from '../../../catalog/index.ts'
import { percentOctets } from '../../request/percent-octets.ts'
import type { Tuple } from '../../request/tuple.ts'
import { tokenEndpoint } from './endpoint.ts'
import { type MintedCredential, meantBy, type TokenAsked } from './meant.ts'

/** What a program gets that asks for the token itself: an answer that it understands, and nothing of worth. */
export interface TokenStub {
  /** Whose token was asked for: one, or all that it may have been. */
  credentials: string[]
  status: number
  body: string
}

const lifetimeSeconds = 3_600

/**
 * The minted credentials whose token endpoint this request is for; none for any other request. It comes before every
 * rule, so that no rule lets a source fetch a real token.
 */
export function mintedAt(minted: MintedSpecs, tuple: Tuple): MintedCredential[] {
  if (tuple.method !== 'POST') return []
  return Object.entries(minted).flatMap(([credential, spec]) => {
    const { scheme, host, port, path } = tokenEndpoint(spec)
    const same =
      tuple.scheme === scheme && tuple.host === host && tuple.port === port && samePath(tuple.path, path)
    return same ? [{ credential, spec }] : []
  })
}

/**
 * The stub for the one of `minted`, of which there is one at least, that the request means. Where it may mean several,
 * the answer names them all and says nothing in which they differ: the rules say which of them is sent, not this token.
 */
export function tokenStub(minted: readonly MintedCredential[], asked: TokenAsked, nowMs: number): TokenStub {
  const meant = meantBy(asked, minted)
  const credentials = meant.map(({ credential }) => credential)
  const token = `toolcrib-placeholder-for-${credentials.join('-or-')}`
  const answers = meant.map(({ spec }) => stubAnswer(token, spec, nowMs))
  const [first = { status: 404, members: {} }] = answers
  const common = Object.entries(first.members).filter(([name, value]) =>
    answers.every(({ members }) => JSON.stringify(members[name]) === JSON.stringify(value)),
  )
  return { credentials, status: first.status, body: JSON.stringify(Object.fromEntries(common)) }
}

/** Rules that open a tunnel to each token endpoint and let nothing through it: the stub is answered inside. */
export function stubRules(minted: MintedSpecs): EgressRule[] {
  return Object.values(minted).map((spec) => {
    const { scheme, host, port } = tokenEndpoint(spec)
    return { scheme, host, port, intercept: true, methods: [], paths: [], inject: [] }
  })
}

/** Servers differ in case and a last slash, and none of the spellings may reach the real endpoint. */
function samePath(a: string, b: string): boolean {
  const plain = (path: string) => withoutLastSlashes(percentOctets(path).toLowerCase())
  return plain(a) === plain(b)
}

/** By hand: an expression for the end of a text begins anew at each slash in the midst of it. */
function withoutLastSlashes(path: string): string {
  let end = path.length
  while (path[end - 1] === '/') end -= 1
  return path.slice(0, end)
}

interface Answer {
  status: number
  members: Record<string, unknown>
}

function stubAnswer(token: string, spec: MintedSpec, nowMs: number): Answer {
  if (spec.kind === 'github_app') {
    const expires_at = new Date(nowMs + lifetimeSeconds * 1_000).toISOString().replace(/\.\d{3}/, '')
    return { status: 201, members: { token, expires_at, permissions: spec.permissions } }
  }
  const scope = spec.scopes.length === 0 ? undefined : spec.scopes.join(' ')
  return {
    status: 200,
    members: { access_token: token, token_type: 'Bearer', expires_in: lifetimeSeconds, scope },
  }
}
