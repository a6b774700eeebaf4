import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type MintedSpec, mintUrl, schemePort } from '../../../catalog/index.ts'
import { http, type PrincipalId } from '../../../core/index.ts'
import { formatAuthority } from '../../request/host.ts'
import type { Destination, Tuple } from '../../request/tuple.ts'
import type { TokenRequest } from './oauth.ts'

/** What came of asking a token endpoint. `unsent`: not one byte of the request left, so nothing can have happened. */
export type EndpointReply =
  | { kind: 'unsent'; code: string }
  | { kind: 'lost'; code: string }
  | { kind: 'answered'; status: number; headers: IncomingHttpHeaders; body: string }

/** The addresses that may be dialled for a host, or why there are none. */
type Judged = { ok: true; addresses: readonly string[] } | { ok: false; reason: string }

export interface EndpointDeps {
  /** Judges where the host leads; the operator's `address` is the only way inside. `principalId` is who asks. */
  check(
    destination: Destination,
    address: string | undefined,
    principalId: PrincipalId,
  ): Judged | Promise<Judged>
  /** Dials judged addresses and speaks TLS as the host; rejects before anything of a request is sent. */
  connect(
    place: Destination & { secure: true; addresses: readonly string[]; poolKey: string },
    protocols: readonly string[],
  ): Promise<Duplex>
  /** What an error may be called in a record: codes, never what an upstream wrote. */
  errorCode(error: unknown): string
  /** For all of it: from the look-up of the host to the last byte of the answer. */
  timeoutMs: number
}

const maxAnswerBytes = 64 * 1024

/** Where a minted credential's tokens come from; the same bytes are matched against a caller's request and dialled. */
export function tokenEndpoint(spec: MintedSpec): Tuple {
  const url = mintUrl(spec)
  return {
    scheme: 'https',
    host: url.hostname,
    port: url.port === '' ? schemePort('https') : Number(url.port),
    method: 'POST',
    path: url.pathname,
    query: '',
  }
}

/**
 * Sends one request to a token endpoint, on a connection of its own (a kept one can die under it, and then nobody
 * knows whether it arrived), to a judged address, over TLS. It follows no redirect, reads at most 64 KiB and gives up
 * `timeoutMs` after it was called, connected or not; nothing is sent twice. `request` is called once the connection
 * stands, which may take long; what it answers in place of one is returned, and nothing sent. It rejects only as
 * `request` does.
 */
export async function askEndpoint<Instead extends { kind: string }>(
  deps: EndpointDeps,
  spec: MintedSpec,
  request: () => Promise<TokenRequest | Instead>,
  principalId: PrincipalId,
): Promise<EndpointReply | Instead> {
  const deadline = AbortSignal.timeout(deps.timeoutMs)
  const reached = await reach(deps, spec, principalId, deadline)
  if (reached.kind !== 'reached') return reached
  const { socket } = reached
  // It may break meanwhile, and is then found destroyed.
  socket.on('error', () => undefined)
  try {
    const asked = await request()
    if ('kind' in asked) return asked
    if (deadline.aborted) return tooLate
    if (socket.destroyed) return { kind: 'unsent', code: 'upstream_failed' }
    return await exchange(deps, spec, asked, socket, deadline)
  } finally {
    socket.destroy()
  }
}

type Reached = { kind: 'reached'; socket: Duplex } | Extract<EndpointReply, { kind: 'unsent' }>

/** A connection on which nothing was sent yet. One that stands only after the deadline is closed unused. */
async function reach(
  deps: EndpointDeps,
  spec: MintedSpec,
  principalId: PrincipalId,
  deadline: AbortSignal,
): Promise<Reached> {
  const { host, port } = tokenEndpoint(spec)
  const connecting = async (): Promise<Reached> => {
    try {
      const guarded = await deps.check({ host, port }, spec.address, principalId)
      if (!guarded.ok) return { kind: 'unsent', code: guarded.reason }
      if (deadline.aborted) return tooLate
      const { addresses } = guarded
      const place = { secure: true, host, port, addresses, poolKey: 'mint' } as const
      const socket = await deps.connect(place, ['http/1.1'])
      if (!deadline.aborted) return { kind: 'reached', socket }
      socket.destroy()
      return tooLate
    } catch (err) {
      return { kind: 'unsent', code: deps.errorCode(err) }
    }
  }
  const { promise, resolve } = Promise.withResolvers<Reached>()
  const late = () => resolve(tooLate)
  deadline.addEventListener('abort', late)
  try {
    return await Promise.race([connecting(), promise])
  } finally {
    deadline.removeEventListener('abort', late)
  }
}

const tooLate = { kind: 'unsent', code: 'upstream_timeout' } as const

async function exchange(
  deps: EndpointDeps,
  spec: MintedSpec,
  asked: TokenRequest,
  socket: Duplex,
  deadline: AbortSignal,
): Promise<EndpointReply> {
  const { host, port, method, path } = tokenEndpoint(spec)
  const { promise, resolve } = Promise.withResolvers<EndpointReply>()
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
  const late = () => lose('upstream_timeout')
  deadline.addEventListener('abort', late)
  outgoing.on('error', (err) => lose(deps.errorCode(err)))
  outgoing.on('upgrade', () => lose('answer_switched'))
  outgoing.on('response', (answer) => readAnswer(answer, resolve, (err) => lose(deps.errorCode(err))))
  outgoing.end(asked.body)
  try {
    return await promise
  } finally {
    deadline.removeEventListener('abort', late)
    outgoing.destroy()
  }
}

/** The whole body, or nothing: one that breaks off, is encoded or too long says nothing for certain. */
function readAnswer(
  answer: IncomingMessage,
  resolve: (reply: EndpointReply) => void,
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
    else
      resolve({
        kind: 'answered',
        status,
        headers: answer.headers,
        body: Buffer.concat(chunks).toString('utf8'),
      })
  })
}
