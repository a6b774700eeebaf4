import type { DenialReason } from '../decision/denial.ts'
import { pairsOf } from '../request/fields.ts'
import { headerValues } from '../request/head.ts'
import type { EvenScrubber } from '../secrets/even-scrubber.ts'
import { answeredHeaders } from '../secrets/inject.ts'
import type { UpstreamAnswer } from '../upstream/channel.ts'
import { codingOf } from './decode.ts'

/** Whether HTTP has such a status (RFC 9110 section 15). Node says no other by HTTP/2, so no client gets another. */
export function hasMeaning(status: number): boolean {
  return status >= 200 && status <= 599
}

/** Why an answer on a searched route is not let through; undefined when it can be searched as it is. */
export function unsearchable(answer: UpstreamAnswer): Extract<DenialReason, `answer_${string}`> | undefined {
  if (codingOf(answer.rawHeaders) === 'unknown' || !answer.plain()) return 'answer_encoded'
  // gRPC and Connect compress each message for itself, inside of the body.
  for (const name of ['grpc-encoding', 'connect-content-encoding'])
    if (headerValues(answer.rawHeaders, name).some((coding) => coding !== 'identity')) return 'answer_encoded'
  const partial = answer.status === 206 || headerValues(answer.rawHeaders, 'content-range').length > 0
  return partial ? 'answer_partial' : undefined
}

/**
 * Whether a status says that there is no content (RFC 9110 sections 15.3.5 and 15.3.6). Some upstreams give it some all
 * the same, or say a length; by HTTP/2 both would break the stream.
 */
export function saysEmpty(status: number): boolean {
  return status === 204 || status === 205
}

export function withoutLength(rawHeaders: readonly string[]): string[] {
  return pairsOf(rawHeaders)
    .filter(([name]) => name.toLowerCase() !== 'content-length')
    .flat()
}

/** The head of an answer whose body has been decoded: of another length, and without its coding. */
export function asDecoded(rawHeaders: readonly string[]): string[] {
  return pairsOf(rawHeaders)
    .filter(([name]) => !/^content-(?:encoding|length)$/i.test(name))
    .flat()
}

/** The fields of an answer's head that go on to the sandbox, masked where they are searched. */
export function cleanHead(
  rawHeaders: readonly string[],
  scrubber: Pick<EvenScrubber, 'fields'> | undefined,
  vouched: boolean,
): string[] {
  const headers = answeredHeaders(rawHeaders, vouched)
  return scrubber === undefined ? headers : scrubber.fields(headers)
}
