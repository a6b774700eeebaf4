import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type MintedSpec, mintUrl } from '../../../catalog/index.ts'
import { http } from '../../../core/index.ts'
import type { Guarded } from '../../decision/guard.ts'
import { formatAuthority } from '../../request/host.ts'
import type { Destination, Tuple } from '../../request/tuple.ts'
import type { TokenRequest } from './oauth.ts'

/** What came of asking a token endpoint. `unsent`: not one byte of the request left, so nothing can have happened. */
export type Asked =
  | { kind: 'unsent'; code: string }
  | { kind: 'lost'; code: string }
  | { kind: 'answered'; status: number; body: string }

export interface EndpointDeps {
  /** Judges where the host leads; the operator's `address` is the only way inside. */
  check(destination: Destination, address: string | undefined): Guarded | Promise<Guarded>
  /** Dials judged addresses and speaks TLS as the host; rejects before anything of a request is sent. */
  connect(
    place: Destination & { secure: true; addresses: readonly string[]; poolKey: string },
    protocols: readonly string[],
  ): Promise<Duplex>
  /** What an error may be called in a record: codes, never what an upstream wrote. */
  errorCode(error: unknown): string
  timeoutMs: number
}

const maxAnswerBytes = 64 * 1024

/** Where a minted credential's tokens come from; the same bytes are matched against a caller's request and dialled. */
export function tokenEndpoint(spec: MintedSpec): Tuple {
  const url = mintUrl(spec)
  return {
    scheme: 'https',
    host: url.hostname,
    port: url.port === '' ? 443 : Number(url.port),
    method: 'POST',
    path: url.pathname,
    query: '',
  }
}

/**
 * Sends one request to a token endpoint, on a connection of its own (a kept one can die under it, and then nobody
 * knows whether it arrived), to a judged address, over TLS. It follows no redirect, reads at most 64 KiB and gives up
 * after `timeoutMs`; it never rejects, and nothing is sent twice.
 */
export async function askEndpoint(deps: EndpointDeps, spec: MintedSpec, asked: TokenRequest): Promise<Asked> {
  const { host, port, method, path } = tokenEndpoint(spec)
  let socket: Duplex
  try {
    const guarded = await deps.check({ host, port }, spec.address)
    if (!guarded.ok) return { kind: 'unsent', code: guarded.reason }
    const { addresses } = guarded
    socket = await deps.connect({ secure: true, host, port, addresses, poolKey: 'mint' }, ['http/1.1'])
  } catch (err) {
    return { kind: 'unsent', code: deps.errorCode(err) }
  }
  const { promise, resolve } = Promise.withResolvers<Asked>()
  const length = String(Buffer.byteLength(asked.body))
  const framing = ['Accept-Encoding', 'identity', 'Content-Length', length, 'Connection', 'close']
  const outgoing = http.request({
    createConnection: () => socket,
    method,
    path,
    maxHeaderSize: 32 * 1024,
    headers: ['Host', formatAuthority('https', host, port), ...asked.headers, ...framing],
  })
  const lose = (code: string) => resolve({ kind: 'lost', code })
  const timer = setTimeout(() => lose('upstream_timeout'), deps.timeoutMs)
  outgoing.on('error', (err) => lose(deps.errorCode(err)))
  outgoing.on('upgrade', () => lose('answer_switched'))
  outgoing.on('response', (answer) => readAnswer(answer, resolve, (err) => lose(deps.errorCode(err))))
  outgoing.end(asked.body)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    outgoing.destroy()
    socket.destroy()
  }
}

/** The whole body, or nothing: one that breaks off, is encoded or too long says nothing for certain. */
function readAnswer(
  answer: IncomingMessage,
  resolve: (asked: Asked) => void,
  fail: (error: unknown) => void,
): void {
  answer.on('error', fail)
  const framing = answer.headers['transfer-encoding']
  const encoding = answer.headers['content-encoding']
  if ((encoding ?? 'identity') !== 'identity' || (framing ?? 'chunked').toLowerCase() !== 'chunked') {
    resolve({ kind: 'lost', code: 'answer_encoded' })
    return
  }
  const chunks: Buffer[] = []
  let size = 0
  answer.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > maxAnswerBytes) resolve({ kind: 'lost', code: 'answer_too_long' })
    else chunks.push(chunk)
  })
  answer.on('end', () => {
    const status = answer.statusCode ?? 0
    if (!answer.complete) resolve({ kind: 'lost', code: 'upstream_failed' })
    else resolve({ kind: 'answered', status, body: Buffer.concat(chunks).toString('utf8') })
  })
}
