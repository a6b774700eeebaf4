import type { EgressRule } from '../../catalog/index.ts'
import { Secret } from '../../core/index.ts'

// Hop-by-hop (RFC 9110 section 7.6.1), what is the proxy's own, and what it frames or answers itself.
const neverForwarded = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'proxy-authentication-info',
  'te',
  'trailer',
  'transfer-encoding',
  'content-length',
  'upgrade',
  'host',
  'expect',
])
// Where a caller could carry a credential or an identity of its own beside the injected one.
const identities = new Set([
  'authorization',
  'cookie',
  'x-api-key',
  'api-key',
  'apikey',
  'x-auth-token',
  'x-access-token',
  'x-goog-api-key',
  'private-token',
  'x-amz-security-token',
])
// A part of an answer, or a compressed one, cannot be searched for what was injected.
const searchHazards = new Set(['accept-encoding', 'range', 'if-range'])

/** Whether a rule may inject into this header; the proxy's own and the framing are not for rules. */
export function injectable(header: string): boolean {
  return !neverForwarded.has(header) && !searchHazards.has(header) && !header.startsWith('proxy-')
}

/** A credential ready for the wire. */
export interface Injection {
  credential: string
  header: string
  value: Secret
}

/** The header's value; undefined when the result could not be sent as it is. */
export function renderInjection(
  binding: EgressRule['inject'][number],
  secret: Secret,
): Injection | undefined {
  const value = binding.format.split('{value}').join(secret.reveal())
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) return undefined
  return { credential: binding.credential, header: binding.header, value: new Secret(value) }
}

/**
 * The headers to send: the caller's without hop-by-hop ones and whatever `Connection` names, then, on a route
 * that is searched, without any identity of the caller's own, and last what is injected: nothing that the caller
 * sends can remove it, double it or stand beside it.
 */
export function forwardedHeaders(options: {
  rawHeaders: readonly string[]
  authority: string
  searched: boolean
  injections: readonly Injection[]
  /** It will be signed, which speaks for the caller as a credential does. */
  signed: boolean
}): string[] {
  const { rawHeaders, searched, injections } = options
  const dropped = new Set(connectionNamed(rawHeaders))
  for (const { header } of injections) dropped.add(header)
  const headers = ['Host', options.authority]
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    // CGI, WSGI and their like read `X_Api_Key` as `X-Api-Key`.
    const lower = name.toLowerCase().replaceAll('_', '-')
    if (neverForwarded.has(lower) || dropped.has(lower) || lower.startsWith('proxy-')) continue
    if (searched && searchHazards.has(lower)) continue
    if ((injections.length > 0 || options.signed) && identities.has(lower)) continue
    headers.push(name, rawHeaders[i + 1] ?? '')
  }
  if (searched) headers.push('Accept-Encoding', 'identity')
  for (const { header, value } of injections) headers.push(header, value.reveal())
  return headers
}

/** Header names that `Connection` declares to be for this hop only, in lower case. */
export function connectionNamed(rawHeaders: readonly string[]): string[] {
  const names: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'connection') continue
    for (const name of (rawHeaders[i + 1] ?? '').split(',')) names.push(name.trim().toLowerCase())
  }
  return names
}

/** Headers of an answer that go on to the sandbox; framing is left to the server that writes it. */
export function answeredHeaders(rawHeaders: readonly string[], searched: boolean): string[] {
  const dropped = new Set([...connectionNamed(rawHeaders), ...neverForwarded, 'alt-svc'])
  dropped.delete('content-length')
  // A session made with the company's credential is a credential.
  if (searched) dropped.add('set-cookie').add('set-cookie2')
  const headers: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    const lower = name.toLowerCase()
    if (dropped.has(lower) || lower.startsWith('proxy-')) continue
    headers.push(name, rawHeaders[i + 1] ?? '')
  }
  return headers
}
