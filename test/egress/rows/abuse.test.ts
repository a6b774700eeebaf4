import { webcrypto } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { armed, deniedAs, host, listenTo } from '../../support/armed.ts'
import { basic, connectRequest, makeWorld, request, rule, sayAndRead } from '../../support/egress-world.ts'
import { ask, http2Client, startHttp2Upstream } from '../../support/http2.ts'
import { until } from '../../support/until.ts'

/** Slow, many and endless: what one person does costs bounded time and memory, and nobody else's. */

test('row 38: one principal at their limit of tunnels or requests is told so, and others are served', async () => {
  await using world = await makeWorld({ limits: { tunnelsPerPrincipal: 2, requestsPerPrincipal: 1 } })
  const up = await world.upstream((req, res) => {
    if (req.url !== '/hang') res.end('ok')
  })
  await world.setRules([rule(host, up.port)])
  const first = await world.tunnel(host, up.port)
  const second = await world.tunnel(host, up.port)
  await expect(world.tunnel(host, up.port)).rejects.toThrow('too_many_tunnels')
  first.write(request(host, up.port, '/hang'))
  await expect.poll(() => up.seen.length).toBe(1)
  expect(await sayAndRead(second, request(host, up.port, '/'))).toMatch(
    /^HTTP\/1\.1 429 [\s\S]*too_many_requests/,
  )
  const other = await world.addLease({})
  const theirs = await world.tunnel(host, up.port, { lease: other.lease })
  expect(await sayAndRead(theirs, request(host, up.port, '/'))).toContain('ok')
  first.destroy()
  await expect.poll(async () => (await world.outcome())['failure']).not.toBeUndefined()
  expect(await sayAndRead(second, request(host, up.port, '/'))).toContain('ok')
  await expect(world.tunnel(host, up.port)).resolves.toBeDefined()
})

test.each([
  ['their limit', { tunnelsPerPrincipal: 1, requestsPerPrincipal: 1 }, 'too_many_tunnels'],
  ['everybody’s', { tunnels: 1, requests: 1 }, 'proxy_overloaded'],
])('row 38: a tunnel on a connection beyond %s is refused, be it the first', async (_, limits, reason) => {
  await using world = await makeWorld({ limits })
  const up = await world.upstream((_req, res) => res.end('ok'), 'http')
  await world.setRules([rule(host, up.port, { scheme: 'http' }), rule(host, 443)])
  const asked = `GET http://${host}:${up.port}/ HTTP/1.1\r\nHost: ${host}:${up.port}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
  const kept = [await world.connect(), await world.connect()]
  // Each is counted once, whatever it asks for.
  for (const one of [...kept, ...kept]) expect(await sayAndRead(one, asked)).toContain('ok')
  const opened = async () =>
    await sayAndRead(await world.connect(), connectRequest(host, 443, 'orders', world.lease))
  expect(deniedAs(await opened())).toBe(reason)
  kept[0]?.destroy()
  await until(async () => (await opened()).startsWith('HTTP/1.1 200 '))
})

test('row 38: a tunnel whose certificate cannot be made, or whose client leaves meanwhile, takes no place', async () => {
  await using world = await makeWorld({ limits: { tunnelsPerPrincipal: 1, handshakeTimeoutMs: 60_000 } })
  await world.setRules([rule(host, 443)])
  const connect = connectRequest(host, 443, 'orders', world.lease)
  const { subtle } = webcrypto
  const sign = subtle.sign.bind(subtle)
  let making: () => Promise<void> = () => Promise.reject(new Error('no signature'))
  // As above: what is signed and is no more than 32 bytes is no certificate.
  const signings = vi.spyOn(subtle, 'sign').mockImplementation(async (how, key, data) => {
    if (data.byteLength > 32) await making()
    return await sign(how, key, data)
  })
  try {
    for (let i = 0; i < 3; i += 1)
      expect(deniedAs(await sayAndRead(await world.connect(), connect))).toBe('proxy_failed')
    const { promise: made, resolve: make } = Promise.withResolvers<void>()
    let begun = false
    making = async () => {
      begun = true
      await made
    }
    const leaving = await world.connect()
    leaving.write(connect)
    await until(() => begun)
    leaving.destroy()
    make()
    await until(async () => (await sayAndRead(await world.connect(), connect)).startsWith('HTTP/1.1 200 '))
  } finally {
    signings.mockRestore()
  }
})

test('row 38: a tunnel that cannot be opened for an error of the proxy’s is refused in words, also behind an answer', async () => {
  await using world = await makeWorld({})
  const up = await world.upstream((_req, res) => res.end('ok'), 'http')
  await world.setRules([rule(host, up.port, { scheme: 'http' }), rule(host, 443)])
  const { subtle } = webcrypto
  const sign = subtle.sign.bind(subtle)
  // As above.
  const signings = vi.spyOn(subtle, 'sign').mockImplementation(async (how, key, data) => {
    if (data.byteLength > 32) throw new Error('no signature')
    return await sign(how, key, data)
  })
  try {
    const client = await world.connect()
    const asked = `GET http://${host}:${up.port}/ HTTP/1.1\r\nHost: ${host}:${up.port}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
    expect(await sayAndRead(client, asked)).toContain('ok')
    const connect = connectRequest(host, 443, 'orders', world.lease)
    expect(deniedAs(await sayAndRead(client, connect))).toBe('proxy_failed')
  } finally {
    signings.mockRestore()
  }
})

test('row 38: a tunnel without handshake, without requests, or with a head that never ends is closed', async () => {
  await using world = await makeWorld({
    limits: { handshakeTimeoutMs: 1_000, tunnelIdleTimeoutMs: 300, headersTimeoutMs: 300 },
  })
  await world.setRules([rule(host, 8443)])
  const silent = await world.connect()
  await sayAndRead(silent, connectRequest(host, 8443, 'orders', world.lease))
  const idle = await world.tunnel(host, 8443)
  const slow = await world.tunnel(host, 8443)
  slow.write('GET / HTTP/1.1\r\n')
  const drip = setInterval(() => slow.write('x: y\r\n'), 50)
  const slowOuter = await world.connect()
  slowOuter.write('CONNECT ')
  const sockets = [silent, idle, slow, slowOuter]
  for (const socket of sockets) socket.resume()
  await expect.poll(() => sockets.map((socket) => socket.closed)).toEqual([true, true, true, true])
  clearInterval(drip)
})

test('row 38: in a tunnel a head has its own time from its first byte on, and silence has the longer one', async () => {
  await using world = await makeWorld({ limits: { tunnelIdleTimeoutMs: 8_000, headersTimeoutMs: 300 } })
  const { up } = await armed(world, (_req, res) => res.end('fine'))
  const silent = await world.tunnel(host, up.port)
  const used = await world.tunnel(host, up.port)
  expect(await sayAndRead(used, request(host, up.port, '/'))).toContain('fine')
  const stalled = await world.tunnel(host, up.port)
  const dripping = await world.tunnel(host, up.port)
  const second = await world.tunnel(host, up.port)
  expect(await sayAndRead(second, request(host, up.port, '/'))).toContain('fine')
  const slow = [stalled, dripping, second]
  const heard = slow.map(listenTo)
  for (const socket of slow) socket.write('GET / HTTP/1.1\r\n')
  const drip = setInterval(() => {
    for (const socket of [dripping, second]) socket.write('x: y\r\n')
  }, 50)
  await until(() => heard.every(({ closed }) => closed))
  clearInterval(drip)
  for (const { text } of heard) expect(text).toMatch(/^HTTP\/1\.1 408 [^]*x-toolcrib-denied: head_timeout/)
  const denied = await world.events('egress.denied', 3)
  expect(denied.map(({ data }) => data['reason'])).toEqual(Array(3).fill('head_timeout'))
  for (const socket of [silent, used])
    expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('fine')
  expect(up.seen).toHaveLength(4)
})

test('row 38: a body may take its time where a head may not', async () => {
  await using world = await makeWorld({ limits: { headersTimeoutMs: 300 } })
  const { up } = await armed(world, (req, res) => {
    req.on('data', () => undefined)
    req.on('end', () => res.end('fine'))
  })
  const socket = await world.tunnel(host, up.port)
  socket.write(`POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Length: 2\r\n\r\na`)
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect(await sayAndRead(socket, 'b')).toContain('fine')
})

test.each(['HTTP/1.1', 'HTTP/2'])(
  'row 38: an upstream of %s that does not answer is given up on, and the refusal says that it may have acted',
  async (version) => {
    await using world = await makeWorld({ limits: { idleTimeoutMs: 300 } })
    const seen: unknown[] = []
    await using up =
      version === 'HTTP/2'
        ? await startHttp2Upstream(world.upstreamContext, (_stream, headers) => void seen.push(headers))
        : await world.upstream((req) => void seen.push(req.headers))
    await world.setRules([rule(host, up.port)])
    const asked = request(host, up.port, '/', [], 'POST', 'x')
    const answer = await sayAndRead(await world.tunnel(host, up.port), asked)
    expect(answer).toMatch(/^HTTP\/1\.1 504 [^]*upstream_timeout[^]*may have acted/)
    expect(await world.outcome()).toMatchObject({ status: null, failure: 'upstream_timeout' })
    const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
    const fields = { ':method': 'POST', ':scheme': 'https', ':authority': `${host}:${up.port}`, ':path': '/' }
    expect(await ask(client, fields, 'x')).toMatchObject({
      status: 504,
      body: expect.stringContaining('upstream_timeout'),
      code: 0,
    })
    client.destroy()
    expect(seen).toHaveLength(2)
  },
)

test('row 38: an upstream of plain http that does not answer is given up on in words, too', async () => {
  await using world = await makeWorld({ limits: { idleTimeoutMs: 300 } })
  const up = await world.upstream(() => undefined, 'http')
  await world.setRules([{ ...rule(host, up.port), scheme: 'http' }])
  const asked = `GET http://${host}:${up.port}/ HTTP/1.1\r\nHost: ${host}:${up.port}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
  expect(await sayAndRead(await world.connect(), asked)).toMatch(/^HTTP\/1\.1 504 [^]*upstream_timeout/)
})

test('row 38: a client that leaves off in a body that is held back, or reads no answer, is let go', async () => {
  const limits = { idleTimeoutMs: 600, dialTimeoutMs: 1_000, tokenTimeoutMs: 50 }
  await using world = await makeWorld({ limits })
  const up = await world.upstream((_req, res) => res.end(Buffer.alloc(64 * 1024 * 1024)))
  const inject = [{ credential: 'ORDERS_KEY', into: 'body:/key', format: '{value}' }]
  await world.setRules([rule(host, up.port, { inject })])
  const mute = await world.tunnel(host, up.port)
  const heard = listenTo(mute)
  mute.write(
    `POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a"`,
  )
  await until(() => heard.closed)
  expect(up.seen).toEqual([])
  const deaf = await world.tunnel(host, up.port)
  deaf.pause()
  deaf.write(
    request(host, up.port, '/', ['Content-Type: application/json'], 'POST', JSON.stringify({ a: 1 })),
  )
  expect(await world.outcome()).toMatchObject({ status: 200, failure: 'client_closed' })
})

test('row 38: connections that say nothing make room for those that do', async () => {
  await using world = await makeWorld({ limits: { namelessConnections: 20 } })
  const { up } = await armed(world, (_req, res) => res.end('fine'), { paths: ['/v1'] })
  const silent: Socket[] = []
  for (let i = 0; i < 60; i += 1) {
    const socket = connectTcp(world.egress.socketPath ?? '')
    socket.on('error', () => undefined)
    socket.write('CONNECT ')
    silent.push(socket)
  }
  try {
    await until(() => silent.filter((socket) => socket.destroyed).length >= 40)
    const socket = await world.tunnel(host, up.port)
    expect(await sayAndRead(socket, request(host, up.port, '/v1'))).toContain('200 OK')
  } finally {
    for (const socket of silent) socket.destroy()
  }
})

test('row 38: a person holds only so many connections, idle ones too, and others are served', async () => {
  await using world = await makeWorld({ limits: { tunnelsPerPrincipal: 5, requestsPerPrincipal: 5 } })
  const { up } = await armed(world, (_req, res) => res.end('fine'), { paths: ['/v1'] })
  const bob = await world.addLease({})
  const ask = async () => {
    const head = `GET http://nowhere.example.com/ HTTP/1.1\r\nHost: nowhere.example.com\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
    return await sayAndRead(await world.connect(), head)
  }
  for (let i = 0; i < 10; i += 1) expect(await ask()).toContain('host_not_allowed')
  const eleventh = await ask()
  expect(eleventh).toContain('too_many_requests')
  expect(eleventh).toMatch(/connection: close/i)
  const socket = await world.tunnel(host, up.port, { lease: bob.lease })
  expect(await sayAndRead(socket, request(host, up.port, '/v1'))).toContain('200 OK')
})

test('row 39: a flood of server names and of hosts has nothing signed: a certificate is made only for a host that CONNECT was allowed, once', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const serials = new Set<string>()
  const tunnel = async () => {
    const socket = await world.tunnel(host, up.port)
    serials.add(socket.getPeerCertificate().serialNumber)
    socket.destroy()
  }
  await tunnel()
  // Proxy and test are one process: whatever is signed in it goes through here. A certificate has hundreds of bytes;
  // with each beat the proxy looks at its keys, and tries the CA's on 32.
  const signings = vi.spyOn(webcrypto.subtle, 'sign')
  const certificates = () => signings.mock.calls.filter(([, , data]) => data.byteLength > 32).length
  try {
    const random = () => `${Math.random().toString(36).slice(2)}.example.com`
    for (let i = 0; i < 200; i += 1) {
      const refused = sayAndRead(await world.connect(), connectRequest(random(), 443, 'orders', world.lease))
      expect(await refused).toContain('host_not_allowed')
    }
    for (let i = 0; i < 50; i += 1)
      await expect(world.tunnel(host, up.port, { servername: random() })).rejects.toThrow(
        /closed|disconnected|ECONNRESET/,
      )
    await tunnel()
    expect(certificates()).toBe(0)
    // The same count notices what is signed when it should be: for a host that rules name since.
    await world.setRules([rule(host, up.port), rule('new.example.com', up.port)])
    await world.tunnel('new.example.com', up.port)
    expect(certificates()).toBeGreaterThan(0)
  } finally {
    signings.mockRestore()
  }
  expect(serials.size).toBe(1)
  expect(up.seen).toEqual([])
})

/** A resolver that never answers for some names, as the system's does not while a name server hangs. */
function hangingResolver() {
  const asked: string[] = []
  const waiting = new Map<string, (addresses: string[]) => void>()
  return {
    asked,
    answer: (name: string, addresses: string[]) => waiting.get(name)?.(addresses),
    resolve: async (name: string) => {
      asked.push(name)
      if (!name.startsWith('hangs')) return ['93.184.215.14']
      return await new Promise<string[]>((resolve) => waiting.set(name, resolve))
    },
  }
}

const anywhere = (name: string) => ({ host: name, methods: ['GET'], paths: ['/'] })
const hanging = (index: number) => `hangs-${index}.example.com`

test('row 38: a name that never resolves is looked up once however often it is asked for, and its answer kept from when it came', async () => {
  const names = hangingResolver()
  const dial = () => Promise.reject(new Error('this dialer connects nowhere'))
  await using world = await makeWorld({
    resolve: names.resolve,
    dial,
    limits: { dialTimeoutMs: 1_000, lookUpsPerPrincipal: 1 },
  })
  const name = hanging(0)
  await world.setRules([anywhere(name)])
  const ask = async () => deniedAs(await sayAndRead(await world.tunnel(name, 443), request(name, 443, '/')))
  expect(await Promise.all([ask(), ask()])).toEqual(['name_lookup_failed', 'name_lookup_failed'])
  // Beyond the time for which an answer is kept: nothing has come to keep, and the thread is still held.
  await new Promise((resolve) => setTimeout(resolve, 2_200))
  const again = performance.now()
  expect(await ask()).toBe('name_lookup_failed')
  expect(performance.now() - again).toBeLessThan(1_000)
  expect(names.asked).toEqual([name])
  names.answer(name, ['93.184.215.14'])
  await expect.poll(ask).toBe('upstream_unreachable')
  expect(names.asked).toEqual([name])
  expect(world.dialled).toContainEqual({ address: '93.184.215.14', port: 443 })
})

test('row 38: one person’s look-ups that hang are few, and hold up neither another person nor a name that is known', async () => {
  const names = hangingResolver()
  const dial = () => Promise.reject(new Error('this dialer connects nowhere'))
  await using world = await makeWorld({
    resolve: names.resolve,
    dial,
    limits: { dialTimeoutMs: 100, lookUpsPerPrincipal: 2, lookUps: 3 },
  })
  const hosts = [hanging(0), hanging(1), hanging(2), hanging(3), 'known.example.com', 'fresh.example.com']
  await world.setRules(hosts.map(anywhere))
  const bob = await world.addLease({})
  const ask = async (name: string, lease = world.lease) =>
    await sayAndRead(await world.tunnel(name, 443, { lease }), request(name, 443, '/'))
  expect(await ask('known.example.com')).toContain('upstream_unreachable')
  for (const index of [0, 1]) expect(await ask(hanging(index))).toContain('name_lookup_failed')
  const third = await ask(hanging(2))
  expect(third).toMatch(/^HTTP\/1\.1 429 [\s\S]*too_many_requests/)
  expect(third).toMatch(/retry-after: 1/i)
  expect(third).toContain('"rule":"limit"')
  expect(await ask('known.example.com')).toContain('upstream_unreachable')
  expect(await ask('fresh.example.com', bob.lease)).toContain('upstream_unreachable')
  // With everybody's places taken, even by threads that nobody waits for any more, the proxy says so at once.
  expect(await ask(hanging(3), bob.lease)).toContain('name_lookup_failed')
  const full = await ask(hanging(2), bob.lease)
  expect(full).toMatch(/^HTTP\/1\.1 503 [\s\S]*proxy_overloaded/)
  expect(full).toMatch(/retry-after: 1/i)
  names.answer(hanging(0), [])
  expect(await ask(hanging(2), bob.lease)).toContain('name_lookup_failed')
  expect(names.asked.toSorted()).toEqual(
    [hanging(0), hanging(1), hanging(2), hanging(3), 'fresh.example.com', 'known.example.com'].toSorted(),
  )
})
