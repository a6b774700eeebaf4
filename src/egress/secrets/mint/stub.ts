import type { EgressRule, MintedSpec, MintedSpecs } from '../../../catalog/index.ts'
import { percentOctets } from '../../request/percent-octets.ts'
import type { Tuple } from '../../request/tuple.ts'
import { tokenEndpoint } from './endpoint.ts'

/** What a program gets that asks for the token itself: an answer that it understands, and nothing of worth. */
export interface TokenStub {
  credential: string
  status: number
  body: string
}

const lifetimeSeconds = 3_600

/**
 * The stub for a request to the token endpoint of a minted credential; undefined for any other request. It comes
 * before every rule, so that no rule lets a source fetch a real token.
 */
export function tokenStub(minted: MintedSpecs, tuple: Tuple, nowMs: number): TokenStub | undefined {
  for (const [credential, spec] of Object.entries(minted)) {
    const { scheme, host, port, path } = tokenEndpoint(spec)
    const same =
      tuple.scheme === scheme && tuple.host === host && tuple.port === port && samePath(tuple.path, path)
    if (same && tuple.method === 'POST') return { credential, ...stubAnswer(credential, spec, nowMs) }
  }
  return undefined
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
  const plain = (path: string) => percentOctets(path).toLowerCase().replace(/\/+$/, '')
  return plain(a) === plain(b)
}

function stubAnswer(credential: string, spec: MintedSpec, nowMs: number): { status: number; body: string } {
  const token = `toolcrib-placeholder-for-${credential}`
  if (spec.kind === 'github_app') {
    const expires_at = new Date(nowMs + lifetimeSeconds * 1_000).toISOString().replace(/\.\d{3}/, '')
    return { status: 201, body: JSON.stringify({ token, expires_at, permissions: spec.permissions }) }
  }
  return {
    status: 200,
    body: JSON.stringify({
      access_token: token,
      token_type: 'Bearer',
      expires_in: lifetimeSeconds,
      ...(spec.scopes.length === 0 ? {} : { scope: spec.scopes.join(' ') }),
    }),
  }
}
