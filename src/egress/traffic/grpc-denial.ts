import { type Denial, denialSentence, helpsNothingAgain } from '../decision/denial.ts'
import type { Inbound } from '../inbound/inbound.ts'
import { headerValues } from '../request/head.ts'
import { type Asked, toldAs } from './asked.ts'

/** Codes of gRPC, as its clients read them from the statuses of HTTP where they find none. */
const codes: Readonly<Record<number, number>> = { 400: 13, 403: 7, 429: 14, 502: 14, 503: 14, 504: 14 }
const unknown = 2

/** Whether a program asks by gRPC, and so looks nowhere but in the fields of an answer for why it is refused. */
export function asksByGrpc({ rawHeaders }: Inbound): boolean {
  const [type = ''] = headerValues(rawHeaders, 'content-type')
  return /^application\/grpc(?:[+;]|$)/i.test(type) && headerValues(rawHeaders, 'te').includes('trailers')
}

/**
 * A refusal as gRPC has it: the whole answer is a head of status 200 with these fields (Trailers-Only, in its protocol
 * over HTTP/2).
 */
export function grpcFields(denial: Denial, asked: Asked): Record<string, string> {
  const message = denialSentence(denial, toldAs(asked))
  return {
    'content-type': 'application/grpc',
    'grpc-status': String(codes[denial.status] ?? unknown),
    'grpc-message': message.replace(/[^\x20-\x24\x26-\x7e]/gu, encodeURIComponent),
    // Many a client calls again by itself where the status is UNAVAILABLE, but for this (gRPC's proposal A6).
    ...(helpsNothingAgain(denial.reason) && { 'grpc-retry-pushback-ms': '-1' }),
  }
}
