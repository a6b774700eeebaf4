import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalHost, canonicalPath, keyPath, requestPath } from '../../src/catalog/index.ts'
import type { Head } from '../../src/egress/request/head.ts'
import { formatAuthority, parseAuthority } from '../../src/egress/request/host.ts'
import { connectTarget, forwardTarget, tunnelTarget } from '../../src/egress/request/tuple.ts'

const at = { host: 'api.example.com', port: 443 }
const head = (over: Partial<Head> & { headers?: string[] } = {}): Head => ({
  method: 'GET',
  target: '/v1/x',
  httpVersion: '1.1',
  rawHeaders: ['Host', 'api.example.com', ...(over.headers ?? [])],
  ...over,
})
const reasonOf = (result: { ok: boolean; reason?: string }) => (result.ok ? 'ok' : result.reason)

test('what Node lets through of ambiguous requests is refused, each with its reason', () => {
  const inner: [string, Partial<Head> & { headers?: string[] }, string][] = [
    ['duplicate Host', { headers: ['host', 'api.example.com'] }, 'host_duplicate'],
    ['no Host', { rawHeaders: [] }, 'host_missing'],
    [
      'TE: gzip, chunked',
      { method: 'POST', headers: ['Transfer-Encoding', 'gzip, chunked'] },
      'framing_forbidden',
    ],
    [
      'two TE',
      { method: 'POST', headers: ['TRANSFER-encoding', 'chunked', 'Transfer-Encoding', 'chunked'] },
      'framing_forbidden',
    ],
    [
      'TE and CL',
      { method: 'POST', headers: ['Transfer-Encoding', 'chunked', 'Content-Length', '3'] },
      'framing_forbidden',
    ],
    [
      'HTTP/1.0 with TE',
      { method: 'POST', httpVersion: '1.0', headers: ['Transfer-Encoding', 'chunked'] },
      'http_version',
    ],
    [
      'a length beyond what is counted exactly',
      { method: 'POST', headers: ['Content-Length', '9999999999999999'] },
      'framing_forbidden',
    ],
    ['GET with a body', { headers: ['Content-Length', '3'] }, 'body_forbidden'],
    ['GET with a chunked body', { headers: ['Transfer-Encoding', 'chunked'] }, 'body_forbidden'],
    ['TRACE', { method: 'TRACE' }, 'method_forbidden'],
    ['unknown method', { method: 'PROPFIND' }, 'method_forbidden'],
    ['fragment', { target: '/v1/x#y' }, 'path_malformed'],
    ['double slash', { target: '//evil.example.com/x' }, 'path_ambiguous'],
    ['absolute form in a tunnel', { target: 'https://evil.example.com/x' }, 'target_malformed'],
    ['asterisk', { method: 'OPTIONS', target: '*' }, 'target_malformed'],
    ['other Host', { rawHeaders: ['Host', 'evil.example.com'] }, 'host_mismatch'],
    ['other port', { rawHeaders: ['Host', 'api.example.com:8443'] }, 'host_mismatch'],
    ['latin1 Host', { rawHeaders: ['Host', 'api.ex\xe4mple.com'] }, 'host_malformed'],
    ['userinfo in Host', { rawHeaders: ['Host', 'x@api.example.com'] }, 'userinfo_forbidden'],
    ['CONNECT in a tunnel', { method: 'CONNECT', target: 'a.example.com:443' }, 'connect_in_tunnel'],
    ['Upgrade', { headers: ['Upgrade', 'websocket'] }, 'upgrade_unsupported'],
    ['method override', { headers: ['X-HTTP-Method-Override', 'DELETE'] }, 'override_forbidden'],
    ['X-Original-URL', { headers: ['x-original-url', '/admin'] }, 'override_forbidden'],
  ]
  for (const [name, over, reason] of inner)
    expect([name, reasonOf(tunnelTarget(head(over), at))]).toEqual([name, reason])
  expect(tunnelTarget(head({ rawHeaders: ['Host', 'API.example.com:443'] }), at)).toMatchObject({ ok: true })

  const connects: [string, string, string][] = [
    ['api.example.com', 'api.example.com', 'port_missing'],
    ['good@evil.example.com:443', 'evil.example.com', 'userinfo_forbidden'],
    ['api.example.com:443/path', 'api.example.com', 'host_malformed'],
    ['api.example.com:0443', 'api.example.com', 'host_malformed'],
    ['api.example.com:70000', 'api.example.com', 'host_malformed'],
    ['api.example.com:443', 'evil.example.com:443', 'host_mismatch'],
    ['api.example.com:443', 'api.example.com:444', 'host_mismatch'],
    ['api.example.com:443', 'api.example.com', 'ok'],
    ['API.example.com:443', 'api.example.com:443', 'ok'],
  ]
  for (const [target, host, reason] of connects) {
    const result = connectTarget(head({ method: 'CONNECT', target, rawHeaders: ['Host', host] }))
    expect([target, host, reasonOf(result)]).toEqual([target, host, reason])
  }
  const forwards: [string, string, string][] = [
    ['http://a.example.com/x', 'a.example.com', 'ok'],
    ['http://a.example.com', 'a.example.com:80', 'ok'],
    ['http://a.example.com/x', 'b.example.com', 'host_mismatch'],
    ['http://u:p@a.example.com/x', 'a.example.com', 'userinfo_forbidden'],
    ['http://a.example.com/x#y', 'a.example.com', 'target_malformed'],
    ['https://a.example.com/x', 'a.example.com', 'https_needs_connect'],
    ['ftp://a.example.com/x', 'a.example.com', 'target_malformed'],
    ['/x', 'a.example.com', 'target_malformed'],
    ['http:///x', 'a.example.com', 'host_malformed'],
    ['http://a.example.com\\@b.example.com/', 'a.example.com', 'userinfo_forbidden'],
  ]
  for (const [target, host, reason] of forwards) {
    expect([target, reasonOf(forwardTarget(head({ target, rawHeaders: ['Host', host] })))]).toEqual([
      target,
      reason,
    ])
  }
})

test('a host has one spelling, and only its letters’ case is folded', () => {
  const refused = [
    'example.com.',
    'example.com..',
    'ex%61mple.com',
    'example。com',
    'ex\u0430mple.com',
    'a_b.example.com',
    '[::ffff:1.2.3.4%x.allowed.com]',
    '[fe80::1%eth0]',
    '[0:0:0:0:0:0:0:1]',
    '[::1',
    '::1',
    '',
    '.',
    'a..b',
    '-a.com',
    'a-.com',
    '0177.0.0.1',
    '0x7f000001',
    '2130706433',
    '127.1',
    '0x7f.1',
    '127.0.0.01',
    '127.0.0.256',
    '1.2.3.4.5',
    'a.0x1',
    'xn--',
    'xn--a',
    'xn--zzzzzzzzzzz',
    `${'a'.repeat(64)}.com`,
    `${'a.'.repeat(130)}com`,
    'a b.com',
    'a\0.com',
    'a.com:443.allowed.com',
    'xn--EXAMPLE-.com',
  ]
  for (const text of refused) expect([text, canonicalHost(text).ok]).toEqual([text, false])
  expect(canonicalHost('EXAMPLE.com')).toEqual({ ok: true, host: 'example.com' })
  expect(canonicalHost('xn--mnchen-3ya.de')).toEqual({ ok: true, host: 'xn--mnchen-3ya.de' })
  expect(canonicalHost('127.0.0.1')).toEqual({ ok: true, host: '127.0.0.1' })
  expect(canonicalHost('[2001:DB8::1]')).toEqual({ ok: true, host: '2001:db8::1' })
})

test('a path that two servers could read as two is refused', () => {
  const ambiguous = [
    '/v1/../admin',
    '/v1/..',
    '/./a',
    '/a/.',
    '/v1/%2e%2e/admin',
    '/v1/%252e%252e/admin',
    '/v1/..;/admin',
    '/v1;a=b/x',
    '/v1%3ba',
    '//v1',
    '/a//b',
    '/a%2Fb',
    '/a%2fb',
    '/a\\b',
    '/a%5cb',
    '/%00',
    '/%0d%0a',
    '/%7f',
    '/%c0%af',
    '/%ff',
    '/a%3fb',
    '/a%23b',
    '/%2E',
  ]
  for (const path of ambiguous)
    expect([path, canonicalPath(path)]).toEqual([path, { ok: false, reason: 'path_ambiguous' }])
  for (const path of ['v1', '', '/a b', '/a\tb', '/\xe4', '/a"b', '/a%', '/a%g1', '/a#b', '/a|b', '/\x7f']) {
    expect([path, canonicalPath(path)]).toEqual([path, { ok: false, reason: 'path_malformed' }])
  }
  expect(canonicalPath('/v1/%61%7e%c3%a4?q=/../x')).toEqual({
    ok: true,
    path: '/v1/a~%C3%A4',
    query: '?q=/../x',
  })
})

test('in what is asked for a slash may be encoded, where taken for a slash it would make no other form', () => {
  const taken = [
    ['/@types%2fnode', '/@types%2Fnode'],
    ['/a%2Fb%2fc?q=%2f', '/a%2Fb%2Fc', '?q=%2f'],
    ['/%61%2f%7e/%c3%a4%2f', '/a%2F~/%C3%A4%2F'],
  ]
  for (const [path = '', spelled = '', query = ''] of taken)
    expect([path, requestPath(path)]).toEqual([path, { ok: true, path: spelled, query }])
  const ambiguous = ['/%2f', '/a/%2fb', '/a%2f/b', '/a%2f%2fb', '/a%2f..', '/..%2fa', '/a/.%2fb', '/a%2f%2e']
  ambiguous.push('/a%252fb', '/a%2fb;c', '/a%2f%5cb', '/%c3%2f%a4', '/a%2f%00')
  for (const path of ambiguous)
    expect([path, requestPath(path)]).toEqual([path, { ok: false, reason: 'path_ambiguous' }])
  for (const path of ['/a%2f%2', '/a%%2f41', '/a%2%2f5', '/a%2f b'])
    expect([path, requestPath(path)]).toEqual([path, { ok: false, reason: 'path_malformed' }])
})

test('a key may have what servers read as structure in any other path, but for dots, however often it is decoded', () => {
  const taken = [
    ['/b/a%3bb;c', '/b/a%3Bb;c'],
    ['/b//a/', '/b//a/'],
    ['/b/100%25/my%2520file%25', '/b/100%25/my%2520file%25'],
    ['/b/a%3fb%23c%5cd?x=%2f;//', '/b/a%3Fb%23c%5Cd', '?x=%2f;//'],
    ['/b/..a/.../a..%3b', '/b/..a/.../a..%3B'],
    ['/%61//%c3%a4', '/a//%C3%A4'],
  ]
  for (const [path = '', spelled = '', query = ''] of taken)
    expect([path, keyPath(path)]).toEqual([path, { ok: true, path: spelled, query }])
  const ambiguous = [
    '//b/k',
    '/b/..',
    '/b/./k',
    '/b//../k',
    '/b/..;/k',
    '/b/.%3ba/k',
    '/b/%2e%2e/k',
    '/b/a%2fb;',
  ]
  ambiguous.push('/b/%252e%252e/k', '/b/%25252e%25252e/k', '/b/%25%32%65./k', '/b/%25%2532%2565./k')
  ambiguous.push('/b/a%5c..%5ck', '/b/a%255c..%255ck', '/b/..%3f/k', '/b/..%2523/k', '/b/a%252f..%252fk')
  ambiguous.push('/b/%0a;', '/b/%00;', '/b/%7f;', '/b/%ff;', '/b/%c0%ae%c0%ae;')
  // Decoded as often as that it may be anything.
  ambiguous.push(`/b/${'%25'.padEnd(203, '25')}2e`)
  for (const path of ambiguous)
    expect([path, keyPath(path)]).toEqual([path, { ok: false, reason: 'path_ambiguous' }])
  for (const path of ['/b/a;%2', '/b/a;%', '/b/a b;', '/b/a;#', '/b/a\\;', 'b;', '/b/\xe4;', '/b/a;?\x00'])
    expect([path, keyPath(path)]).toEqual([path, { ok: false, reason: 'path_malformed' }])
})

test('a canonical path is its own canonical form, and WHATWG reads it as the same path', () => {
  const piece = fc.constantFrom(
    '/',
    '.',
    '..',
    'v1',
    '%2e',
    '%2F',
    '%61',
    '%c3%a4',
    ';',
    'a',
    '%',
    '\\',
    '//',
    '~',
    '%7E',
    '*',
    "'",
    '+',
    '?',
    '#',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 12 }), (pieces) => {
      const result = canonicalPath(`/${pieces.join('')}`)
      if (!result.ok) return
      expect(canonicalPath(result.path + result.query)).toEqual(result)
      expect(new URL(`https://h.example${result.path}`).pathname).toBe(result.path)
      expect(decodeURIComponent(result.path)).toBe(
        decodeURIComponent(`/${pieces.join('')}`.split('?')[0] ?? ''),
      )
    }),
    { numRuns: 2_000 },
  )
})

test('an accepted authority is its own canonical form, and names the place that WHATWG reads in it', () => {
  const piece = fc.constantFrom(
    'a',
    'example',
    '.',
    'com',
    ':',
    '443',
    '80',
    '[',
    ']',
    '::1',
    '127',
    '0x7f',
    '@',
    '%',
    'xn--',
    '-',
    'A',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 2 })), { maxLength: 8 }), (pieces) => {
      const text = pieces.join('')
      const result = parseAuthority(text)
      if (!result.ok) return
      const port = result.port ?? 443
      const written = formatAuthority('https', result.host, port)
      expect(parseAuthority(written)).toEqual({
        ok: true,
        host: result.host,
        port: port === 443 ? undefined : port,
      })
      const url = new URL(`https://${text}/`)
      expect([url.host, url.username]).toEqual([written, ''])
    }),
    { numRuns: 2_000 },
  )
})
