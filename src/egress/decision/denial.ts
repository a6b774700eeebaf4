import { isIP } from 'node:net'
import { type AddressClass, addressClasses, anAddress, pinnable } from '../../catalog/index.ts'
import { shellWord } from '../../core/index.ts'
import { parseAuthority } from '../request/host.ts'
import type { TupleRefusal } from '../request/tuple.ts'
import { type DecisionReason, notAllowed } from './decide.ts'

/** Why a request was not let out, or came to nothing; `docs/reference/egress-denials.md` explains each. */
export type DenialReason =
  | TupleRefusal
  | Exclude<DecisionReason, 'allowed'>
  | `address_${AddressClass}`
  | keyof typeof told

/** The status and the way out, but of what `requestHelp` has, and of what no rule names or where a host leads: 403. */
const told = {
  injection_needs_https: [403, 'ask an admin: a rule with a credential must be https'],
  lease_invalid: [407, 'the sandbox is no longer known to the proxy; the next tool call starts a fresh one'],
  lease_missing: [407, 'send the lease: `proxy-authorization` with the credentials of HTTPS_PROXY'],
  lease_elsewhere: [403, 'this lease belongs to a sandbox elsewhere and is good from there only'],
  parse_error: [400, 'the request is not well-formed HTTP/1.1'],
  head_timeout: [408, 'send the head of a request at once; it was not whole in time'],
  tunnel_early_data: [400, 'wait for the answer to CONNECT before sending anything'],
  tunnel_behind_request: [
    400,
    'ask for a tunnel on a connection of its own, or once every answer on this one is whole',
  ],
  tunnel_not_tls: [400, 'only TLS may be spoken in a tunnel'],
  tls_failed: [
    400,
    'the program must trust the CA that the sandbox is given; pinned certificates do not work here',
  ],
  ech_refused: [400, 'send the server name in clear: Encrypted Client Hello hides where a tunnel goes'],
  http2_abuse: [400, 'the client broke the rules or the bounds of HTTP/2, and its tunnel was closed'],
  sni_mismatch: [400, 'the TLS server name must be the host that the tunnel was opened to'],
  name_unresolved: [502, 'the host does not resolve; check its name in the source’s egress rules'],
  name_lookup_failed: [
    503,
    'the host’s name could not be looked up just now; try again in a moment, an admin finds the cause in the proxy’s log',
  ],
  credential_missing: [403, 'ask an admin'],
  credential_unreadable: [403, 'ask an admin'],
  mint_unavailable: [502, 'the token endpoint did not give a token; try again in a moment'],
  mint_refused: [403, 'the token endpoint refused the credential; ask an admin to set it again'],
  mint_uncertain: [
    403,
    'nobody knows whether the last refresh spent the refresh token; ask an admin to set it again',
  ],
  signing_refused: [
    403,
    'the request asks for a region or a service that the rule does not allow, or is what is not signed: one with a signature in its address (presigned), one signed piece by piece, or a copy of another object',
  ],
  body_too_large: [
    413,
    'the body must be held back, to be signed or to have a credential put into it, and is longer or has more fields than the proxy may hold',
  ],
  slot_missing: [
    400,
    'the request has no place for the credential: a path segment, or a JSON object in the body, is not there',
  ],
  placeholder_missing: [
    403,
    'the place of the credential must hold the placeholder that the sandbox was given and nothing else, or be left out; and the placeholder must stand in no other field that says who asks, as where a rule names another header than the program sends',
  ],
  placeholder_repeated: [
    403,
    'send the placeholder once, in its place, and nowhere else in the same request',
  ],
  body_encoded: [415, 'send the body without Content-Encoding: a credential is put into it'],
  body_malformed: [
    400,
    'a credential is put into the body: send strict JSON without repeated keys, or a form, in UTF-8, and say which in Content-Type',
  ],
  injection_forbidden: [
    403,
    'ask an admin: the rule puts the credential where no place is, or where another one stands',
  ],
  too_many_requests: [429, 'this person has too many requests in flight; wait for some to end'],
  request_rate_exceeded: [
    429,
    'this person has sent as many requests as are allowed in a minute; wait as long as Retry-After says',
  ],
  sent_bytes_exceeded: [
    429,
    'this person has sent as many bytes as are allowed in an hour; wait as long as Retry-After says',
  ],
  too_many_tunnels: [429, 'this person has too many tunnels open; close some'],
  proxy_overloaded: [503, 'the proxy is at its limit; try again in a moment'],
  records_unavailable: [503, 'the proxy cannot write its records and lets nothing out until it can'],
  leases_unavailable: [503, 'the proxy cannot check leases and lets nothing out until it can'],
  proxy_failed: [500, 'the proxy failed; an admin finds the cause in its log'],
  revoked: [403, 'the right to this request was withdrawn while it was under way'],
  upstream_unreachable: [502, 'the upstream could not be reached; an admin finds why in the proxy’s log'],
  upstream_untrusted: [
    502,
    'the upstream’s certificate has expired, is for another name, or is of a CA that is not in `egress.upstream_ca_files`; an admin finds which in the proxy’s log',
  ],
  upstream_failed: [502, 'the upstream broke the connection or answered what is not HTTP; it may have acted'],
  upstream_refused: [
    503,
    'the upstream takes no more requests at the moment and has not begun with this one; try again in a moment',
  ],
  upstream_timeout: [504, 'the upstream did not answer in time; it may have acted'],
  answer_status: [
    502,
    'the upstream answered with a status that HTTP does not have; the record says which, and it may have acted',
  ],
  answer_encoded: [
    502,
    'the upstream compressed an answer that must be searched for credentials, and not by gzip, br or zstd alone; a gRPC or Connect server does so where its client compresses: have it send uncompressed',
  ],
  answer_partial: [
    502,
    'the upstream sent a part of an answer that must be searched for credentials as a whole',
  ],
  answer_switched: [
    502,
    'the upstream changed the protocol without having been asked, or without the proof that it read the handshake',
  ],
} as const

const malformed = 'the request is malformed or ambiguous; it is refused rather than guessed at'
/** The way out of what is wrong with a request as it was sent, which is 400. */
const requestHelp: Record<TupleRefusal, string> = {
  host_missing: malformed,
  host_duplicate: malformed,
  host_malformed: 'write the host as a lower-case name, without trailing dot, user or escapes',
  host_mismatch: 'the Host header must name the host and port that the request goes to',
  userinfo_forbidden: 'send no user name or password in the address',
  port_missing: 'CONNECT names host and port, as in example.com:443',
  target_malformed: malformed,
  http_version: 'use HTTP/1.1 or HTTP/2',
  expectation_unknown: 'expect nothing but 100-continue',
  method_forbidden: 'use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS',
  framing_forbidden: 'frame the body by one Content-Length or by chunked alone',
  body_forbidden: 'send no body with GET or HEAD',
  override_forbidden:
    'send the method and path that are meant; headers that change them are refused, and `_method` and its like in the query; a method that `method` names there must be among those of the same rule',
  upgrade_unsupported:
    'only WebSockets are let through, opened by HTTP/1.1 at an https address, where a rule has WEBSOCKET among its methods; use plain HTTPS requests or wss',
  websocket_malformed:
    'speak WebSocket as RFC 6455 says: GET, version 13 and one key, frames only behind the answer, without extensions',
  https_needs_connect: 'reach https hosts through CONNECT, as clients do when HTTPS_PROXY is set',
  connect_in_tunnel: 'open one tunnel for each host',
  http2_malformed: malformed,
  path_malformed: 'send the path in printable ASCII, with everything else percent-encoded, and no fragment',
  path_ambiguous:
    'servers could read the path in two ways; send it without dot segments, "//", ";" or encoded separators; "%2F" may stand only in segments behind the whole path of the rule, the rest in keys that a rule signs for S3 alone',
}

/** Every reason there is, for the documentation's test. */
export const denialReasons: readonly string[] = [
  ...Object.keys(told),
  ...Object.keys(requestHelp),
  ...notAllowed,
  ...addressClasses.map((name) => `address_${name}`),
]

export interface Denial {
  status: number
  reason: DenialReason
  rule: string
  /** `host:port`, never an address that it resolved to. */
  host: string
  source: string
  /** When to come again, where that is known. */
  retryAfterSeconds?: number
}

/** The HTTP status of a refusal: what a rule or the guard forbids is 403, what is not a proper request 400. */
export function denialStatus(reason: DenialReason): number {
  if (Object.hasOwn(requestHelp, reason)) return 400
  return told[reason as keyof typeof told]?.[0] ?? 403
}

/**
 * Whether the same would come of the same request, where its status alone has programs try again: an upstream has acted
 * on it by then, or is trusted as little.
 */
export function helpsNothingAgain(reason: DenialReason): boolean {
  return reason.startsWith('answer_') || reason === 'upstream_untrusted'
}

/**
 * The body that a program in the sandbox reads: machine-readable, with the way out, without addresses. `message` is the
 * name by which the clients of many services look for what they show, and they show nothing else.
 */
export function denialBody(denial: Denial, asked: { method: string; url: string }): string {
  const { reason, rule, host, source } = denial
  const help = helpFor(denial, asked)
  return `${JSON.stringify({ reason, rule, host, source, help, message: denialSentence(denial, asked) })}\n`
}

/** No program need take a longer line, and part of a command is none. */
const longestPhrase = 1_000

/**
 * What stands behind the status in HTTP/1.1, in printable ASCII: of a refused tunnel programs show nothing else, and of
 * other refusals package managers do not.
 */
export function denialPhrase(denial: Denial, asked: { method: string; url: string }): string {
  const phrase = `${denial.reason}: ${helpFor(denial, asked)}`.replaceAll('’', "'")
  return phrase.length > longestPhrase ? denial.reason : printable(phrase, longestPhrase)
}

/**
 * The same for the person whose tool asked: what was refused, why, and what to say to an admin. Without a full stop: a
 * command at its end is copied, and the stop would be part of its address.
 */
export function denialSentence(denial: Denial, asked: { method: string; url: string }): string {
  const help = helpFor(denial, asked)
  return `The egress proxy refused ${asked.method} ${asked.url} (${denial.reason}): ${help}`
}

function helpFor(denial: Denial, asked: { method: string; url: string }): string {
  const { reason, rule, source } = denial
  // The person reads this without the rule beside it.
  const [, ...credentials] = rule.split(' ')
  if (reason === 'credential_missing') {
    const words = credentials.map((word) => (word === 'for' ? '--for' : shellWord(word)))
    return `${told[reason][1]}: toolcrib credentials set ${words.join(' ')}`
  }
  if (reason === 'credential_unreadable')
    return `${told[reason][1]} to set ${credentials.join(' and ')} again; a private key is for signing and client certificates only`
  if (reason === 'name_unresolved' && rule.startsWith('warn'))
    return 'the host does not resolve; no rule names it (warn mode), so check the address that was asked for'
  const known = told[reason as keyof typeof told]
  if (known !== undefined) return known[1]
  if (reason.endsWith('_not_allowed')) {
    const cure = nameCure(denial.host)
    if (cure !== undefined) return cure
    // An admin pastes this, and its words are the sandbox's.
    const words = [source, methodToAllow(asked.method), asked.url].map(shellWord)
    return `ask an admin: toolcrib egress allow ${words.join(' ')}`
  }
  if (reason.startsWith('address_')) {
    const found = reason.slice('address_'.length) as AddressClass
    const leads = `the host leads to ${anAddress(found)}`
    return pinnable(found)
      ? `${leads}; if that is meant, an admin names it and its port in the rule, as \`address\` and \`port\``
      : `${leads}, which no rule can allow`
  }
  return requestHelp[reason as keyof typeof requestHelp] ?? malformed
}

/** What to do about a host that no rule can name; undefined for any other. */
function nameCure(authority: string): string | undefined {
  const parsed = parseAuthority(authority)
  if (!parsed.ok) return undefined
  if (isIP(parsed.host) !== 0) return 'reach the host by its name: no rule can allow an address'
  if (!parsed.host.includes('.'))
    return 'reach the host by its full name, such as db.example.com: no rule can allow a name without a dot'
  return undefined
}

/** A refused CONNECT says nothing of what would have been asked inside. */
function methodToAllow(method: string): string {
  return method === 'CONNECT' ? 'GET' : method
}

/** Text from outside made safe for a record, a log or an answer: printable ASCII, at most `max` characters. */
export function printable(text: string, max: number): string {
  return text.slice(0, max).replace(/[^\x20-\x7e]/g, '?')
}
