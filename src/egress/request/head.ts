import { cgiName, forwardsHost, overrideFields } from './fields.ts'

/** The head of a request as the parser saw it: nothing merged, nothing dropped. */
export interface Head {
  method: string
  target: string
  httpVersion: string
  /** Names and values alternating, in the order of the wire. */
  rawHeaders: readonly string[]
}

export type HeadRefusal =
  | 'host_missing'
  | 'host_duplicate'
  | 'method_forbidden'
  | 'framing_forbidden'
  | 'body_forbidden'
  | 'upgrade_unsupported'
  | 'override_forbidden'
  | 'http_version'
  | 'expectation_unknown'
  | 'websocket_malformed'

/** What may be asked for, but for a tunnel. */
export const requestMethods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
])

/** Every value of a header, in order; `name` in lower case. */
export function headerValues(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === name) values.push(rawHeaders[i + 1] ?? '')
  }
  return values
}

/**
 * What is wrong with a head whatever its target is; undefined when nothing is. Node's parser has refused most
 * smuggling already (both lengths, bad chunks, folded lines); this refuses what it lets through. `upgrades` leaves
 * the judgement of `Upgrade` to the caller.
 */
export function refuseHead(head: Head, upgrades = false): HeadRefusal | undefined {
  const { method, httpVersion } = head
  if (!requestMethods.has(method) && method !== 'CONNECT') return 'method_forbidden'
  const { hosts, encodings, lengths, expects, isUpgrade, isOverride } = readFields(head.rawHeaders)
  if (hosts > 1) return 'host_duplicate'
  // Older Python opens its tunnels with HTTP/1.0 and no Host; nothing else has a reason to.
  if (hosts === 0 && method !== 'CONNECT') return 'host_missing'
  if (httpVersion !== '1.1' && (httpVersion !== '1.0' || encodings.length > 0)) return 'http_version'
  if (encodings.length + lengths.length > 1) return 'framing_forbidden'
  const [encoding] = encodings
  const [length] = lengths
  if (encoding !== undefined && encoding.toLowerCase() !== 'chunked') return 'framing_forbidden'
  // Beyond what is counted exactly, another length would go out than came in.
  if (
    length !== undefined &&
    !(/^(?:0|[1-9][0-9]{0,15})$/.test(length) && Number.isSafeInteger(Number(length)))
  )
    return 'framing_forbidden'
  const hasBody = encoding !== undefined || (length !== undefined && length !== '0')
  if (hasBody && (method === 'GET' || method === 'HEAD' || method === 'CONNECT')) return 'body_forbidden'
  // RFC 9110 section 10.1.1: a server that does not know what is expected must not act as if it did.
  if (expects.some((value) => value.toLowerCase() !== '100-continue')) return 'expectation_unknown'
  if (isUpgrade === 'settings' || (isUpgrade && !upgrades)) return 'upgrade_unsupported'
  return isOverride ? 'override_forbidden' : undefined
}

/** What a head is judged by, in one look at its fields. */
function readFields(rawHeaders: readonly string[]) {
  const found = {
    hosts: 0,
    encodings: [] as string[],
    lengths: [] as string[],
    expects: [] as string[],
    isUpgrade: false as boolean | 'settings',
    isOverride: false,
  }
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase() ?? ''
    const value = rawHeaders[i + 1] ?? ''
    if (name === 'host') found.hosts += 1
    else if (name === 'transfer-encoding') found.encodings.push(value)
    else if (name === 'content-length') found.lengths.push(value)
    else if (name === 'expect') found.expects.push(value)
    else if (name === 'upgrade') found.isUpgrade ||= true
    else {
      const dashed = cgiName(name)
      if (dashed === 'http2-settings') found.isUpgrade = 'settings'
      else if (overrideFields.has(dashed) || (dashed === 'forwarded' && forwardsHost(value)))
        found.isOverride = true
    }
  }
  return found
}
