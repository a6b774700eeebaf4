import { expect, test } from 'vitest'
import { host, listenTo } from '../../support/armed.ts'
import { basic, makeWorld, rule, sayAndRead } from '../../support/egress-world.ts'
import { frame, frameType, headerBlock, preface, pseudoHeaders } from '../../support/http2.ts'

/** HTTP/2 where TLS has not agreed on it. */

test('row 17: an upgrade to h2c is refused, in a tunnel and over plain http, and nothing behind it is read', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  const plain = await world.upstream((_req, res) => res.end('ok'), 'http')
  await world.setRules([rule(host, up.port), rule(host, plain.port, { scheme: 'http' })])
  // The client's SETTINGS, empty, in base64url (RFC 7540 section 3.2), and the preface at once.
  const fields = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n'
  const behind = preface.toString('latin1')
  const inside = await sayAndRead(
    await world.tunnel(host, up.port),
    `GET / HTTP/1.1\r\nHost: ${host}:${up.port}\r\n${fields}`,
  )
  expect(inside).toMatch(/^HTTP\/1\.1 400 [\s\S]*"reason":"upgrade_unsupported"/)
  const eager = await sayAndRead(
    await world.tunnel(host, up.port),
    `GET / HTTP/1.1\r\nHost: ${host}:${up.port}\r\n${fields}${behind}`,
  )
  expect(eager).toMatch(/^HTTP\/1\.1 400 /)
  expect(eager).not.toMatch(/^HTTP\/1\.1 101/m)
  const authorization = `Proxy-Authorization: ${basic('orders', world.lease)}\r\n`
  const outside = await sayAndRead(
    await world.connect(),
    `GET http://${host}:${plain.port}/ HTTP/1.1\r\nHost: ${host}:${plain.port}\r\n${authorization}${fields}`,
  )
  expect(outside).toMatch(/^HTTP\/1\.1 400 [\s\S]*"reason":"upgrade_unsupported"/)
  expect([...up.seen, ...plain.seen]).toEqual([])
  expect(world.dialled).toEqual([])
})

test('row 17: HTTP/2 with prior knowledge where HTTP/1.1 was agreed on, and at the proxy itself, is refused', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const fields: [string, string][] = pseudoHeaders(host, up.port)
  const asked = Buffer.concat([preface, frame(frameType.headers, 5, 1, headerBlock(fields))])
  for (const socket of [await world.tunnel(host, up.port), await world.connect()]) {
    const heard = listenTo(socket)
    socket.write(asked)
    await expect.poll(() => heard.closed).toBe(true)
    expect(heard.text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
    expect(heard.text.match(/HTTP\//g)).toHaveLength(1)
  }
  expect(up.seen).toEqual([])
  expect(world.dialled).toEqual([])
})
