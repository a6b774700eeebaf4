import type { Chance } from '../fuzz.ts'
import { makeAnswer } from '../wire/answers.ts'
import { makeLie } from '../wire/lies.ts'
import { host } from '../wire/plan.ts'
import { makeBody } from '../wire/text.ts'
import { makeAct, makeLyingAct } from './acts.ts'
import type { Fields } from './hpack.ts'
import { errorCode } from './peer.ts'
import type { PlannedStream } from './plan.ts'

interface Parts {
  chance: Chance
  path: string
  port: number
  body: Buffer
  /** The pseudo-header fields, then these. */
  head: (method: string, path: string, fields?: Fields) => Fields
}

type Made = Pick<PlannedStream, 'head'> & Partial<PlannedStream>
type Kind = (parts: Parts) => Made

const lengthOf = (body: Buffer): [string, string] => ['content-length', String(body.length)]

const bodiless =
  (method: string, fields: Fields = []): Kind =>
  ({ path, head }) => ({ method, head: head(method, path, fields), headEnds: true, sent: Buffer.alloc(0) })

const withBody =
  (fields: (parts: Parts) => Fields, more: Partial<PlannedStream> = {}): Kind =>
  (parts) => ({ head: parts.head('POST', parts.path, fields(parts)), sent: parts.body, ...more })

const out: Record<string, Kind> = {
  GET: bodiless('GET'),
  HEAD: bodiless('HEAD'),
  DELETE: bodiless('DELETE'),
  'POST without a body': bodiless('POST'),
  'PUT of nothing': bodiless('PUT', [['content-length', '0']]),
  'many fields': ({ chance, path, head }) => ({
    method: 'GET',
    head: head(
      'GET',
      path,
      Array.from({ length: chance.below(200) }, (_, i) => [`x-${i}`, '1']),
    ),
    headEnds: true,
  }),
  'a cookie in crumbs': bodiless('GET', [
    ['cookie', 'a=1'],
    ['cookie', 'b=2'],
  ]),
  'a host as well': ({ path, port, head }) => ({
    method: 'GET',
    head: head('GET', path, [['host', `${host}:${port}`]]),
    headEnds: true,
  }),
  POST: withBody(({ body }) => [lengthOf(body)]),
  'POST of any length': withBody(() => []),
  'POST of nothing at last': ({ path, head }) => ({ head: head('POST', path), sent: Buffer.alloc(0) }),
  'POST with trailers': withBody(() => [['te', 'trailers']], { trailers: [['x-t', '1']] }),
  'POST with a length and trailers': withBody(({ body }) => [lengthOf(body)], { trailers: [['x-t', '1']] }),
  'POST that waits': withBody(({ body }) => [lengthOf(body), ['expect', '100-continue']], { expects: true }),
  // What is no field is dropped by nghttp2 and the request goes on without it, which hides nothing from anybody.
  'a name with a space': bodiless('GET', [['x a', '1']]),
  'no name': bodiless('GET', [['', '1']]),
  'a value with a line break': bodiless('GET', [['x-dropped', '1\r\nx-b: 2']]),
  'a value with NUL': bodiless('GET', [['x-dropped', '1\0']]),
}

/** Refused for one of `reasons`. */
const refusedFor =
  (reasons: string[], kind: Kind): Kind =>
  (parts) => ({ ...kind(parts), reasons })
const elsewhere = (parts: Parts): Parts => ({ ...parts, path: parts.path.replace('/ok/', '/no/') })
const other = (name: string, value: string): Kind => {
  return ({ path, head }) => ({
    method: 'GET',
    head: head('GET', path).map(([own, was]) => [own, own === name ? value : was]),
    headEnds: true,
  })
}

const refused: Record<string, Kind> = {
  'another path': refusedFor(['path_not_allowed'], (parts) => bodiless('GET')(elsewhere(parts))),
  'POST to another path': refusedFor(['path_not_allowed'], (parts) =>
    withBody(({ body }) => [lengthOf(body)])(elsewhere(parts)),
  ),
  'POST of any length to another path': refusedFor(['path_not_allowed'], (parts) =>
    withBody(() => [])(elsewhere(parts)),
  ),
  'another method': refusedFor(['method_not_allowed'], bodiless('PATCH')),
  TRACE: refusedFor(['method_forbidden'], bodiless('TRACE')),
  'another host': refusedFor(['host_mismatch'], bodiless('GET', [['host', 'evil.example.com']])),
  'another authority': refusedFor(['host_mismatch'], other(':authority', 'evil.example.com')),
  'another scheme': refusedFor(['http2_malformed'], other(':scheme', 'http')),
  'a path that can be read in two ways': refusedFor(['path_ambiguous'], (parts) =>
    bodiless('GET')({ ...parts, path: `/ok/../${parts.path}` }),
  ),
  'another method in a field': refusedFor(
    ['override_forbidden'],
    bodiless('POST', [['x-http-method-override', 'DELETE']]),
  ),
  'GET with a body': refusedFor(['body_forbidden'], ({ path, head, body }) => ({
    method: 'GET',
    head: head('GET', path),
    sent: body,
  })),
  'an unknown expectation': refusedFor(['expectation_unknown'], bodiless('POST', [['expect', 'x']])),
}

const without =
  (name: string): Kind =>
  ({ path, head }) => ({
    method: 'GET',
    head: head('GET', path).filter(([own]) => own !== name),
    headEnds: true,
  })

/** Of the head, so that nothing of it may be sent. */
const broken: Record<string, Kind> = {
  'no path': without(':path'),
  'no method': without(':method'),
  'no scheme': without(':scheme'),
  'no authority': without(':authority'),
  'an empty path': other(':path', ''),
  'a path that begins elsewhere': other(':path', 'ok/x'),
  'a path with a line break': ({ path, head }) =>
    bodiless('GET')({ path: `${path} HTTP/1.1\r\nx: y`, head } as Parts),
  'an authority with a line break': other(':authority', `${host}\r\nx: y`),
  'a method with a line break': bodiless('GET / HTTP/1.1\r\nx: y\r\n\r\nGET'),
  'two paths': bodiless('GET', [[':path', '/ok/x']]),
  'two hosts': ({ path, port, head }) => ({
    method: 'GET',
    head: head('GET', path, [
      ['host', `${host}:${port}`],
      ['host', 'evil.example.com'],
    ]),
    headEnds: true,
  }),
  'a user in the authority': other(':authority', `a@${host}`),
  'two methods': ({ path, head }) => ({
    method: 'GET',
    head: [[':method', 'POST'], ...head('GET', path)],
    headEnds: true,
  }),
  'an unknown pseudo-header': ({ path, head }) => ({
    method: 'GET',
    head: [[':x', '1'], ...head('GET', path)],
    headEnds: true,
  }),
  'a pseudo-header behind': ({ path, head }) => ({
    method: 'GET',
    head: [['x-a', '1'], ...head('GET', path)],
    headEnds: true,
  }),
  'an answer’s pseudo-header': bodiless('GET', [[':status', '200']]),
  'a name in capitals': bodiless('GET', [['X-A', '1']]),
  'a field of one hop': bodiless('GET', [['connection', 'close']]),
  'a foreign coding': bodiless('POST', [['transfer-encoding', 'chunked']]),
  'te that is no trailers': bodiless('GET', [['te', 'gzip']]),
  'a length that is none': withBody(() => [['content-length', '+5']]),
  'two lengths': withBody(({ body }) => [lengthOf(body), ['content-length', '1']]),
  CONNECT: bodiless('CONNECT'),
  'CONNECT to a protocol': ({ path, head }) => ({
    method: 'CONNECT',
    head: [[':protocol', 'websocket'], ...head('CONNECT', path)],
    headEnds: true,
  }),
}

/** Broken in the body, so that a beginning of it may have been sent, but no whole. */
const brokenLater: Record<string, Kind> = {
  'more than its length': withBody(({ body }) => [['content-length', String(body.length - 1)]], {
    endsAll: true,
  }),
  'less than its length': withBody(({ body }) => [['content-length', String(body.length + 1)]]),
  'nothing of its length': bodiless('POST', [['content-length', '5']]),
  'trailers with a pseudo-header': withBody(() => [], { trailers: [[':path', '/ok/x']] }),
  'trailers of one hop': withBody(() => [], { trailers: [['connection', 'close']] }),
  'trailers in capitals': withBody(() => [], { trailers: [['X-T', '1']] }),
}

/** One request. A `calm` one is neither broken nor taken back, and its upstream does what it should. */
export function makeStream(
  chance: Chance,
  id: string,
  { port, byHttp2 }: { port: number; byHttp2: boolean },
  calm: boolean,
): PlannedStream {
  const dice = chance.below(calm ? 80 : 100)
  const [kinds, fate] =
    dice < 64
      ? ([out, 'out'] as const)
      : dice < 80
        ? ([refused, 'refused'] as const)
        : dice < 90
          ? ([broken, 'broken'] as const)
          : ([chance.once(2) ? brokenLater : out, dice < 95 ? 'broken' : 'out'] as const)
  const from = fate === 'broken' && kinds === out ? brokenLater : kinds
  const kind = chance.of(Object.keys(from))
  const own = fate === 'out' && from === brokenLater ? 'broken' : fate
  const body = Buffer.from(makeBody(chance, chance.of([1, 300, 70_000])), 'latin1')
  const path = `/ok/${id}`
  const made = from[kind]!({
    chance,
    path,
    port,
    body,
    head: (method, at, fields = []) => [
      [':method', method],
      [':scheme', 'https'],
      [':authority', `${host}:${port}`],
      [':path', at],
      ...fields,
    ],
  })
  const method = made.method ?? 'POST'
  const sent = made.sent ?? Buffer.alloc(0)
  const takenBack =
    !calm && own === 'out' && chance.once(8)
      ? {
          afterMs: chance.of([0, 0, 1, 5, 20]),
          code: chance.of([errorCode.cancel, errorCode.none, errorCode.internal]),
        }
      : undefined
  const planned: PlannedStream = {
    id,
    kind,
    method,
    bytes: '',
    fate: own,
    body: sent.toString('latin1'),
    headEnds: false,
    sent,
    ...made,
    ...(takenBack === undefined ? {} : { takenBack, staysOpen: chance.once(2) }),
  }
  if (own !== 'out' && from !== brokenLater) return planned
  const lies = !calm && chance.once(3)
  if (!byHttp2) return { ...planned, answer: (lies ? makeLie : makeAnswer)(chance, id, method) }
  return { ...planned, ...(lies ? makeLyingAct : makeAct)(chance, id, method) }
}
