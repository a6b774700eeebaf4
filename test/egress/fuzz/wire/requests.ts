import type { Chance } from '../fuzz.ts'
import { makeAnswer } from './answers.ts'
import { makeLie } from './lies.ts'
import { host, type PlannedRequest, type Way } from './plan.ts'
import { inChunks, makeBody } from './text.ts'

interface Parts {
  chance: Chance
  path: string
  body: string
  length: string
  /** The body in chunks, with their end. */
  chunks: (extensions?: boolean) => string
  /** A head without its end: the line, Host, and these fields. */
  head: (method: string, path: string, fields?: string, version?: string) => string
  /** The line alone, and what the proxy is to know the caller by. */
  line: (method: string, path: string) => [line: string, authorization: string]
}

type Kind = (parts: Parts) => Omit<PlannedRequest, 'id' | 'kind' | 'fate' | 'body'> & { body?: string }

const chunked = 'Transfer-Encoding: chunked\r\n'
const end = '\r\n'

const plain =
  (method: string, fields = ''): Kind =>
  ({ path, head }) => ({
    method,
    bytes: head(method, path, fields) + end,
  })

/** With a body by length. */
const counted =
  (fields = '', more: Partial<PlannedRequest> = {}): Kind =>
  ({ path, head, length, body }) => ({
    method: 'POST',
    bytes: head('POST', path, length + fields) + end + body,
    body,
    ...more,
  })

const out: Record<string, Kind> = {
  GET: plain('GET'),
  HEAD: plain('HEAD'),
  DELETE: plain('DELETE'),
  POST: counted(),
  'POST without a body': plain('POST'),
  'PUT of nothing': plain('PUT', 'Content-Length: 0\r\n'),
  'many fields': ({ chance, path, head }) => ({
    method: 'GET',
    bytes: head('GET', path, 'X-Many: 1\r\n'.repeat(chance.below(30))) + end,
  }),
  'POST in chunks': ({ path, head, chunks, body }) => ({
    method: 'POST',
    bytes: head('POST', path, chunked) + end + chunks(),
    body,
  }),
  'chunks with extensions and trailers': ({ chance, path, head, chunks, body }) => ({
    method: 'POST',
    bytes:
      head('POST', path, chunked) +
      end +
      chunks(true).replace(/0\r\n\r\n$/, `0${chance.of(['', ';e=1'])}\r\nX-T: 1\r\n\r\n`),
    body,
  }),
  'no chunk': ({ path, head }) => ({ method: 'POST', bytes: `${head('POST', path, chunked)}\r\n0\r\n\r\n` }),
  'POST that waits': counted('Expect: 100-continue\r\n', { expects: true }),
  'chunks that wait': ({ path, head, chunks, body }) => ({
    method: 'POST',
    bytes: head('POST', path, `${chunked}Expect: 100-continue\r\n`) + end + chunks(),
    body,
    expects: true,
  }),
  'an empty line before': ({ path, head }) => ({ method: 'GET', bytes: end + head('GET', path) + end }),
}

const last: Record<string, Kind> = {
  'GET, the last': (parts) => ({ ...plain('GET', 'Connection: close\r\n')(parts), ends: true }),
  'POST, the last': counted('Connection: close\r\n', { ends: true }),
  'HTTP/1.0': ({ path, head }) => ({ method: 'GET', bytes: head('GET', path, '', '1.0') + end, ends: true }),
  'HTTP/1.0 that goes on': ({ path, head }) => ({
    method: 'GET',
    bytes: head('GET', path, 'Connection: keep-alive\r\n', '1.0') + end,
    mayEnd: true,
  }),
}

/** Refused for one of `reasons`; one with a body may be the last. */
const refusedFor =
  (reasons: string[], method: string, make: (parts: Parts) => string): Kind =>
  (parts) => {
    const bytes = make(parts)
    return { method, bytes, reasons, mayEnd: /\r\n(?:Content-Length|Transfer-Encoding): /.test(bytes) }
  }
const elsewhere = (path: string) => path.replace('/ok/', '/no/')

const refused: Record<string, Kind> = {
  'another path': refusedFor(
    ['path_not_allowed'],
    'GET',
    ({ path, head }) => head('GET', elsewhere(path)) + end,
  ),
  'POST to another path': refusedFor(
    ['path_not_allowed'],
    'POST',
    ({ path, head, length, body }) => head('POST', elsewhere(path), length) + end + body,
  ),
  'chunks to another path': refusedFor(
    ['path_not_allowed'],
    'POST',
    ({ path, head, chunks }) => head('POST', elsewhere(path), chunked) + end + chunks(true),
  ),
  'POST that waits for another path': refusedFor(
    ['path_not_allowed'],
    'POST',
    ({ path, head, length, body }) =>
      head('POST', elsewhere(path), `${length}Expect: 100-continue\r\n`) + end + body,
  ),
  'another method': refusedFor(
    ['method_not_allowed'],
    'PATCH',
    ({ path, head, length, body }) => head('PATCH', path, length) + end + body,
  ),
  TRACE: refusedFor(['method_forbidden'], 'TRACE', ({ path, head }) => head('TRACE', path) + end),
  'two hosts': refusedFor(
    ['host_duplicate'],
    'GET',
    ({ path, head }) => head('GET', path, 'Host: orders.example.com\r\n') + end,
  ),
  'another host': refusedFor(
    ['host_mismatch', 'authority_mismatch'],
    'GET',
    ({ path, line }) => `${line('GET', path).join('Host: evil.example.com\r\n')}\r\n`,
  ),
  'no host': refusedFor(['host_missing'], 'GET', ({ path, line }) => `${line('GET', path).join('')}\r\n`),
  'GET with a body': refusedFor(
    ['body_forbidden'],
    'GET',
    ({ path, head, length, body }) => head('GET', path, length) + end + body,
  ),
  'GET in chunks': refusedFor(
    ['body_forbidden'],
    'GET',
    ({ path, head, chunks }) => head('GET', path, chunked) + end + chunks(true),
  ),
  'HEAD with a body': refusedFor(
    ['body_forbidden'],
    'HEAD',
    ({ path, head, length, body }) => head('HEAD', path, length) + end + body,
  ),
  'another coding': refusedFor(
    ['framing_forbidden'],
    'POST',
    ({ path, head, chunks }) => head('POST', path, 'Transfer-Encoding: gzip, chunked\r\n') + end + chunks(),
  ),
  'an unknown expectation': refusedFor(
    ['expectation_unknown'],
    'POST',
    ({ path, head, length, body }) => head('POST', path, `${length}Expect: what\r\n`) + end + body,
  ),
  'an override': refusedFor(
    ['override_forbidden'],
    'GET',
    ({ path, head }) => head('GET', path, 'X-HTTP-Method-Override: PUT\r\n') + end,
  ),
  'dots in the path': ({ path, head }) => ({ method: 'GET', bytes: head('GET', `/ok/..${path}`) + end }),
  'chunks by HTTP/1.0': (parts) => ({
    ...refusedFor(
      ['http_version'],
      'POST',
      ({ path, head, chunks }) => head('POST', path, chunked, '1.0') + end + chunks(),
    )(parts),
    ends: true,
  }),
}

const unreadable =
  (make: (parts: Parts) => string, method = 'GET'): Kind =>
  (parts) => ({
    method,
    bytes: make(parts),
  })

const upgrade = (fields: string, method = 'GET'): Kind =>
  unreadable(({ path, head, length, body }) => {
    const asked = `Connection: Upgrade\r\n${fields}`
    return method === 'GET'
      ? head(method, path, asked) + end
      : head(method, path, length + asked) + end + body
  }, method)

const broken: Record<string, Kind> = {
  'a length and chunks': unreadable(
    ({ path, head, length, chunks }) => head('POST', path, length + chunked) + end + chunks(),
  ),
  'chunks and a length': unreadable(
    ({ path, head, length, chunks }) => head('POST', path, chunked + length) + end + chunks(),
  ),
  'two lengths': unreadable(
    ({ path, head, length, body }) => head('POST', path, `${length}Content-Length: 1\r\n`) + end + body,
  ),
  'no length': unreadable(
    ({ path, head, body }) => head('POST', path, `Content-Length: +${body.length}\r\n`) + end + body,
  ),
  'a folded field': unreadable(({ path, head }) => head('GET', path, 'X-A: 1\r\n 2\r\n') + end),
  'bare line feeds': unreadable(({ path, head }) => (head('GET', path) + end).replaceAll('\r\n', '\n')),
  'a space before the colon': unreadable(({ path, head }) => head('GET', path, 'X-A : 1\r\n') + end),
  NUL: unreadable(({ path, head }) => head('GET', path, 'X-A: a\0\r\n') + end),
  'HTTP/0.9': unreadable(({ path }) => `GET ${path}\r\n\r\n`),
  garbage: unreadable(() => 'garbage\x00\xff\r\n\r\n'),
  'a head that is too long': unreadable(
    ({ path, head }) => head('GET', path, `X-A: ${'a'.repeat(40_000)}\r\n`) + end,
  ),
  CONNECT: unreadable(
    ({ line }) => `CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n${line('', '')[1]}\r\n`,
  ),
  WebSocket: upgrade(
    'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
  ),
  'HTTP/2 in clear': upgrade('Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'),
  'WebSocket by POST': upgrade('Upgrade: websocket\r\n', 'POST'),
  'the preface of HTTP/2': unreadable(() => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
}

/** Broken in the body, so that a beginning of it may have been sent. */
const brokenLater: Record<string, Kind> = {
  'no chunk': ({ path, head, chunks }) => ({
    method: 'POST',
    bytes: head('POST', path, chunked) + end + chunks().replace(/0\r\n\r\n$/, 'xyz\r\n0\r\n\r\n'),
  }),
  'a chunk that does not end': ({ path, head }) => ({
    method: 'POST',
    bytes: `${head('POST', path, chunked)}\r\n5\r\nhelloXX0\r\n\r\n`,
  }),
  'trailers that are none': ({ path, head }) => ({
    method: 'POST',
    bytes: `${head('POST', path, chunked)}\r\n5\r\nhello\r\n0\r\nContent-Length: 5\r\nX Y: 1\r\n\r\n`,
  }),
}

/** One request. A `calm` one neither ends its connection nor is broken. */
export function makeRequest(chance: Chance, id: string, way: Way, calm: boolean): PlannedRequest {
  const dice = chance.below(calm ? 82 : 100)
  const [kinds, fate] =
    dice < 62
      ? ([out, 'out'] as const)
      : dice < 82
        ? ([refused, 'refused'] as const)
        : dice < 88
          ? ([last, 'out'] as const)
          : ([chance.once(5) ? brokenLater : broken, 'broken'] as const)
  const kind = chance.of(Object.keys(kinds))
  const { body = '', ...made } = kinds[kind]!(makeParts(chance, id, way))
  const answered = fate === 'out' || kinds === brokenLater
  const makeIt = chance.once(3) ? makeLie : makeAnswer
  return { id, kind, fate, body, ...made, ...(answered ? { answer: makeIt(chance, id, made.method) } : {}) }
}

function makeParts(chance: Chance, id: string, { secure, port, authorization }: Way): Parts {
  const body = makeBody(chance)
  const authority = `${host}:${port}`
  const target = (path: string) => (secure ? path : `http://${authority}${path}`)
  const known = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`
  return {
    chance,
    path: `/ok/${id}`,
    body,
    length: `Content-Length: ${body.length}\r\n`,
    chunks: (extensions = false) => `${inChunks(chance, body, extensions)}0\r\n\r\n`,
    head: (method, path, fields = '', version = '1.1') =>
      `${method} ${target(path)} HTTP/${version}\r\nHost: ${authority}\r\n${known}${fields}`,
    line: (method, path) => [`${method} ${target(path)} HTTP/1.1\r\n`, known],
  }
}
