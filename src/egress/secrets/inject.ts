import { hopHeaders, searchHazards } from '../../catalog/index.ts'
import { cgiName } from '../request/fields.ts'
import type { Bound } from './slot.ts'

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

// What is judged, and so must go out as it was; RFC 9110 section 7.6.1 lets nobody name it in `Connection` anyway.
const endToEnd = /^(?:content-type|content-encoding|sec-websocket-.*)$/

/**
 * The headers to send: the caller's without hop-by-hop ones and whatever `Connection` names, then, on a route
 * that is searched, without any identity of the caller's own, and last what is injected: nothing that the caller
 * sends can remove it, double it or stand beside it.
 */
export function forwardedHeaders(options: {
  rawHeaders: readonly string[]
  authority: string
  searched: boolean
  bound: readonly Bound[]
  /** It will be signed, which speaks for the caller as a credential does. */
  signed: boolean
  placed: readonly (readonly [name: string, value: string])[]
}): string[] {
  const { rawHeaders, searched, bound, placed } = options
  const dropped = connectionNamed(rawHeaders)
  for (const { slot } of bound) if (slot.kind === 'header') dropped.push(slot.name)
  const headers = ['Host', options.authority]
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    const lower = cgiName(name)
    if (hopHeaders.has(lower) || dropped.includes(lower) || lower.startsWith('proxy-')) continue
    if (searched && searchHazards.has(lower)) continue
    if ((bound.length > 0 || options.signed) && identities.has(lower)) continue
    headers.push(name, rawHeaders[i + 1] ?? '')
  }
  if (searched) headers.push('Accept-Encoding', 'identity')
  for (const [name, value] of placed) headers.push(name, value)
  return headers
}

/** Header names that `Connection` declares to be for this hop only, by `cgiName`. */
export function connectionNamed(rawHeaders: readonly string[]): string[] {
  const names: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'connection') continue
    for (const name of (rawHeaders[i + 1] ?? '').split(',')) {
      const read = cgiName(name.trim())
      if (!endToEnd.test(read)) names.push(read)
    }
  }
  return names
}

/**
 * Headers of an answer that go on to the sandbox; framing is left to the server that writes it. `vouched`: a
 * credential, a signature or a certificate spoke for the caller.
 */
export function answeredHeaders(rawHeaders: readonly string[], vouched: boolean): string[] {
  const named = connectionNamed(rawHeaders)
  const headers: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    const lower = name.toLowerCase()
    if ((hopHeaders.has(lower) && lower !== 'content-length') || lower === 'alt-svc') continue
    // A session made with the company's credential is a credential.
    if (vouched && (lower === 'set-cookie' || lower === 'set-cookie2')) continue
    if (lower.startsWith('proxy-') || named.includes(cgiName(name))) continue
    headers.push(name, rawHeaders[i + 1] ?? '')
  }
  return headers
}
