import { expect, test } from 'vitest'
import { armed, deniedAs, host, listenTo } from '../../support/armed.ts'
import {
  basic,
  connectRequest,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
} from '../../support/egress-world.ts'

/** Requests that two parsers could read as two: each is refused, or goes out in one spelling. */

test('row 20: what the parser rejects is answered 400 without a word of it, and recorded', async () => {
  await using world = await makeWorld()
  const { up, raw } = await armed(world, (_req, res) => res.end('ok'))
  const line = `POST /a HTTP/1.1\r\nHost: ${host}:${up.port}\r\n`
  const bad: [string, string][] = [
    ['both lengths', `${line}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['two lengths', `${line}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc`],
    ['the same length twice', `${line}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`],
    ['a list of lengths', `${line}Content-Length: 3, 3\r\n\r\nabc`],
    ['a length with a sign', `${line}Content-Length: +3\r\n\r\nabc`],
    ['an unknown coding', `${line}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ['chunked, then something', `${line}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['a space before the colon', `${line}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`],
    ['a folded line', `${line}X: a\r\n b\r\n\r\n`],
    ['a bare line feed', `${line}X: a\nY: b\r\n\r\n`],
    ['a bare carriage return', `${line}X: a\rY: b\r\n\r\n`],
    ['NUL in a value', `${line}X: a\0b\r\n\r\n`],
    ['NUL in the target', `GET /a\0b HTTP/1.1\r\nHost: ${host}:${up.port}\r\n\r\n`],
    ['a space in the target', `GET /a b HTTP/1.1\r\nHost: ${host}:${up.port}\r\n\r\n`],
    ['a name that is no token', `${line}X(Y): a\r\n\r\n`],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['HTTP/0.9', 'GET /a\r\n\r\n'],
    ['another version', `GET /a HTTP/3.0\r\nHost: ${host}:${up.port}\r\n\r\n`],
  ]
  for (const [what, text] of bad) {
    expect([what, await raw(text)]).toEqual([what, expect.stringMatching(/^HTTP\/1\.1 400 /)])
  }
  expect(up.seen).toEqual([])
  // Some are refused by us as soon as the head is there, and by the parser after that.
  await expect
    .poll(async () => {
      const events = await world.events('egress.denied', bad.length)
      return events.filter((event) => event.data['reason'] === 'parse_error').length
    })
    .toBeGreaterThanOrEqual(bad.length - 1)
})

test('row 20: a head without Host, and chunks that are none, get nothing out', async () => {
  await using world = await makeWorld()
  const { up, raw } = await armed(world, (req, res) => {
    req.on('data', () => undefined)
    req.on('end', () => res.end('ok'))
  })
  expect(deniedAs(await raw('GET /a HTTP/1.1\r\n\r\n'))).toBe('host_missing')
  expect(up.seen).toEqual([])
  const chunked = `POST /a HTTP/1.1\r\nHost: ${host}:${up.port}\r\nTransfer-Encoding: chunked\r\n\r\n`
  for (const body of [
    '0x3\r\nabc\r\n0\r\n\r\n',
    '-3\r\nabc\r\n0\r\n\r\n',
    '3 \r\nabc\r\n',
    '3\r\nabcdef\r\n0\r\n\r\n',
  ]) {
    // The head was good, so it may have left; a whole request never did.
    expect(await raw(chunked + body)).not.toContain('200 OK')
  }
  expect(up.seen.every((seen) => seen.body.length <= 3)).toBe(true)
  await expect.poll(() => up.seen.length).toBeLessThanOrEqual(4)
})

test('row 21: duplicate Host, foreign codings, a fragment, TRACE, a body on GET: what Node lets through is refused', async () => {
  await using world = await makeWorld()
  const { up, raw } = await armed(world, (_req, res) => res.end('ok'))
  const authority = `${host}:${up.port}`
  const get = (target: string, ...extra: string[]) =>
    [
      'GET ',
      target,
      ` HTTP/1.1\r\nHost: ${authority}\r\n`,
      ...extra.map((line) => `${line}\r\n`),
      '\r\n',
    ].join('')
  const post = (...extra: string[]) => get('/', ...extra).replace('GET', 'POST')
  const cases: [string, string, string][] = [
    ['duplicate Host', get('/', 'Host: evil.example.com'), 'host_duplicate'],
    ['the same Host twice', get('/', `Host: ${authority}`), 'host_duplicate'],
    ['Host in other letters', get('/', `HOST: ${authority}`), 'host_duplicate'],
    ['an empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n', 'host_malformed'],
    ['latin1 in Host', 'GET / HTTP/1.1\r\nHost: \xe4.example.com\r\n\r\n', 'host_malformed'],
    ['user information in Host', `GET / HTTP/1.1\r\nHost: x@${authority}\r\n\r\n`, 'userinfo_forbidden'],
    ['gzip beneath chunked', post('Transfer-Encoding: gzip, chunked'), 'framing_forbidden'],
    ['HTTP/1.0 with a coding', post('Transfer-Encoding: chunked').replace('1.1', '1.0'), 'http_version'],
    ['TRACE', get('/').replace('GET', 'TRACE'), 'method_forbidden'],
    ['TRACK', get('/').replace('GET', 'TRACK'), 'parse_error'],
    ['PROPFIND', get('/').replace('GET', 'PROPFIND'), 'method_forbidden'],
    ['a method in small letters', get('/').replace('GET', 'get'), 'parse_error'],
    ['a fragment', get('/#x'), 'path_malformed'],
    ['another host after two slashes', get('//evil.example.com/x'), 'path_ambiguous'],
    ['an absolute form', get(`https://${authority}/`), 'target_malformed'],
    ['an absolute form to elsewhere', get('http://evil.example.com/'), 'target_malformed'],
    ['an asterisk', get('*').replace('GET', 'OPTIONS'), 'target_malformed'],
    ['GET with a body', `${get('/', 'Content-Length: 3')}abc`, 'body_forbidden'],
    ['GET with chunks', `${get('/', 'Transfer-Encoding: chunked')}0\r\n\r\n`, 'body_forbidden'],
    ['a method within a header', get('/', 'X-HTTP-Method-Override: DELETE'), 'override_forbidden'],
  ]
  for (const [what, text, reason] of cases) expect([what, deniedAs(await raw(text))]).toEqual([what, reason])
  expect(up.seen).toEqual([])
  expect(world.dialled).toEqual([])
})

test('row 21: chunk extensions and odd white space are not passed on: the body is framed anew', async () => {
  await using world = await makeWorld()
  const { up, raw } = await armed(world, (req, res) => {
    req.on('data', () => undefined)
    req.on('end', () => res.end('ok'))
  })
  const text = `POST /a HTTP/1.1\r\nHost: ${host}:${up.port}\r\nTransfer-Encoding: chunked\r\n\r\n3;ext="x"\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n`
  expect(await raw(text)).toContain('200 OK')
  expect(up.seen[0]?.body).toBe('abc')
  expect(up.seen[0]?.rawHeaders.join()).not.toMatch(/ext/)
})

test('row 21: CONNECT without a port, with a user, with a path, or with another Host opens nothing', async () => {
  await using world = await makeWorld()
  await world.setRules([rule(host, 8443)])
  const cases: [string, string, string][] = [
    [host, host, 'port_missing'],
    [`good@${host}:8443`, host, 'userinfo_forbidden'],
    [`${host}@evil.example.com:8443`, 'evil.example.com', 'userinfo_forbidden'],
    [`${host}:8443/path`, host, 'host_malformed'],
    [`${host}:08443`, host, 'host_malformed'],
    [`${host}:88443`, host, 'host_malformed'],
    [`${host}:`, host, 'host_malformed'],
    [`${host}:8443`, 'evil.example.com:8443', 'host_mismatch'],
    [`${host}:8443`, `${host}:443`, 'host_mismatch'],
    [`evil.example.com:8443`, `${host}:8443`, 'host_mismatch'],
    [`https://${host}:8443`, `${host}:8443`, 'host_malformed'],
  ]
  for (const [target, named, reason] of cases) {
    const text = `CONNECT ${target} HTTP/1.1\r\nHost: ${named}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
    const answer = await sayAndRead(await world.connect(), text)
    // The parser knows some of these forms itself.
    expect([target, named, deniedAs(answer)]).toEqual([
      target,
      named,
      expect.stringMatching(new RegExp(`^(?:${reason}|parse_error)$`)),
    ])
  }
})

test('row 21: an absolute form must agree with Host, name no user, and no fragment', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'), 'http')
  await world.setRules([{ ...rule(host, up.port), scheme: 'http' }])
  const at = `${host}:${up.port}`
  const cases: [string, string, string][] = [
    [`http://${at}/`, 'evil.example.com', 'host_mismatch'],
    ['http://evil.example.com/', at, 'host_mismatch'],
    [`http://u:p@${at}/`, at, 'userinfo_forbidden'],
    [`http://${at}\\@evil.example.com/`, at, 'userinfo_forbidden'],
    [`http://${at}/#x`, at, 'target_malformed'],
    [`https://${at}/`, at, 'https_needs_connect'],
    [`ftp://${at}/`, at, 'target_malformed'],
    ['/', at, 'target_malformed'],
    ['http:///', at, 'host_malformed'],
    [`http:/${at}/`, at, 'target_malformed'],
  ]
  for (const [target, named, reason] of cases) {
    const text = `GET ${target} HTTP/1.1\r\nHost: ${named}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
    const answer = await sayAndRead(await world.connect(), text)
    expect([target, deniedAs(answer)]).toEqual([target, expect.stringMatching(`^(?:${reason}|parse_error)$`)])
  }
  expect(up.seen).toEqual([])
  const good = `GET HTTP://${host.toUpperCase()}:${up.port}/ HTTP/1.1\r\nHost: ${at}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
  expect(await sayAndRead(await world.connect(), good)).toContain('200 OK')
})

test('row 22: nothing that a sandbox writes ends a line of the request that leaves', async () => {
  await using world = await makeWorld()
  const { up, raw, say } = await armed(world, (_req, res) => res.end('ok'))
  for (const path of [
    '/a%0d%0aX-Evil:%201',
    '/a%0aX',
    '/a%00',
    '/a%E5%98%8D%E5%98%8AX-Evil:1',
    '/?q=%0d%0aX-Evil:1',
  ]) {
    const answer = await say(path)
    expect([path, answer]).toEqual([path, expect.stringMatching(/path_ambiguous|200 OK/)])
  }
  // What went out went out encoded as it came, in one line.
  expect(up.seen.map((seen) => seen.url)).toEqual(['/a%E5%98%8D%E5%98%8AX-Evil:1', '/?q=%0d%0aX-Evil:1'])
  expect(up.seen.some((seen) => seen.rawHeaders.includes('X-Evil'))).toBe(false)
  await raw(`GET / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nX-\xe9: \xe9\r\n\r\n`)
  expect(up.seen.slice(2).every((seen) => !seen.rawHeaders.join('\n').includes('X-Evil'))).toBe(true)
})

test('row 23: bytes sent with CONNECT are refused, and a pipelined second request is decided for itself', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => res.end(req.url))
  await world.setRules([rule(host, up.port, { paths: ['/ok'] })])
  const early = await sayAndRead(
    await world.connect(),
    `${connectRequest(host, up.port, 'orders', world.lease)}GET / HTTP/1.1\r\n\r\n`,
  )
  expect(early).toContain('tunnel_early_data')
  const socket = await world.tunnel(host, up.port)
  const heard = listenTo(socket)
  const three = ['/ok/1', '/admin', '/ok/2'].map((path) => request(host, up.port, path))
  socket.write(three.join(''))
  await expect.poll(() => heard.text).toContain('/ok/2')
  expect(heard.text.indexOf('path_not_allowed')).toBeGreaterThan(heard.text.indexOf('/ok/1'))
  expect(up.seen.map((seen) => seen.url)).toEqual(['/ok/1', '/ok/2'])
})

test.each([
  ['some protocol', ['Upgrade: x', 'Connection: Upgrade'], 'upgrade_unsupported'],
  [
    'a WebSocket',
    [
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ],
    'websocket_malformed',
  ],
])(
  'row 23: an upgrade to %s behind a request without its answer ends that tunnel alone',
  async (_, upgrade, reason) => {
    await using world = await makeWorld()
    const up = await world.upstream((req, res) => {
      if (req.url !== '/slow') res.end('fine')
    })
    await world.setRules([rule(host, up.port, { methods: ['GET', 'WEBSOCKET'] })])
    const other = await world.tunnel(host, up.port)
    expect(await sayAndRead(other, request(host, up.port, '/'))).toContain('fine')
    const socket = await world.tunnel(host, up.port)
    const heard = listenTo(socket)
    socket.write(request(host, up.port, '/slow') + request(host, up.port, '/up', upgrade))
    await expect.poll(() => heard.closed).toBe(true)
    const [denied] = await world.events('egress.denied')
    expect(denied?.data).toMatchObject({ reason, path: '/up' })
    expect(up.seen.map((seen) => seen.url)).not.toContain('/up')
    expect(await sayAndRead(other, request(host, up.port, '/'))).toContain('fine')
  },
)

test('row 23: an upgrade behind a request that has its answer is judged for itself', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('fine'))
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('fine')
  const upgrade = request(host, up.port, '/', ['Upgrade: x', 'Connection: Upgrade'])
  expect(deniedAs(await sayAndRead(socket, upgrade))).toBe('upgrade_unsupported')
})

test('row 23: whichever two requests come in one write, they end their own tunnel at most', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => {
    req.resume()
    setTimeout(() => res.end('fine'), 5)
  })
  await world.setRules([rule(host, up.port, { methods: ['GET', 'HEAD', 'POST', 'WEBSOCKET'] })])
  const ask = (extra: string[] = [], method = 'GET', body = '') =>
    request(host, up.port, '/', extra, method, body)
  const upgrade = ['Upgrade: websocket', 'Connection: Upgrade']
  const all = [
    ask(),
    ask([], 'HEAD'),
    ask([], 'POST', 'abc'),
    ask(['Expect: 100-continue'], 'POST', 'abc'),
    ask(['Expect: something']),
    ask(['Transfer-Encoding: chunked'], 'POST') + '3\r\nabc\r\n0\r\nETag: a\r\nETag: b\r\n\r\n',
    ask(['Connection: close']),
    ask(upgrade),
    ask([...upgrade, 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']),
    ask(upgrade, 'POST', 'abc'),
    connectRequest(host, up.port, 'orders', world.lease),
    'PRI * HTTP/2.0\r\n\r\n',
    'GET / HT',
  ]
  for (const first of all) {
    await Promise.all(
      all.map(async (second) => {
        const socket = await world.tunnel(host, up.port)
        socket.resume()
        socket.end(first + second)
        await new Promise((resolve) => socket.once('close', resolve))
      }),
    )
  }
  // What a listener throws is contained, and logged.
  expect(world.logged()).not.toContain('egress connection failed')
  expect(await sayAndRead(await world.tunnel(host, up.port), ask())).toContain('fine')
})

test('row 23: a request hidden in a body stays a body', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => {
    req.on('data', () => undefined)
    req.on('end', () => res.end('ok'))
  })
  await world.setRules([rule(host, up.port, { paths: ['/ok'] })])
  const hidden = request(host, up.port, '/admin', ['X: y'], 'DELETE')
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/ok', [], 'POST', hidden))).toContain('200 OK')
  const framed = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`
  const chunked = `POST /ok HTTP/1.1\r\nHost: ${host}:${up.port}\r\nTransfer-Encoding: chunked\r\n\r\n${framed}`
  expect(await sayAndRead(socket, chunked)).toContain('200 OK')
  // A length of nothing leaves the rest as a request of its own, and that is judged.
  const short = `POST /ok HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Length: 0\r\n\r\n${hidden}`
  const heard = listenTo(socket)
  socket.write(short)
  await expect.poll(() => heard.text).toMatch(/method_not_allowed|path_not_allowed/)
  expect(up.seen.map((seen) => [seen.method, seen.url])).toEqual([
    ['POST', '/ok'],
    ['POST', '/ok'],
    ['POST', '/ok'],
  ])
})

test('row 24: Connection cannot take away, double or stand beside what is injected', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  const extra = [
    'Connection: authorization, host, x-drop, x_other, content-length, content-type',
    'X-Drop: 1',
    'X_Other: 1',
    'Content-Type: text/plain',
    'Keep-Alive: timeout=1',
    'TE: trailers',
    'Accept-Encoding: gzip',
    'Authorization: Bearer mine',
  ]
  expect(await say('/', extra, 'POST', 'abc')).toContain('200 OK')
  const raw = up.seen[0]?.rawHeaders ?? []
  const names = raw.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
  expect(raw).toContain(`Bearer ${theSecret}`)
  expect(names.filter((name) => name === 'authorization')).toHaveLength(1)
  expect(names).not.toContain('x-drop')
  expect(names).not.toContain('x_other')
  // What is judged goes out as it was judged.
  expect(names).toContain('content-type')
  expect(names).not.toContain('te')
  expect(raw[names.indexOf('accept-encoding') * 2 + 1]).toBe('identity')
  expect([raw[names.indexOf('host') * 2 + 1], up.seen[0]?.body]).toEqual([`${host}:${up.port}`, 'abc'])
})

test('row 24: a body is asked for only once its request may go out', async () => {
  await using world = await makeWorld()
  const { up } = await armed(
    world,
    (req, res) => {
      req.on('data', () => undefined)
      req.on('end', () => res.end('ok'))
    },
    { paths: ['/ok'] },
  )
  const expecting = (path: string) =>
    `POST ${path} HTTP/1.1\r\nHost: ${host}:${up.port}\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n`
  const refused = await sayAndRead(await world.tunnel(host, up.port), expecting('/admin'))
  expect(refused).toMatch(/^HTTP\/1\.1 403 [^]*path_not_allowed/)
  expect(refused).not.toContain('100 Continue')
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, expecting('/ok'))).toMatch(/^HTTP\/1\.1 100 Continue/)
  expect(await sayAndRead(socket, 'abc')).toContain('200 OK')
  expect(up.seen.map((seen) => [seen.url, seen.body])).toEqual([['/ok', 'abc']])
})

test('row 24: an expectation that nobody knows is refused by the proxy, and recorded', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  for (const expected of ['200-maybe', '100-continue, 200-maybe', '']) {
    const answer = await say('/', [`Expect: ${expected}`])
    expect([expected, deniedAs(answer)]).toEqual([expected, 'expectation_unknown'])
  }
  const lines = ['GET http://plain.example.com/ HTTP/1.1', 'Host: plain.example.com', 'Expect: 200-maybe']
  const plain = [...lines, `Proxy-Authorization: ${basic('orders', world.lease)}`, '', ''].join('\r\n')
  expect(deniedAs(await sayAndRead(await world.connect(), plain))).toBe('expectation_unknown')
  expect(up.seen).toEqual([])
  const denied = await world.events('egress.denied', 4)
  expect(denied.map(({ data }) => data['reason'])).toEqual(Array(4).fill('expectation_unknown'))
})
