/**
 * What is reached through the contestants, in a process of its own. `fast` answers `/json/<n>` and nothing else, by
 * hand, so that it is never the bottleneck; the others are Node's own servers with every other path. Each answers
 * 401 without the credential, so that a right answer proves that it was added.
 */
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { createServer as createTls, type TLSSocket } from 'node:tls'
import { answerBody, answerBytes, credential, secret } from './names.ts'

export interface UpstreamPorts {
  fast: number
  full: number
  /** Another port of the same host. */
  second: number
  plain: number
}

/** What arrived at one of the slow ports. */
export interface Seen {
  port: keyof UpstreamPorts
  hosts: string[]
  hasSecret: boolean
}

const block = Buffer.alloc(64 * 1024, 'a')
const seen: Seen[] = []

function serveFast(socket: TLSSocket): void {
  let kept: Buffer | undefined
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: Buffer) => {
    let rest = kept === undefined ? chunk : Buffer.concat([kept, chunk])
    let out = ''
    for (;;) {
      const end = rest.indexOf('\r\n\r\n')
      if (end === -1) break
      const head = rest.toString('latin1', 0, end)
      rest = rest.subarray(end + 4)
      const n = Number(head.slice(10, head.indexOf(' ', 10)))
      const isRight = head.startsWith('GET /json/') && head.includes(secret)
      out += isRight
        ? `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${answerBytes}\r\n\r\n${answerBody(n)}`
        : 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n'
    }
    kept = rest.length === 0 ? undefined : rest
    if (out !== '') socket.write(out, 'latin1')
  })
}

function serveFull(port: keyof UpstreamPorts) {
  return (request: IncomingMessage, response: ServerResponse) => {
    const raw = request.rawHeaders
    const hosts = raw.filter((_, at) => at % 2 === 1 && raw[at - 1]?.toLowerCase() === 'host')
    seen.push({ port, hosts, hasSecret: raw.join('\n').includes(secret) })
    const path = request.url ?? '/'
    if (path.startsWith('/echo')) return echo(request, response)
    if (request.headers.authorization !== credential) return void response.writeHead(401).end()
    if (path.startsWith('/down/')) return sendBlocks(response, Number(path.slice(6)) * 16)
    if (path === '/up') return countBytes(request, response)
    if (path === '/sse') return sendEvents(response, 'text/event-stream', (n) => `data: event ${n}\n\n`)
    if (path === '/ndjson') return sendEvents(response, 'application/x-ndjson', (n) => `{"event":${n}}\n`)
    response.writeHead(404).end()
  }
}

/** Shows the caller everything that came, in the body and in a header. */
function echo(request: IncomingMessage, response: ServerResponse): void {
  request.resume()
  response.writeHead(200, {
    'content-type': 'application/json',
    'x-echo': request.headers.authorization ?? 'none',
  })
  response.end(JSON.stringify({ rawHeaders: request.rawHeaders }))
}

function sendBlocks(response: ServerResponse, blocks: number): void {
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-length': blocks * block.length,
  })
  let left = blocks
  const more = () => {
    while (left-- > 0) if (!response.write(block)) return void response.once('drain', more)
    response.end()
  }
  more()
}

function countBytes(request: IncomingMessage, response: ServerResponse): void {
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  request.on('end', () => response.end(JSON.stringify({ bytes })))
}

/** Three events, 100 ms apart, without a length. */
function sendEvents(response: ServerResponse, type: string, event: (n: number) => string): void {
  response.writeHead(200, { 'content-type': type })
  let n = 0
  const next = () => {
    response.write(event(n++))
    if (n < 3) setTimeout(next, 100)
    else response.end()
  }
  next()
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

process.on('message', (message: { leaf: { cert: string; key: string } } | 'take') => {
  if (message === 'take') return void process.send?.(seen.splice(0))
  const { leaf } = message
  const keepAlive = { keepAliveTimeout: 60_000 }
  Promise.all([
    listening(createTls({ ...leaf, ALPNProtocols: ['http/1.1'] }, serveFast)),
    listening(createHttps({ ...leaf, ...keepAlive }, serveFull('full'))),
    listening(createHttps({ ...leaf, ...keepAlive }, serveFull('second'))),
    listening(createHttp(keepAlive, serveFull('plain'))),
  ]).then(
    ([fast, full, second, plain]) => process.send?.({ fast, full, second, plain } satisfies UpstreamPorts),
    (error: unknown) => {
      throw error
    },
  )
})
process.once('disconnect', () => process.exit())
