import { constants } from 'node:http2'
import { expect, test } from 'vitest'
import {
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../support/egress-world.ts'
import {
  answered,
  ask,
  frame,
  frameType,
  http2Client,
  preface,
  readFrames,
  startHttp2Upstream,
} from '../support/http2.ts'
import { until } from '../support/until.ts'

const host = 'orders.example.com'

async function session(world: World, port: number) {
  return http2Client(await world.tunnel(host, port, { protocols: ['h2'] }))
}

const fieldsFor = (port: number, path = '/', method = 'GET') => ({
  ':method': method,
  ':scheme': 'https',
  ':authority': `${host}:${port}`,
  ':path': path,
})

test('HTTP/2 on both sides: the credential is added, an echo of it masked in head, body and trailers', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream, headers) => {
    stream.respond(
      { ':status': 200, 'x-echo': headers.authorization, 'alt-svc': 'h3=":443"', 'set-cookie': 'a=b' },
      { waitForTrailers: true },
    )
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-late': headers.authorization }))
    stream.end(`you sent ${headers.authorization}`)
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const client = await session(world, up.port)
  const got = await ask(client, {
    ...fieldsFor(up.port, '/v1?q=1'),
    authorization: 'Bearer mine',
    cookie: 'a=b',
  })
  expect(got).toMatchObject({ status: 200, code: 0 })
  expect(up.seen[0]).toMatchObject({
    ':method': 'GET',
    ':path': '/v1?q=1',
    ':authority': `${host}:${up.port}`,
    ':scheme': 'https',
    authorization: `Bearer ${theSecret}`,
  })
  expect(up.seen[0]).not.toHaveProperty('cookie')
  expect(JSON.stringify(got)).not.toContain(JSON.stringify(theSecret).slice(1, -1))
  expect(got.body).toContain('you sent Bearer ***')
  expect(got.trailers['x-late']).toMatch(/^Bearer \*{10}/)
  expect(got.headers).not.toHaveProperty('alt-svc')
  expect(got.headers).not.toHaveProperty('set-cookie')
  expect(await world.outcome()).toMatchObject({ status: 200, failure: null })
  client.destroy()
})

test('HTTP/2: a field whose last byte is a space only to who reads it as a character arrives as it came', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200 })
    stream.end()
  })
  await world.setRules([rule(host, up.port)])
  const client = await session(world, up.port)
  const name = Buffer.from('voilà').toString('latin1')
  expect(await ask(client, { ...fieldsFor(up.port), 'x-name': name })).toMatchObject({ status: 200 })
  expect(up.seen[0]).toMatchObject({ 'x-name': name })
  client.destroy()
})

test('an HTTP/2 client reaches an HTTP/1.1 upstream, and an HTTP/1.1 client one of HTTP/2', async () => {
  await using world = await makeWorld()
  const one = await world.upstream((req, res) => {
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
    })
    req.on('end', () => res.end(`${req.httpVersion} ${req.method} ${size}`))
  })
  await using two = await startHttp2Upstream(world.upstreamContext, (stream, headers) => {
    let size = 0
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length
    })
    stream.on('end', () => {
      stream.respond({ ':status': 200 })
      stream.end(`h2 ${headers[':method']} ${size}`)
    })
  })
  await world.setRules([rule(host, one.port, { inject: injectBearer }), rule(host, two.port)])
  const client = await session(world, one.port)
  expect((await ask(client, fieldsFor(one.port))).body).toBe('1.1 GET 0')
  const posted = await ask(client, fieldsFor(one.port, '/', 'POST'), 'x'.repeat(200_000))
  expect(posted.body).toBe('1.1 POST 200000')
  expect(one.seen[1]?.rawHeaders).toContain(`Bearer ${theSecret}`)
  expect(one.seen[1]?.rawHeaders.join(' ')).toContain('Transfer-Encoding chunked')
  client.destroy()
  const socket = await world.tunnel(host, two.port)
  expect(await sayAndRead(socket, request(host, two.port, '/'))).toContain('h2 GET 0')
  expect(await sayAndRead(socket, request(host, two.port, '/', [], 'POST', 'abc'))).toContain('h2 POST 3')
  expect(two.sessions).toHaveLength(1)
  expect(two.seen[1]).not.toHaveProperty('connection')
})

test('an empty body that has ended before its upstream was reached ends there too', async () => {
  await using world = await makeWorld()
  const one = await world.upstream((req, res) => {
    req.resume()
    req.on('end', () => res.end(`whole ${req.headers['transfer-encoding']}`))
  })
  await using two = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.resume()
    stream.on('end', () => {
      stream.respond({ ':status': 200 })
      stream.end('whole')
    })
  })
  await world.setRules([rule(host, one.port), rule(host, two.port)])
  for (const [port, whole] of [
    [one.port, 'whole chunked'],
    [two.port, 'whole'],
  ] as const) {
    // The first of its tunnel: HEADERS and an empty DATA frame come at once, and there is no connection yet.
    const client = await session(world, port)
    expect(await ask(client, fieldsFor(port, '/', 'POST'), '')).toMatchObject({ status: 200, body: whole })
    client.destroy()
  }
})

test('a rule decides each stream, and a refusal ends no other', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200 })
    stream.end('ok')
  })
  await world.setRules([rule(host, up.port, { paths: ['/ok'] })])
  const client = await session(world, up.port)
  const [good, bad] = await Promise.all([
    ask(client, fieldsFor(up.port, '/ok')),
    ask(client, fieldsFor(up.port, '/admin')),
  ])
  expect(good).toMatchObject({ status: 200, body: 'ok' })
  expect(bad.status).toBe(403)
  expect(bad.headers['x-toolcrib-denied']).toBe('path_not_allowed')
  expect(up.seen).toHaveLength(1)
  client.destroy()
})

test('streams of two sources or two hosts never share an upstream connection', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200 })
    stream.end('ok')
  })
  await world.setRules([rule(host, up.port), rule('other.example.com', up.port)])
  await world.setRules([rule(host, up.port)], 'second')
  const second = await world.addLease({ principalId: world.principalId, source: 'second' })
  const mine = await session(world, up.port)
  await ask(mine, fieldsFor(up.port))
  await ask(mine, fieldsFor(up.port))
  expect(up.sessions).toHaveLength(1)
  const other = http2Client(await world.tunnel('other.example.com', up.port, { protocols: ['h2'] }))
  await ask(other, { ...fieldsFor(up.port), ':authority': `other.example.com:${up.port}` })
  expect(up.sessions).toHaveLength(2)
  const theirs = http2Client(
    await world.tunnel(host, up.port, { protocols: ['h2'], lease: second.lease, source: 'second' }),
  )
  await ask(theirs, fieldsFor(up.port))
  expect(up.sessions).toHaveLength(3)
  for (const client of [mine, other, theirs]) client.destroy()
})

test('a body is streamed both ways while the other side is still sending', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200 })
    stream.on('data', (chunk: Buffer) => stream.write(`echo ${chunk.toString()}`))
    stream.on('end', () => stream.end())
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const client = await session(world, up.port)
  const stream = client.request(fieldsFor(up.port, '/', 'POST'), { endStream: false })
  let got = ''
  stream.on('data', (chunk: Buffer) => {
    got += chunk.toString()
  })
  stream.write('one')
  await expect.poll(() => got).toBe('echo one')
  stream.write('two')
  await expect.poll(() => got).toBe('echo oneecho two')
  stream.end()
  await new Promise((resolve) => stream.once('close', resolve))
  expect(await world.outcome()).toMatchObject({ status: 200, bytesOut: 6, bytesIn: 16, failure: null })
  client.destroy()
})

test('an answer that is cut off is not taken for whole, and an upload that is cut off is not sent as one', async () => {
  await using world = await makeWorld()
  let uploaded = 'nothing yet'
  await using up = await startHttp2Upstream(world.upstreamContext, (stream, headers) => {
    if (headers[':method'] === 'GET') {
      stream.respond({ ':status': 200, 'content-length': '100' })
      stream.write('half')
      setTimeout(() => stream.session?.destroy(), 60)
      return
    }
    stream.resume()
    stream.on('close', () => {
      uploaded = stream.rstCode === 0 && !stream.aborted ? 'whole' : 'cut off'
    })
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const client = await session(world, up.port)
  const cut = await ask(client, fieldsFor(up.port))
  expect(cut.body === '' || cut.body === 'half').toBe(true)
  expect(cut.status === 502 || cut.code !== 0).toBe(true)
  // Without trailers to wait for, Node would end the stream properly before it resets it.
  const stream = client.request(fieldsFor(up.port, '/', 'POST'), { endStream: false, waitForTrailers: true })
  stream.on('error', () => undefined)
  stream.write('half of it')
  await expect.poll(() => up.seen.length).toBe(2)
  stream.close(constants.NGHTTP2_CANCEL)
  await expect.poll(() => uploaded).toBe('cut off')
  client.destroy()
})

test('what HTTP/1.1 upstreams cut off is cut off by HTTP/2 too', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => {
    res.write('half')
    setTimeout(() => res.destroy(), 60)
  })
  await world.setRules([rule(host, up.port)])
  const client = await session(world, up.port)
  const got = await ask(client, fieldsFor(up.port))
  expect(got.code).not.toBe(0)
  client.destroy()
})

test('Expect: 100-continue is answered once the request is allowed, and not when it is refused', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.resume()
    stream.on('end', () => {
      stream.respond({ ':status': 204 })
      stream.end()
    })
  })
  await world.setRules([rule(host, up.port, { paths: ['/ok'] })])
  const client = await session(world, up.port)
  const post = (path: string) => {
    const stream = client.request(
      { ...fieldsFor(up.port, path, 'POST'), expect: '100-continue' },
      { endStream: false },
    )
    let told = false
    stream.on('continue', () => {
      told = true
      stream.end('body')
    })
    return answered(stream).then((got) => ({ ...got, told }))
  }
  expect(await post('/ok')).toMatchObject({ status: 204, told: true })
  expect(await post('/no')).toMatchObject({ status: 403, told: false })
  client.destroy()
})

test('HEAD and 204 work, and a refusal of HEAD has no body', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200, 'content-length': '1000' })
    stream.end()
  })
  await world.setRules([rule(host, up.port, { methods: ['HEAD'] })])
  const client = await session(world, up.port)
  const head = await ask(client, fieldsFor(up.port, '/', 'HEAD'))
  expect(head).toMatchObject({ status: 200, body: '', code: 0 })
  expect(head.headers['content-length']).toBe('1000')
  expect(await ask(client, fieldsFor(up.port, '/../x', 'HEAD'))).toMatchObject({ status: 400, body: '' })
  client.destroy()
})

test('a withdrawn lease ends the streams of a live HTTP/2 tunnel within a second', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200 })
    stream.write('first')
  })
  await world.setRules([rule(host, up.port)])
  const client = await session(world, up.port)
  const stream = client.request(fieldsFor(up.port))
  const got = answered(stream)
  await new Promise((resolve) => stream.once('data', resolve))
  const before = performance.now()
  await world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
  await got
  expect(performance.now() - before).toBeLessThan(1_000)
  expect(await world.outcome()).toMatchObject({ failure: 'revoked' })
})

test('a client that says goodbye with nothing under way is let go at once', async () => {
  await using world = await makeWorld({ limits: { tunnelIdleTimeoutMs: 600_000 } })
  await world.setRules([rule(host, 443)])
  const secured = await world.tunnel(host, 443, { protocols: ['h2'] })
  const frames = readFrames(secured)
  secured.write(Buffer.concat([preface, frame(frameType.goaway, 0, 0, Buffer.alloc(8))]))
  await until(() => secured.closed)
  expect(frames.map(({ type }) => type)).toContain(frameType.goaway)
})
