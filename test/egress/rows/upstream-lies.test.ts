import { request as askHttps } from 'node:https'
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { armed, deniedAs, host } from '../../support/armed.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead, theSecret } from '../../support/egress-world.ts'
import {
  answered,
  ask,
  frame,
  frameFlag,
  frameType,
  headerBlock,
  http2Client,
  preface,
  pseudoHeaders,
  readFrames,
} from '../../support/http2.ts'
import { startRawHttp2 } from '../../support/raw-http2.ts'
import { makeRawWorld } from '../../support/raw-upstream.ts'

/** What a server that a rule allows can answer to lead a client elsewhere, or to break what comes after. */

test.each([301, 302, 303, 307, 308])(
  'row 16: a redirect %i is passed on and never followed; who follows it is judged anew',
  async (status) => {
    await using world = await makeWorld()
    const other = await world.upstream((_req, res) => res.end('trap'))
    const places = [
      `https://trap.example.com:${other.port}/`,
      `http://${host}/`,
      `https://${host}:1/`,
      `//evil.example.com/`,
      'https://evil.example.com/',
    ]
    const { up, say } = await armed(world, (req, res) =>
      res.writeHead(status, { location: places[Number(req.url?.slice(1))] }).end(),
    )
    for (const [index, place] of places.entries()) {
      const answer = await say(`/${index}`)
      expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
      expect(answer).toContain(`location: ${place}\r\n`)
    }
    expect(other.seen).toEqual([])
    expect(new Set(world.dialled.map(({ port }) => port))).toEqual(new Set([up.port]))
    await expect(world.tunnel('evil.example.com', 443)).rejects.toThrow('host_not_allowed')
    await expect(world.tunnel(host, 1)).rejects.toThrow('port_not_allowed')
    await world.setRules([
      rule(host, up.port, { inject: injectBearer }),
      rule('trap.example.com', other.port),
    ])
    const followed = await world.tunnel('trap.example.com', other.port)
    expect(await sayAndRead(followed, request('trap.example.com', other.port, '/'))).toContain('trap')
    expect(other.seen[0]?.rawHeaders.join(' ')).not.toContain(theSecret)
  },
)

test('row 17: Alt-Svc is stripped wherever it stands, and no request becomes h2c', async () => {
  await using world = await makeWorld()
  const { say } = await armed(world, (_req, res) => {
    res.writeHead(200, { 'Alt-Svc': 'h3=":443"', Upgrade: 'h2c', Connection: 'Upgrade', Trailer: 'alt-svc' })
    res.write('ok')
    res.addTrailers({ 'alt-svc': 'h3=":443"' })
    res.end()
  })
  const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__']
  expect(deniedAs(await say('/', h2c))).toBe('upgrade_unsupported')
  expect(deniedAs(await say('/', ['HTTP2-Settings: AAMAAABkAAQAAP__']))).toBe('upgrade_unsupported')
  expect(deniedAs(await say('/', ['Upgrade: TLS/1.0', 'Connection: Upgrade']))).toBe('upgrade_unsupported')
  expect(world.dialled).toEqual([])
  expect(await say('/')).not.toMatch(/alt-svc|h2c/i)
})

test('row 17: the frames of HTTP/2 by which a server names other places, or vouches for them, end at the proxy', async () => {
  await using world = await makeWorld()
  const sized = (text: string) => Buffer.concat([Buffer.from([0, text.length]), Buffer.from(text)])
  const altSvc = (origin: string) => Buffer.concat([sized(origin), Buffer.from('h3=":443"')])
  using up = await startRawHttp2(world, ({ socket, stream }) => {
    socket.write(
      Buffer.concat([
        // ALTSVC of an origin and of this stream (RFC 7838 section 4), ORIGIN (RFC 8336).
        frame(10, 0, 0, altSvc(`https://${host}`)),
        frame(10, 0, stream, altSvc('')),
        frame(12, 0, 0, sized('https://evil.example.com')),
        frame(frameType.headers, frameFlag.endHeaders, stream, headerBlock([[':status', '200']])),
        frame(frameType.data, frameFlag.endStream, stream, Buffer.from('whole')),
      ]),
    )
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port, { protocols: ['h2'] })
  const back = readFrames(socket)
  const head = headerBlock(pseudoHeaders(host, up.port))
  socket.write(
    Buffer.concat([preface, frame(frameType.headers, frameFlag.endHeaders | frameFlag.endStream, 1, head)]),
  )
  await expect.poll(() => back.some(({ payload }) => payload.includes('whole'))).toBe(true)
  expect(back.map(({ type }) => type).filter((type) => type > frameType.continuation)).toEqual([])
  expect(Buffer.concat(back.map(({ payload }) => payload)).toString('latin1')).not.toMatch(/h3|evil/)
})

test('no upstream says what the proxy alone says, that a request was refused, in its head nor behind it', async () => {
  await using world = await makeWorld()
  const { say } = await armed(world, (_req, res) => {
    res.writeHead(403, { 'X-Toolcrib-Denied': 'host_not_allowed', Trailer: 'x-toolcrib-denied' })
    res.write('ask an admin')
    res.addTrailers({ 'x-toolcrib-denied': 'host_not_allowed' })
    res.end()
  })
  expect(await say('/')).toMatch(/^HTTP\/1\.1 403 (?![^]*toolcrib)[^]*ask an admin/i)
})

test('what an upstream names in Connection, or says to a proxy, ends here', async () => {
  await using world = await makeWorld()
  const { say } = await armed(world, (_req, res) => {
    const hop = { Connection: 'close, X-Hop', 'X-Hop': 'hop', 'Proxy-Status': 'hop' }
    res.writeHead(200, { ...hop, Vary: 'X-End', 'X-End': 'end' }).end()
  })
  expect(await say('/')).toMatch(/^(?![^]*hop)[^]*x-end: end/i)
})

test.each(['Upgrade: x\r\nConnection: Upgrade\r\n', ''])(
  'row 18: a 101 that nobody asked for opens no pipe (%j)',
  async (fields) => {
    await using world = await makeWorld()
    const { say } = await armed(world, (req) => {
      req.socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\nraw bytes`)
    })
    const answer = await say('/')
    expect(deniedAs(answer)).toBe('answer_switched')
    expect(answer).not.toContain('raw bytes')
  },
)

/** Says one thing, and another for as long as it is heard. */
function endless(socket: Socket, first: string, then: string): void {
  socket.write(first)
  const more = setInterval(() => socket.write(then), 1)
  socket.once('close', () => clearInterval(more))
}

const lies: [string, (socket: Socket) => void, RegExp][] = [
  [
    'a head without end',
    (s) => endless(s, 'HTTP/1.1 200 OK\r\n', `X-A: ${'a'.repeat(8_000)}\r\n`),
    /upstream_failed/,
  ],
  [
    'a field that is space without end',
    (s) => endless(s, 'HTTP/1.1 200 OK\r\nX-A:', ' '.repeat(8_000)),
    /upstream_failed/,
  ],
  ['line ends without an answer', (s) => endless(s, '', '\r\n'.repeat(4_000)), /upstream_failed/],
  [
    'a flood of interim answers',
    (s) => endless(s, '', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(50)),
    /upstream_failed/,
  ],
  [
    'both lengths',
    (s) => s.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
    /upstream_failed|answer_/,
  ],
  [
    'two lengths',
    (s) => s.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello'),
    /upstream_failed/,
  ],
  ['what is not HTTP', (s) => s.write(`${theSecret}\r\n\r\n`), /upstream_failed/],
  ['HTTP/2 in the clear', (s) => s.write('\x00\x00\x00\x04\x00\x00\x00\x00\x00'), /upstream_failed/],
  [
    'a gzip transfer coding',
    (s) => s.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'),
    /answer_encoded|upstream_failed/,
  ],
]
test.each(lies)('row 19: an answer that is %s is refused with a reason', async (_, answer, reason) => {
  await using raw = await makeRawWorld()
  const { world } = raw
  await using server = await raw.start(answer)
  await world.setRules([rule(host, server.port, { inject: injectBearer })])
  const got = await sayAndRead(await world.tunnel(host, server.port), request(host, server.port, '/'))
  expect(deniedAs(got)).toMatch(reason)
  expect(got).not.toContain(theSecret)
})

test.each([
  ['shorter than it says', (s: Socket) => s.end('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf'), false],
  [
    'chunked and cut off',
    (s: Socket) => s.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'),
    false,
  ],
  ['HTTP/1.0 until the end', (s: Socket) => s.end('HTTP/1.0 200 OK\r\n\r\nwhole'), true],
  [
    'longer than it says',
    (s: Socket) =>
      s.write(
        `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwholeHTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n${theSecret}`,
      ),
    true,
  ],
])('row 19: a body %s is not taken for what it is not', async (_, answer, isWhole) => {
  await using raw = await makeRawWorld()
  const { world } = raw
  await using server = await raw.start(answer)
  await world.setRules([rule(host, server.port, { inject: injectBearer })])
  const secured = await world.tunnel(host, server.port)
  // A real client says whether it got a whole answer.
  const ended = await new Promise<string>((resolve) => {
    const asking = askHttps(
      { createConnection: () => secured, host, port: server.port, path: '/' },
      (answered) => {
        let text = ''
        answered.on('data', (chunk: Buffer) => (text += chunk.toString()))
        answered.on('error', () => resolve('broken'))
        answered.on('end', () => resolve(text))
      },
    )
    asking.on('error', () => resolve('broken'))
    asking.end()
  })
  // Cut off before its head was passed on, it is our own refusal instead; never a short body that seems whole.
  expect(ended).toMatch(isWhole ? /^whole$/ : /^broken$|"reason":"upstream_failed"/)
})

test('row 19: interim answers are passed on to nobody, and what they show of a credential is seen by nobody', async () => {
  await using raw = await makeRawWorld()
  const { world } = raw
  const early = `HTTP/1.1 103 Early Hints\r\nLink: </a>; key=${theSecret}\r\n\r\n`
  const final = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nwhole'
  await using server = await raw.start((socket) => socket.write(early + early + final))
  await world.setRules([rule(host, server.port, { inject: injectBearer })])
  const byHttp1 = await sayAndRead(await world.tunnel(host, server.port), request(host, server.port, '/'))
  expect(byHttp1).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*whole/)
  const secured = await world.tunnel(host, server.port, { protocols: ['h2'] })
  const client = http2Client(secured)
  const stream = client.request(Object.fromEntries(pseudoHeaders(host, server.port)))
  const interim: unknown[] = []
  stream.on('headers', (fields) => interim.push(fields))
  expect(await answered(stream)).toMatchObject({ status: 200, body: 'whole' })
  client.destroy()
  expect(interim).toEqual([])
  expect(byHttp1).not.toMatch(/early|link|S3cr/i)
})

test('row 19: an answer smuggled behind another is nobody’s: the connection it came on is not used again', async () => {
  await using raw = await makeRawWorld()
  const { world } = raw
  const one = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n'
  await using server = await raw.start((socket) => socket.write(`${one}one${one}bad`))
  await world.setRules([rule(host, server.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, server.port)
  for (let i = 0; i < 3; i += 1) {
    const answer = await sayAndRead(socket, request(host, server.port, `/${i}`))
    expect(answer).toMatch(/one$/)
    expect(answer).not.toContain('bad')
  }
  expect(server.heads).toHaveLength(3)
})

test.each([
  [
    'chunks by HTTP/1.0',
    'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked',
    '3\r\none\r\n0\r\n\r\n',
  ],
  ['no coding beside a length', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\nContent-Length: 3', 'one'],
  [
    'an empty name among its codings',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: , chunked',
    '3\r\none\r\n0\r\n\r\n',
  ],
  ['chunks in chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked', '3\r\none\r\n0\r\n\r\n'],
])(
  'row 19: where %s frame an answer two readers may differ about its end: the connection is not used again',
  async (_, head, body) => {
    await using raw = await makeRawWorld()
    const { world } = raw
    const good = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n'
    const answers = [good, `${head}\r\n\r\n${body}`, good]
    await using server = await raw.start((socket) => {
      socket.write(answers.shift() ?? '')
      socket.on('data', () => socket.write(answers.shift() ?? ''))
    })
    await world.setRules([rule(host, server.port)])
    const socket = await world.tunnel(host, server.port)
    for (let i = 0; i < 3; i += 1)
      expect(await sayAndRead(socket, request(host, server.port, `/${i}`))).toContain('one')
    // The first two came on one.
    expect(server.heads).toHaveLength(2)
  },
)

test.each([
  ['of another name', { name: 'other.example.com' }, true, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ['that has expired', { at: Date.now() - 30 * 86_400_000 }, true, 'CERT_HAS_EXPIRED'],
  ['of an unknown authority', {}, false, 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
])(
  'row 26: a server with a certificate %s is refused and sees no byte of the request, and the log says why',
  async (_, options, trusted, code) => {
    await using raw = await makeRawWorld({ trusted })
    const { world } = raw
    await using server = await raw.start((socket) => socket.end(), options)
    await world.setRules([rule(host, server.port, { inject: injectBearer })])
    const answer = await sayAndRead(await world.tunnel(host, server.port), request(host, server.port, '/'))
    expect(deniedAs(answer)).toBe('upstream_untrusted')
    expect(server.heads).toEqual([])
    expect(await world.outcome()).toMatchObject({ status: null, failure: 'upstream_untrusted' })
    expect(world.logged()).toMatch(new RegExp(`"level":30,[^\n]*"code":"upstream_untrusted < ${code}"[^\n]*`))
  },
)

test('row 26: a server that speaks no TLS where https is meant gets no credential, and nobody is told that it may have acted', async () => {
  await using world = await makeWorld()
  let heard = ''
  const server = createTcp((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1')
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  try {
    await world.setRules([rule(host, port, { inject: injectBearer })])
    const socket = await world.tunnel(host, port)
    const answer = await sayAndRead(socket, request(host, port, '/'))
    expect(deniedAs(answer)).toBe('upstream_unreachable')
    expect(answer).not.toContain('may have acted')
    expect(heard).not.toContain(theSecret)
    expect(heard).not.toContain('GET /')
  } finally {
    server.close()
  }
})

test('row 9: an upstream of HTTP/2 that takes its answer back in the middle of the secret gives none of it away', async () => {
  await using world = await makeWorld()
  using up = await startRawHttp2(world, ({ socket, stream }) => {
    socket.write(frame(frameType.headers, frameFlag.endHeaders, stream, headerBlock([[':status', '200']])))
    // In one write with the error.
    const begun = frame(frameType.data, 0, stream, Buffer.from(`key: ${theSecret.slice(0, 20)}`))
    socket.write(Buffer.concat([begun, frame(frameType.reset, 0, stream, Buffer.from([0, 0, 0, 2]))]))
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const got = await ask(client, Object.fromEntries(pseudoHeaders(host, up.port)))
  client.destroy()
  expect(got.body).not.toContain(theSecret.slice(0, 4))
  expect(got.status === 502 || got.code !== 0).toBe(true)
  expect(await world.outcome()).toMatchObject({ failure: 'upstream_failed' })
})

test('row 9: an answer that ends with its connection in the middle of the secret is not taken for whole', async () => {
  await using world = await makeWorld()
  const ends = [theSecret.slice(0, 30), `the end: ${theSecret.slice(0, 3)}`]
  const { say } = await armed(world, (req) => {
    req.socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nkey: ${ends[Number(req.url?.slice(1))]}`)
  })
  const cut = await say('/0')
  expect(cut).toContain('key: ')
  expect(cut).not.toContain(theSecret.slice(0, 4))
  expect(cut).not.toContain('\r\n0\r\n\r\n')
  expect(await world.outcome()).toMatchObject({ status: 200, failure: 'upstream_failed' })
  expect(await say('/1')).toMatch(/the end: S3c\r\n0\r\n\r\n$/)
})
