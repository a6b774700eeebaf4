/**
 * The floor: the least that Node does to intercept. CONNECT, a certificate signed for each new host, one header
 * added by the target of the CONNECT, a pool of upstream connections. It checks, hides and records nothing.
 */
import {
  createServer,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import { type AddressInfo, isIP, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { makeAuthority, signLeaf } from './certificates.ts'
import { credential, hasCredential } from './names.ts'

const [upstreamCa = ''] = process.argv.slice(2)
const ca = await makeAuthority('floor')
const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, ca: upstreamCa })
const plainAgent = new HttpAgent({ keepAlive: true })
const targets = new WeakMap<object, { host: string; port: string }>()
const contexts = new Map<string, Promise<SecureContext>>()

function contextFor(name: string): Promise<SecureContext> {
  const known = contexts.get(name)
  if (known !== undefined) return known
  const made = signLeaf(ca, [name]).then(createSecureContext)
  contexts.set(name, made)
  return made
}

function forward(request: IncomingMessage, response: ServerResponse): void {
  const target = targets.get(request.socket)
  // In absolute form, straight to the proxy.
  const url = target === undefined ? new URL(request.url ?? '') : undefined
  const host = target?.host ?? url?.hostname ?? ''
  const headers = [...request.rawHeaders]
  if (hasCredential(host)) headers.push('Authorization', credential)
  const options = {
    host,
    port: target?.port ?? url?.port,
    path: url === undefined ? request.url : url.pathname,
    method: request.method,
    headers,
    setHost: false,
  }
  const outgoing =
    url === undefined
      ? httpsRequest({ ...options, agent, servername: isIP(host) === 0 ? host : '' })
      : httpRequest({ ...options, agent: plainAgent })
  outgoing.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
    answer.pipe(response)
  })
  outgoing.on('error', () => response.destroy())
  request.pipe(outgoing)
}

const inner = createServer(forward)
const outer = createServer(forward)
for (const server of [inner, outer]) server.keepAliveTimeout = 120_000
async function intercept(socket: Socket, host: string, port: string): Promise<void> {
  socket.on('error', () => socket.destroy())
  socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
  const secureContext = await contextFor(host)
  const tls = new TLSSocket(socket, { isServer: true, ALPNProtocols: ['http/1.1'], secureContext })
  tls.on('error', () => tls.destroy())
  targets.set(tls, { host, port })
  inner.emit('connection', tls)
}
outer.on('connect', (request: IncomingMessage, socket: Socket) => {
  const [host = '', port = ''] = (request.url ?? '').split(':')
  intercept(socket, host, port).catch(() => socket.destroy())
})
outer.listen(0, '127.0.0.1', () => {
  const { port } = outer.address() as AddressInfo
  process.stdout.write(`${JSON.stringify({ port, ca: ca.certificatePem })}\n`)
})
