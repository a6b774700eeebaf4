import type { Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { headerValues } from '../../../src/egress/request/head.ts'
import { armed, deniedAs, host, listenTo } from '../../support/armed.ts'
import { clientHello, withExtension } from '../../support/client-hello.ts'
import {
  connectRequest,
  makeWorld,
  request,
  sayAndRead,
  theSecret,
  type World,
} from '../../support/egress-world.ts'
import { ask, http2Client } from '../../support/http2.ts'

/** What is spoken in a tunnel, and to whom it claims to be: anything but TLS for its own host closes it. */

async function opened(world: World, port: number) {
  const socket = await world.connect()
  const answer = await sayAndRead(socket, connectRequest(host, port, 'orders', world.lease))
  expect(answer).toMatch(/^HTTP\/1\.1 200/)
  return socket
}

/** Resolves once the other end has closed, with what it said before. */
async function said(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  socket.on('error', () => undefined)
  await new Promise<void>((resolve) => socket.on('close', () => resolve()))
  return text
}

const deniedReason = (body: string) => (JSON.parse(body) as { reason: string }).reason

const reasonsOf = async (world: World, count: number) =>
  (await world.events('egress.denied', count)).map((event) => event.data['reason'])

test('row 26: server name, CONNECT target and Host must be one', async () => {
  await using world = await makeWorld()
  const { up, raw } = await armed(world, (_req, res) => res.end('ok'))
  for (const servername of ['evil.example.com', `a.${host}`, 'example.com', `${host}.evil.example.com`]) {
    await expect(world.tunnel(host, up.port, { servername })).rejects.toThrow(
      /closed|disconnected|ECONNRESET/,
    )
  }
  expect(deniedAs(await raw(request('evil.example.com', up.port, '/')))).toBe('host_mismatch')
  expect(deniedAs(await raw(request(host, up.port + 1, '/')))).toBe('host_mismatch')
  expect(deniedAs(await raw(request(host, 443, '/')))).toBe('host_mismatch')
  expect(await reasonsOf(world, 7)).toEqual([
    ...Array(4).fill('sni_mismatch'),
    ...Array(3).fill('host_mismatch'),
  ])
  expect(world.dialled).toEqual([])
})

test('row 27: no server name, or an address as one, closes the tunnel', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const nameless = connectTls({
    socket: await opened(world, up.port),
    ca: world.ca,
    checkServerIdentity: () => undefined,
  })
  await said(nameless)
  for (const name of ['127.0.0.1', '[::1]', '2130706433']) {
    const socket = await opened(world, up.port)
    socket.write(await clientHello(name))
    expect(await said(socket)).not.toContain('\x16\x03')
  }
  expect(await reasonsOf(world, 4)).toEqual(Array(4).fill('sni_mismatch'))
  expect(up.seen).toEqual([])
})

test('row 27: where TLS is ended here Encrypted Client Hello hides nothing: the name in clear decides', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const hello = async (name: string) => withExtension(await clientHello(name), 0xfe0d, Buffer.alloc(200))
  const good = await opened(world, up.port)
  const heard = listenTo(good)
  good.write(await hello(host))
  // Answered with the rest of a handshake, by the key of the name in clear.
  await expect.poll(() => heard.text.startsWith('\x16\x03')).toBe(true)
  good.destroy()
  const hiding = await opened(world, up.port)
  hiding.write(await hello('public.example.net'))
  expect(await said(hiding)).not.toContain('\x16\x03')
  expect(await reasonsOf(world, 2)).toContain('sni_mismatch')
  expect(world.dialled).toEqual([])
})

test('row 27: bytes that are no TLS, CONNECT inside, and TLS inside TLS close the tunnel; other ports are not opened', async () => {
  await using world = await makeWorld({ limits: { handshakeTimeoutMs: 300 } })
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  for (const text of [
    'SSH-2.0-OpenSSH_9.9\r\n',
    `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    '\x00\x00\x00\x08\x04\xd2\x16\x2f',
    '\x05\x01\x00',
  ]) {
    const socket = await opened(world, up.port)
    socket.write(Buffer.from(text, 'latin1'))
    socket.end()
    expect(await said(socket)).not.toContain('HTTP/1.1 200')
  }
  const slow = await opened(world, up.port)
  slow.write(Buffer.from('\x16\x03\x01', 'latin1'))
  expect(await said(slow)).toBe('')
  const nested = await world.tunnel(host, up.port)
  nested.write(connectRequest(host, up.port, 'orders', world.lease))
  expect(await said(nested)).toBe('')
  const outer = await world.tunnel(host, up.port)
  const inner = connectTls({ socket: outer, servername: host, ca: world.ca })
  expect(await said(inner)).toBe('')
  for (const port of [22, 25, 3306, 5432, 6379])
    await expect(world.tunnel(host, port)).rejects.toThrow('port_not_allowed')
  const reasons = await reasonsOf(world, 12)
  expect(reasons.filter((reason) => reason === 'connect_in_tunnel')).toHaveLength(1)
  expect(reasons.filter((reason) => reason === 'parse_error')).toHaveLength(1)
  expect(reasons.filter((reason) => /^(?:tunnel_not_tls|tls_failed)$/.test(String(reason)))).toHaveLength(5)
  expect(up.seen).toEqual([])
  expect(world.dialled).toEqual([])
})

test('row 27: SOCKS 4 and 5, with BIND and UDP, are no language of the proxy', async () => {
  await using world = await makeWorld()
  await armed(world, (_req, res) => res.end('ok'))
  const greetings: number[][] = [
    [5, 1, 0],
    [5, 2, 0, 2],
    [4, 1, 1, 187, 127, 0, 0, 1, 0],
    [5, 1, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0],
    [5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0],
  ]
  for (const bytes of greetings) {
    const socket = await world.connect()
    const heard = listenTo(socket)
    socket.write(Buffer.from(bytes))
    await expect.poll(() => heard.closed).toBe(true)
    expect(heard.text).toMatch(/^HTTP\/1\.1 400 /)
  }
  expect(world.dialled).toEqual([])
})

test('row 25: a client that offers HTTP/2 first is spoken to in it, and the credential goes to nobody else', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const protocols = ['h2', 'http/1.1']
  const secured = await world.tunnel(host, up.port, { protocols })
  expect(secured.alpnProtocol).toBe('h2')
  const client = http2Client(secured)
  const asked = { ':method': 'GET', ':scheme': 'https', ':path': '/' }
  for (const authority of ['evil.example.com', `${host}:${up.port + 1}`, `a.${host}:${up.port}`]) {
    const { status, body } = await ask(client, { ...asked, ':authority': authority })
    expect([status, deniedReason(body)]).toEqual([400, 'host_mismatch'])
  }
  expect(up.seen).toEqual([])
  const { status, body } = await ask(client, { ...asked, ':authority': `${host}:${up.port}` })
  expect([status, body]).toEqual([200, 'ok'])
  client.destroy()
  expect(up.seen.map(({ rawHeaders }) => headerValues(rawHeaders, 'authorization'))).toEqual([
    [`Bearer ${theSecret}`],
  ])
  expect(world.dialled).toEqual([{ address: '127.0.0.1', port: up.port }])
})

test('row 25: HTTP/2’s preface where HTTP/1.1 was agreed on is refused, and a protocol that nobody speaks is not guessed at', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const secured = await world.tunnel(host, up.port, { protocols: ['http/1.1'] })
  expect(secured.alpnProtocol).toBe('http/1.1')
  const answer = await sayAndRead(secured, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  expect(answer).toMatch(/^HTTP\/1\.1 400 /)
  const other = connectTls({
    socket: await opened(world, up.port),
    servername: host,
    ca: world.ca,
    ALPNProtocols: ['h3', 'spdy/3'],
  })
  expect(await said(other)).toBe('')
  expect(up.seen).toEqual([])
  expect(world.logged()).not.toContain(theSecret)
})

test('the handshake in a tunnel is the quick one, and clients that have another get theirs', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const agreed = async (offered: ConnectionOptions) => {
    const secured = await world.tunnel(host, up.port, { tls: offered })
    const group = secured.getEphemeralKeyInfo() as { name?: string } | null
    const seen = { version: secured.getProtocol(), cipher: secured.getCipher().name, group: group?.name }
    secured.destroy()
    return seen
  }
  const quick = { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', group: 'X25519' }
  // Programs offer all of it, each in its own order.
  expect(await agreed({})).toEqual(quick)
  expect(await agreed({ ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256' })).toEqual(quick)
  expect(await agreed({ ciphers: 'TLS_AES_256_GCM_SHA384' })).toMatchObject({
    cipher: 'TLS_AES_256_GCM_SHA384',
  })
  expect(await agreed({ ciphers: 'TLS_CHACHA20_POLY1305_SHA256' })).toMatchObject({
    cipher: 'TLS_CHACHA20_POLY1305_SHA256',
  })
  for (const [ecdhCurve, group] of [
    ['P-256', 'prime256v1'],
    ['P-384', 'secp384r1'],
    ['P-521', 'secp521r1'],
  ] as const)
    expect(await agreed({ ecdhCurve })).toMatchObject({ version: 'TLSv1.3', group })
  const older = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' } as const
  expect(await agreed(older)).toMatchObject({ version: 'TLSv1.2', cipher: 'ECDHE-ECDSA-AES256-GCM-SHA384' })
})
