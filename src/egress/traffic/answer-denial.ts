import { type Denial, denialBody, denialPhrase, helpsNothingAgain } from '../decision/denial.ts'
import type { Inbound } from '../inbound/inbound.ts'
import { denialField } from '../request/fields.ts'
import { type Asked, toldAs } from './asked.ts'
import { awsError } from './aws-denial.ts'
import { asksByGrpc, grpcFields } from './grpc-denial.ts'

/**
 * Answers a refusal. A body that was not read closes the connection, for it may be endless; so does `last`, for
 * whom a connection is not worth keeping.
 */
export function answerDenial(inbound: Inbound, denial: Denial, asked: Asked, last = false): void {
  const { answer } = inbound
  if (answer.begun() || answer.gone()) {
    answer.abort()
    return
  }
  // Nor does a stranger keep a connection that others may need.
  if (last) answer.beLast()
  if (asksByGrpc(inbound)) {
    const fields = { ...denialHeaders(denial), ...grpcFields(denial, asked) }
    answer.head(200, Object.entries(fields).flat(), { headOnly: true })
    answer.end([])
    return
  }
  const xml = awsError(inbound, denial, asked)
  const body = xml ?? denialBody(denial, toldAs(asked))
  const fields = {
    ...denialHeaders(denial),
    ...(xml !== undefined && { 'content-type': 'application/xml' }),
    'content-length': String(Buffer.byteLength(body)),
  }
  const headers = Object.entries(fields).flat()
  if (last || !inbound.complete() || denial.status === 407) headers.push('connection', 'close')
  answer.head(denial.status, headers, { phrase: denialPhrase(denial, toldAs(asked)) })
  if (inbound.method !== 'HEAD') answer.sink.write(body)
  answer.end([])
}

/** The same to a CONNECT, whose socket is ours to write to; it is closed after. */
export function connectDenial(denial: Denial, asked: Asked): string {
  const body = denialBody(denial, toldAs(asked))
  const headers = { ...denialHeaders(denial), connection: 'close', 'content-length': Buffer.byteLength(body) }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const phrase = denialPhrase(denial, toldAs(asked))
  return `HTTP/1.1 ${denial.status} ${phrase}\r\n${lines.join('')}\r\n${body}`
}

function denialHeaders(denial: Denial): Record<string, string> {
  return {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    [denialField]: denial.reason,
    ...(denial.status === 407 ? { 'proxy-authenticate': 'Basic realm="toolcrib"' } : {}),
    ...(denial.status === 429 || denial.status === 503
      ? { 'retry-after': String(denial.retryAfterSeconds ?? 1) }
      : {}),
    ...(helpsNothingAgain(denial.reason) ? { 'x-should-retry': 'false' } : {}),
  }
}
