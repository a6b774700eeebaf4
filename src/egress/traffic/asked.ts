import { newId } from '../../core/index.ts'
import { printable } from '../decision/denial.ts'
import { longestRecordedPath, wholeSegments } from '../decision/proposal.ts'
import { asciiInOwnMemory } from '../economy/own-memory.ts'
import type { Inbound } from '../inbound/inbound.ts'
import type { DeniedEvent } from '../records/line.ts'
import { bracketed, formatAuthority } from '../request/host.ts'
import type { Destination } from '../request/tuple.ts'

/** What was asked for, made safe to show and to store; canonical where the request was understood. */
export interface Asked {
  scheme: string
  host: string
  port: number
  method: string
  path: string
}

/**
 * A refused request's own words, cut and made printable: it may be anything. What of it may be secret is left out:
 * user information, the query, the fragment.
 */
export function askedRaw(
  said: Pick<Inbound, 'method' | 'target' | 'claimedHost'>,
  scheme: 'http' | 'https',
): Asked {
  const connect = said.method === 'CONNECT'
  const host = untilQuery(afterUser(connect ? said.target : said.claimedHost))
  return {
    scheme,
    host: printable(host, connect ? 1_000 : 255),
    port: 0,
    method: printable(said.method, 20),
    path: connect ? '' : printable(untilQuery(withoutUser(said.target)), 1_000),
  }
}

/** What is known of a refusal in a tunnel that is about no request. */
export function askedInTunnel(destination: Destination): Asked {
  return { scheme: 'https', ...destination, method: '', path: '' }
}

const untilQuery = (text: string) => text.split(/[?#]/, 1)[0] ?? ''
const afterUser = (authority: string) => authority.slice(authority.lastIndexOf('@') + 1)

/** The target without user information; a path that begins with one slash has none, and an "@" in it is its own. */
function withoutUser(target: string): string {
  if (/^\/(?![/\\])/.test(target)) return target
  const [start = ''] = /^(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2,}/.exec(target) ?? ['']
  const rest = target.slice(start.length)
  const [authority = ''] = /^[^/?#\\]*/.exec(rest) ?? ['']
  // What is no host and port may be the beginning of a password that was written with a "/" or "?" in it.
  const isPlain = /^(?:\[[^[\]@]*\]|[^:[\]@]*)(?::[0-9]+)?$/.test(authority)
  return start + (isPlain ? rest : afterUser(rest))
}

/** How a refusal names the place: with its port, unless the request was not understood. */
export function placeOf({ host, port }: Pick<Asked, 'host' | 'port'>): string {
  return port === 0 ? host : `${bracketed(host)}:${port}`
}

const longestTold = 500

/** The event's facts that do not depend on how it went. */
export function factsOf(
  who: Pick<DeniedEvent['data'], 'sourceId' | 'runnerId' | 'generation'>,
  asked: Asked,
  rule: string,
): Omit<DeniedEvent['data'], 'reason' | 'suppressed'> {
  return {
    requestId: newId('egr'),
    sourceId: who.sourceId,
    runnerId: who.runnerId,
    generation: who.generation,
    scheme: asked.scheme,
    // It may wait to be written for seconds, as one of thousands.
    host: asciiInOwnMemory(asked.host),
    port: asked.port,
    method: asked.method,
    path: asciiInOwnMemory(asked.path.slice(0, longestRecordedPath)),
    rule,
    callIds: [],
  }
}

/**
 * Method and address in the spelling that people know; at most so long, and then without what is left of the last
 * segment: a rule is made of it, and part of a segment covers nothing.
 */
export function toldAs({ scheme, host, port, method, path }: Asked): { method: string; url: string } {
  const authority = port === 0 ? host : formatAuthority(scheme === 'https' ? 'https' : 'http', host, port)
  return { method, url: wholeSegments(`${scheme}://${authority}${path}`, longestTold) }
}
