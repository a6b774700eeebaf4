/**
 * Requests that nearly are ones, to the parser as the proxy uses it: bytes to Node's server, what it makes of them to
 * the canonicaliser. Of what is accepted it is checked, by other means, that it is one request to one place.
 */
import type { IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { denialReasons } from '../../../src/egress/decision/denial.ts'
import { headOf } from '../../../src/egress/inbound/http1.ts'
import { type Head, headerValues } from '../../../src/egress/request/head.ts'
import { formatAuthority } from '../../../src/egress/request/host.ts'
import { connectTarget, forwardTarget, type Tuple, tunnelTarget } from '../../../src/egress/request/tuple.ts'
import { webSocketTarget } from '../../../src/egress/request/websocket.ts'
import { forwardedHeaders } from '../../../src/egress/secrets/inject.ts'
import { makeServer } from '../../../src/egress/traffic/server.ts'
import { defaultLimits } from '../../../src/egress/types.ts'
import { Chance, Finding, type Fuzz } from './fuzz.ts'
import { readStrictly, type StrictRequest } from './strict-http1.ts'

const destination = { host: 'api.example.com', port: 443 }

export const fuzz: Fuzz = async ({ seed, deadline, most }) => {
  const chance = new Chance(seed)
  const tally = { tried: 0, accepted: 0 }
  const parser = startParser()
  while (performance.now() < deadline && tally.tried < most) {
    const bytes = chance.once(2) ? writeRequest(chance) : chance.mutate(writeRequest(chance), 3)
    const strictly = readStrictly(bytes)
    for (const [index, head] of (await parser.heads(bytes)).entries()) {
      try {
        const accepted = head === undefined ? 0 : judge(head)
        if (head !== undefined && accepted > 0) checkSame(head, strictly[index])
        tally.accepted += accepted
      } catch (cause) {
        throw new Finding(cause instanceof Error ? cause.message : 'it threw', bytes, seed, cause)
      }
    }
    tally.tried += 1
  }
  return tally
}

/** A whole request, mostly good, with something odd here and there. */
function writeRequest(chance: Chance): string {
  const method = chance.of([
    'GET',
    'GET',
    'POST',
    'PUT',
    'DELETE',
    'CONNECT',
    'OPTIONS',
    'HEAD',
    'TRACE',
    'PRI',
  ])
  const host = chance.mutate(
    chance.of(['api.example.com', 'api.example.com:443', 'API.example.com', '[2001:db8::1]:443']),
    chance.below(3),
  )
  const path = chance.mutate(
    chance.of(['/', '/v1/orders', '/v1/%61?q=1', '/v1/a;b/c', '/v1/../x', '/%2e%2e/']),
    chance.below(4),
  )
  const target = method === 'CONNECT' ? host : chance.once(4) ? `http://${host}${path}` : path
  const headers = [`Host: ${chance.once(3) ? host : 'api.example.com'}`]
  while (!chance.once(3)) headers.push(chance.mutate(chance.of(oddHeaders), chance.of([0, 0, 0, 2])))
  const body = chance.of([
    '',
    '',
    'abc',
    '3\r\nabc\r\n0\r\n\r\n',
    'GET /evil HTTP/1.1\r\nHost: api.example.com\r\n\r\n',
  ])
  return `${method} ${target} ${chance.once(8) ? 'HTTP/1.0' : 'HTTP/1.1'}\r\n${headers.join('\r\n')}\r\n\r\n${body}`
}

const oddHeaders = [
  'Content-Length: 3',
  'Content-Length: 0',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: gzip, chunked',
  'Connection: close, authorization',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  'Host: evil.example.com',
  'X-Forwarded-Host: evil.example.com',
  'X_Original_URL: /admin',
  'Expect: 100-continue',
  'Authorization: Bearer mine',
  'Proxy-Authorization: Basic eA==',
  'TE: trailers',
]

/** Every way in which the proxy may take a head; how many of them accepted it. */
function judge(head: Head): number {
  const refusedAs: string[] = []
  let accepted = 0
  const forward = forwardTarget(head)
  const inner = tunnelTarget(head, destination)
  const upgrade = webSocketTarget(head, destination)
  for (const result of [forward, inner, upgrade]) {
    if (!result.ok) {
      refusedAs.push(result.reason)
      continue
    }
    accepted += 1
    checkTuple(result.tuple, head, result === upgrade)
  }
  if (upgrade.ok) {
    demand(head.method === 'GET' && head.httpVersion === '1.1', 'a WebSocket is opened by a GET of HTTP/1.1')
    checkPlaceOf(upgrade.tuple, destination)
  }
  const connect = connectTarget(head)
  if (connect.ok) {
    accepted += 1
    checkPlace(connect.destination.host, connect.destination.port)
  } else refusedAs.push(connect.reason)
  const unknown = refusedAs.filter((reason) => !denialReasons.includes(reason))
  demand(unknown.length === 0, `a reason that nobody knows: ${unknown.join()}`)
  demand(!(forward.ok && inner.ok), 'one head is both: to the proxy, and within a tunnel')
  if (inner.ok) checkPlaceOf(inner.tuple, destination)
  return accepted
}

/** A strict server finds the same request in the same bytes, however many came before it. */
function checkSame(head: Head, strict: StrictRequest | undefined): void {
  demand(strict !== undefined, `a strict server finds no such request: ${head.method} ${head.target}`)
  const { method, target, version, headers } = strict ?? { method: '', target: '', version: '', headers: [] }
  const same = method === head.method && target === head.target && version === head.httpVersion
  demand(
    same && JSON.stringify(headers) === JSON.stringify(head.rawHeaders),
    'a strict server finds another request',
  )
}

/** What was accepted is one request to one place, written one way, however it is read again. */
function checkTuple(tuple: Tuple, head: Head, opensWebSocket: boolean): void {
  const { scheme, host, port, method, path, query } = tuple
  checkPlace(host, port)
  if (opensWebSocket) demand(method === 'WEBSOCKET', 'a WebSocket that a rule for reading would let out')
  else
    demand(/^(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/.test(method), 'a method that is not one of seven')
  // An encoded slash may be taken for one, and leads nowhere else then; in which rule it may stand, `decideEgress` says.
  if (tuple.isKey)
    demand(
      /^\/(?!\/)[\x21-\x7e]*$/.test(path) && !/[?#\\]|\/\.{1,2}(?:[/;]|$)|%(?:2[eEfF]|00)/.test(path),
      'a key that is more than one',
    )
  else
    for (const read of [path, path.replaceAll('%2F', '/')])
      demand(
        /^\/[\x21-\x7e]*$/.test(read) &&
          !/[?#;\\]|\/\/|\/\.{1,2}(?:\/|$)|%2f|%(?:2[e5E]|5[cC]|00)/.test(read),
        'a path that can be read in two ways',
      )
  demand(
    query === '' || /^\?[\x21\x22\x24-\x7e]*$/.test(query),
    'a query that ends the line or begins a fragment',
  )
  const url = new URL(`${scheme}://${formatAuthority(scheme, host, port)}${path}${query}`)
  demand(url.pathname === path && url.hash === '' && url.username === '', 'WHATWG reads another path in it')
  const authority = formatAuthority(scheme, host, port)
  const again = { ...head, target: scheme === 'http' ? `http://${authority}${path}${query}` : path + query }
  const read = opensWebSocket ? webSocketTarget : tunnelTarget
  const same = scheme === 'http' ? forwardTarget(again) : read(again, { host, port })
  demand(
    same.ok && JSON.stringify(same.tuple) === JSON.stringify(tuple),
    'its own spelling is read as another',
  )
  checkHeaders(
    forwardedHeaders({
      rawHeaders: head.rawHeaders,
      authority,
      searched: true,
      bound: [],
      placed: [],
      spokenFor: true,
    }),
    authority,
  )
}

/** What would be sent names one host and says nothing of the hop before. */
function checkHeaders(headers: string[], authority: string): void {
  demand(headerValues(headers, 'host').join('|') === authority, 'not exactly the one Host')
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? ''
    demand(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name), `a header’s name is no token: ${name}`)
    demand(!/[\0\r\n]/.test(headers[i + 1] ?? ''), `a header’s value ends its line: ${name}`)
    demand(
      !/^(?:connection|te|transfer-encoding|content-length|upgrade|expect|authorization|cookie|proxy-.*|range|if-range)$/i.test(
        name,
      ),
      `${name} is sent on`,
    )
  }
}

function checkPlace(host: string, port: number): void {
  demand(Number.isInteger(port) && port > 0 && port < 65_536, 'a port that is none')
  demand(/^(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|[0-9a-f:]+)$/.test(host), 'a host in no canonical spelling')
  const authority = host.includes(':') ? `[${host}]` : host
  demand(new URL(`https://${authority}/`).hostname === authority, 'WHATWG reads another host in it')
}

function checkPlaceOf(tuple: Tuple, { host, port }: { host: string; port: number }): void {
  demand(tuple.host === host && tuple.port === port, 'it leaves its tunnel')
}

function demand(holds: boolean, what: string): void {
  if (!holds) throw new Error(what)
}

/** Node's server as the proxy makes it, fed with bytes instead of listening. */
function startParser(): { heads: (bytes: string) => Promise<(Head | undefined)[]> } {
  const server = makeServer(defaultLimits)
  /** Undefined: Node refused it by itself. */
  let heads: (Head | undefined)[] = []
  const note = (req: IncomingMessage) => {
    heads.push(headOf(req))
    req.resume()
  }
  server.on('request', (req, res) => {
    note(req)
    res.end()
  })
  server.on('checkContinue', (req, res) => {
    note(req)
    res.end()
  })
  server.on('checkExpectation', (req, res) => {
    heads.push(undefined)
    req.resume()
    res.writeHead(417).end()
  })
  server.on('connect', (req, socket) => {
    note(req)
    socket.destroy()
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  return {
    async heads(bytes) {
      heads = []
      const wire = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })
      wire.on('error', () => undefined)
      server.emit('connection', wire)
      wire.push(Buffer.from(bytes, 'latin1'))
      // The parser works in the turn in which it is told.
      await turn()
      wire.destroy()
      return heads
    },
  }
}
