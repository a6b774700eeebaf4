import type { MintedSpec } from '../../../catalog/index.ts'
import { isRecord, parseJson } from '../../../core/index.ts'
import { headerValues } from '../../request/head.ts'
import { formDecoded } from '../decoded.ts'

/** A minted credential by its name. */
export interface MintedCredential {
  credential: string
  spec: MintedSpec
}

/** A request for a token as its program sent it; no body where it is not wholly here. */
export interface TokenAsked {
  rawHeaders: readonly string[]
  body: Buffer | undefined
}

/**
 * Those of the credentials, all of one token endpoint, that the request may mean, at least one: what it says of the
 * client, the grant, the scope and the rest is held against what the proxy itself would say for each. What fits none of
 * them tells nothing: a program is often given an id that is worth nothing.
 */
export function meantBy(asked: TokenAsked, minted: readonly MintedCredential[]): readonly MintedCredential[] {
  if (minted.length < 2) return minted
  const sent = minted.map((each) => ({ each, fields: fieldsOf(each.spec) }))
  const said = saidIn(asked, new Set(sent.map(({ fields }) => fields['client_id'])))
  // Of a body that is not here nobody knows what it left out.
  const names =
    asked.body === undefined ? ['client_id'] : new Set(sent.flatMap(({ fields }) => Object.keys(fields)))
  let left = sent
  for (const name of names) {
    const saidWords = words(said[name])
    const fits = left.filter(({ fields }) => words(fields[name]) === saidWords)
    if (fits.length > 0) left = fits
  }
  return left.map(({ each }) => each)
}

/** What the proxy says when it asks, the client first. */
function fieldsOf(spec: MintedSpec): Record<string, unknown> {
  if (spec.kind === 'github_app') return { permissions: spec.permissions, repositories: spec.repositories }
  const grant_type = spec.kind === 'oauth_client_credentials' ? 'client_credentials' : 'refresh_token'
  return { client_id: spec.client_id, grant_type, scope: spec.scopes, ...spec.parameters }
}

/** The fields of the body, a form's or a JSON object's, and the client of `Authorization: Basic` before them. */
function saidIn({ rawHeaders, body }: TokenAsked, clients: ReadonlySet<unknown>): Record<string, unknown> {
  const text = body?.toString() ?? ''
  const parsed = parseJson(text)
  const said = isRecord(parsed) ? { ...parsed } : Object.fromEntries(new URLSearchParams(text))
  const [, basic] = /^basic +(\S+)$/i.exec(headerValues(rawHeaders, 'authorization')[0] ?? '') ?? []
  if (basic === undefined) return said
  const [id = ''] = Buffer.from(basic, 'base64').toString().split(':', 1)
  // RFC 6749 section 2.3.1 has it form-encoded first, which many programs do not do.
  return { ...said, client_id: clients.has(id) ? id : formDecoded(id) }
}

/** A list of words in one spelling, whatever their order; a permission is its name and its value. */
function words(value: unknown): string {
  if (typeof value === 'string') return words(value.split(' '))
  if (isRecord(value)) return words(Object.entries(value).map(([name, level]) => `${name}=${text(level)}`))
  if (!Array.isArray(value)) return ''
  return value
    .map(text)
    .filter((word) => word !== '')
    .toSorted()
    .join(' ')
}

/** What is no text is none of ours. */
function text(value: unknown): string {
  return typeof value === 'string' ? value : '?'
}
