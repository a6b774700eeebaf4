import { hopHeaders, searchHazards } from '../../catalog/index.ts'
import { announcedTrailers, cgiName, denialField, isToProxy } from '../request/fields.ts'
import type { Bound } from './slot.ts'

// Where a caller could carry a credential or an identity of its own beside the one that is added. Names that go with
// a key and are worth nothing without it, such as X-Auth-Email, are the caller's to send.
const identities = new Set([
  'authorization',
  'x-serverless-authorization',
  'cookie',
  'x-api-key',
  'api-key',
  'apikey',
  'x-auth-key',
  'x-auth-token',
  'x-access-token',
  'x-goog-api-key',
  'private-token',
  'job-token',
  'deploy-token',
  'circle-token',
  'x-vault-token',
  'x-amz-security-token',
  'x-shopify-access-token',
  'x-algolia-api-key',
  'x-functions-key',
  'x-rapidapi-key',
  'ocp-apim-subscription-key',
  'dd-api-key',
  'dd-application-key',
  'cf-access-client-secret',
  'x-consul-token',
  'x-nomad-token',
  'x-hasura-admin-secret',
  'x-forwarded-client-cert',
  'x-remote-user',
])

/** By `cgiName`; Kubernetes has a family of names for whom one speaks for. */
function isIdentity(name: string): boolean {
  return identities.has(name) || name.startsWith('impersonate-')
}

/** Of alternating names and values those by which the caller says who it is, which go out where nothing speaks for it. */
export function identityFields(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, i) => isIdentity(cgiName(rawHeaders[i - (i % 2)] ?? '')))
}

// What is judged, and so must go out as it was; RFC 9110 section 7.6.1 lets nobody name it in `Connection` anyway.
const endToEnd = /^(?:content-type|content-encoding|sec-websocket-.*)$/

/**
 * The headers to send, names and values alternating. First the caller's: without hop-by-hop ones and what `Connection`
 * names, of the trailers that it announces those that go on, and without any identity of its own where something else
 * speaks for it (`spokenFor`). Last what is injected: nothing that the caller sends can remove it, double it or stand
 * beside it.
 */
export function forwardedHeaders(options: {
  rawHeaders: readonly string[]
  authority: string
  searched: boolean
  bound: readonly Bound[]
  spokenFor: boolean
  placed: readonly (readonly [name: string, value: string])[]
}): string[] {
  const { rawHeaders, searched, bound, placed, spokenFor } = options
  const dropped = connectionNamed(rawHeaders)
  for (const { slot } of bound) if (slot.kind === 'header') dropped.add(slot.name)
  const headers = ['Host', options.authority]
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    const value = rawHeaders[i + 1] ?? ''
    const read = cgiName(name)
    if (read === 'trailer' && !spokenFor && !dropped.has(read)) {
      const announced = announcedTrailers(value)
      if (announced !== '') headers.push(name, announced)
    }
    if (hopHeaders.has(read) || dropped.has(read) || isToProxy(read)) continue
    if (searched && searchHazards.has(read)) continue
    if (spokenFor && isIdentity(read)) continue
    if (!spokenFor || read !== 'sec-websocket-protocol') headers.push(name, value)
    else {
      const protocols = withoutTokens(value)
      if (protocols !== '') headers.push(name, protocols)
    }
  }
  if (searched) headers.push('Accept-Encoding', 'identity')
  for (const [name, value] of placed) headers.push(name, value)
  return headers
}

/** Subprotocols without those by which programs of browsers, which can set no field, send a key. */
function withoutTokens(protocols: string): string {
  const isToken = /^(?:openai-insecure-api-key|base64url\.bearer\.authorization\.k8s\.io)\./i
  const offered = protocols.split(',').map((protocol) => protocol.trim())
  if (!offered.some((protocol) => isToken.test(protocol))) return protocols
  return offered.filter((protocol) => !isToken.test(protocol)).join(', ')
}

/** Header names that `Connection` declares to be for this hop only, by `cgiName`. */
function connectionNamed(rawHeaders: readonly string[]): Set<string> {
  const names = new Set<string>()
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'connection') continue
    for (const name of (rawHeaders[i + 1] ?? '').split(',')) {
      const read = cgiName(name.trim())
      if (!endToEnd.test(read)) names.add(read)
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
    if ((hopHeaders.has(lower) && lower !== 'content-length') || lower === 'alt-svc' || lower === denialField)
      continue
    // A session made with the company's credential is a credential.
    if (vouched && (lower === 'set-cookie' || lower === 'set-cookie2')) continue
    if (lower.startsWith('proxy-') || named.has(cgiName(name))) continue
    headers.push(name, rawHeaders[i + 1] ?? '')
  }
  return headers
}
