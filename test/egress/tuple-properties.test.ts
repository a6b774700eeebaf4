import { isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalHost } from '../../src/catalog/index.ts'
import type { Head } from '../../src/egress/request/head.ts'
import { formatAuthority } from '../../src/egress/request/host.ts'
import { connectTarget, forwardTarget, type Tuple, tunnelTarget } from '../../src/egress/request/tuple.ts'

const runs = { numRuns: 3_000 }

/** A request as a forward proxy gets it, in spellings that are near each other so that many name the same place. */
const spelled = fc.record({
  method: fc.constantFrom('GET', 'POST', 'TRACE'),
  scheme: fc.constantFrom('http', 'HTTP', 'https'),
  host: fc.constantFrom(
    'a.example.com',
    'A.example.COM',
    'a.example.com.',
    'b.example.com',
    'a%2eexample.com',
    'xn--mnchen-3ya.de',
    'XN--MNCHEN-3YA.de',
    'münchen.de',
    '10.0.0.1',
    '10.0.1',
    '0xa.0.0.1',
    '[fd00::1]',
    '[FD00::1]',
    '[fd00:0::1]',
  ),
  port: fc.constantFrom('', ':80', ':080', ':443', ':8080', ':0', ':65536', ':'),
  path: fc
    .array(
      fc.constantFrom(
        '/a',
        '/%61',
        '/A',
        '/%41',
        '/b',
        '/.',
        '/..',
        '/%2e',
        '//',
        '/;',
        '/~',
        '/%7E',
        '/%7e',
        '/%2F',
        '/ä',
        '/%C3%A4',
        '/%c3%a4',
      ),
      {
        maxLength: 3,
      },
    )
    .map((parts) => parts.join('')),
  query: fc.constantFrom('', '?', '?q=1', '?q=%61'),
})

type Spelled = typeof spelled extends fc.Arbitrary<infer T> ? T : never
const headOf = ({ method, scheme, host, port, path, query }: Spelled): Head => ({
  method,
  target: `${scheme}://${host}${port}${path}${query}`,
  httpVersion: '1.1',
  rawHeaders: ['Host', `${host}${port}`],
})

/** Where a request goes as somebody else reads it: WHATWG's host and port, each segment decoded by itself. */
function destinationOf(from: Spelled): string {
  const url = new URL(headOf(from).target)
  return JSON.stringify([
    from.method,
    url.protocol,
    url.host,
    url.pathname.split('/').map(decodeURIComponent),
    url.search,
  ])
}

test('two requests that are accepted have equal tuples exactly when they are for the same destination', () => {
  let both = 0
  fc.assert(
    fc.property(spelled, spelled, fc.boolean(), (one, other, near) => {
      const second = near
        ? {
            ...other,
            method: one.method,
            scheme: one.scheme,
            host: one.host,
            port: one.port,
            query: one.query,
          }
        : other
      const [first, then] = [forwardTarget(headOf(one)), forwardTarget(headOf(second))]
      if (!first.ok || !then.ok) return
      both += 1
      // An empty query is none to WHATWG, and is sent on as it was written.
      const place = ({ query, ...rest }: Tuple) => JSON.stringify([rest, query === '?' ? '' : query])
      expect(place(first.tuple) === place(then.tuple)).toBe(destinationOf(one) === destinationOf(second))
    }),
    { numRuns: 20_000 },
  )
  expect(both).toBeGreaterThan(50)
})

test('a tuple written as a request is read as the same tuple, by each of the ways in', () => {
  let accepted = 0
  fc.assert(
    fc.property(spelled, (from) => {
      const first = forwardTarget(headOf(from))
      if (!first.ok) return
      accepted += 1
      const { scheme, host, port, method, path, query } = first.tuple
      const authority = formatAuthority('http', host, port)
      const head = { method, httpVersion: '1.1', rawHeaders: ['Host', authority] }
      expect(forwardTarget({ ...head, target: `${scheme}://${authority}${path}${query}` })).toEqual(first)
      const secure = formatAuthority('https', host, port)
      const inner = tunnelTarget(
        { ...head, target: path + query, rawHeaders: ['Host', secure] },
        { host, port },
      )
      expect(inner).toEqual({ ok: true, tuple: { ...first.tuple, scheme: 'https' } })
      const named = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
      const connect = connectTarget({
        method: 'CONNECT',
        target: named,
        httpVersion: '1.1',
        rawHeaders: ['Host', named],
      })
      expect(connect).toEqual({ ok: true, destination: { host, port } })
    }),
    { numRuns: 10_000 },
  )
  expect(accepted).toBeGreaterThan(50)
})

const number = (radix: (value: number) => string) => (parts: number[]) => parts.map(radix).join('.')
const whole = (parts: number[]) => parts.reduce((sum, part) => sum * 256 + part, 0)
const hex = (value: number) => `0x${value.toString(16)}`
const octal = (value: number) => `0${value.toString(8)}`
const wide = (text: string) =>
  text.replaceAll(/[0-9.]/g, (char) => String.fromCharCode(char.charCodeAt(0) + 0xfee0))
/** Ways to write one IPv4 address that some resolver, browser or library takes for it. */
const v4Spellings: ((parts: number[]) => string)[] = [
  number(String),
  number(hex),
  number((value) => hex(value).toUpperCase()),
  number(octal),
  number((value) => String(value).padStart(3, '0')),
  (parts) => String(whole(parts)),
  (parts) => hex(whole(parts)),
  (parts) => octal(whole(parts)),
  (parts) => `${parts[0]}.${whole(parts.slice(1))}`,
  (parts) => `${parts[0]}.${parts[1]}.${whole(parts.slice(2))}`,
  (parts) => `${parts.join('.')}.`,
  (parts) => wide(parts.join('.')),
  (parts) => parts.join('%2e'),
  (parts) => `[::ffff:${parts.join('.')}]`,
  (parts) => `[::${parts.join('.')}]`,
  (parts) => `[64:ff9b::${parts.join('.')}]`,
  (parts) => `[${parts.join('.')}]`,
  (parts) => ` ${parts.join('.')}`,
  (parts) => `${parts.join('.')}%eth0`,
]

test('every spelling of an IPv4 address is refused, but the one that is equal to it', () => {
  const octets = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 })
  fc.assert(
    fc.property(octets, fc.constantFrom(...v4Spellings), (parts, spell) => {
      const text = spell(parts)
      const result = canonicalHost(text)
      expect(result.ok ? result.host : parts.join('.')).toBe(parts.join('.'))
      // What passes is understood as that very address by everybody.
      expect(!result.ok || (isIPv4(text) && new URL(`http://${text}/`).hostname === text)).toBe(true)
    }),
    runs,
  )
})

test('every spelling of an IPv6 address is refused, but its one short form, whose letters’ case is folded', () => {
  const groups = fc.array(fc.oneof(fc.nat(0xffff), fc.constant(0)), { minLength: 8, maxLength: 8 })
  const text = (parts: number[]) => parts.map((part) => part.toString(16)).join(':')
  const short = (parts: number[]) => new URL(`http://[${text(parts)}]/`).hostname
  const spellings: ((parts: number[]) => string)[] = [
    short,
    (parts) => short(parts).toUpperCase(),
    (parts) => `[${text(parts)}]`,
    (parts) => `[${parts.map((part) => part.toString(16).padStart(4, '0')).join(':')}]`,
    (parts) => short(parts).slice(1, -1),
    (parts) => short(parts).replace(']', '%25eth0]'),
    (parts) => short(parts).replace(']', '%1]'),
    (parts) => short(parts).replace('[', '[0'),
    (parts) => `${short(parts)}.`,
    (parts) =>
      `[${text(parts.slice(0, 6))}:${(parts[6] ?? 0) >> 8}.${(parts[6] ?? 0) & 255}.${(parts[7] ?? 0) >> 8}.${(parts[7] ?? 0) & 255}]`,
  ]
  fc.assert(
    fc.property(groups, fc.constantFrom(...spellings), (parts, spell) => {
      const result = canonicalHost(spell(parts))
      const one = short(parts).slice(1, -1)
      expect(result.ok ? result.host : one).toBe(one)
      expect(!result.ok || isIPv6(result.host)).toBe(true)
    }),
    runs,
  )
})
