import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { generateAuthority, importAuthority } from '../../src/egress/keys/certificates.ts'
import { certificateOf } from '../support/certificate.ts'
import { makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'

const host = 'orders.example.com'

test('a TLS session to an upstream is resumed for the same person and rule, and for nobody else', async () => {
  const authority = await generateAuthority(Date.now())
  const world = await makeWorld({ trustedCas: [authority.certificatePem] })
  await using _ = world
  const own = await certificateOf(await importAuthority(authority.certificatePem, authority.keyPem), host)
  const server = createServer(own, (req, res) => {
    // Closed after each, so that every request has a connection of its own.
    res.setHeader('connection', 'close')
    res.end(`resumed ${(req.socket as TLSSocket).isSessionReused()}`)
  })
  let isBroken = false
  server.on('connection', (socket) => {
    if (isBroken) socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as AddressInfo
    const rules = [rule(host, port, { paths: ['/a'] }), rule(host, port, { paths: ['/b'] })]
    await world.setRules(rules)
    const ask = async (path: string, lease?: string) => {
      const socket = await world.tunnel(host, port, lease === undefined ? {} : { lease })
      return /resumed \w+/.exec(await sayAndRead(socket, request(host, port, path)))?.[0]
    }
    expect(await ask('/a')).toBe('resumed false')
    // A session is told of when it likes.
    await expect.poll(async () => await ask('/a'), { timeout: 10_000 }).toBe('resumed true')
    // What a handshake has failed with is not tried again.
    isBroken = true
    expect(await ask('/a')).toBe(undefined)
    isBroken = false
    expect(await ask('/a')).toBe('resumed false')
    expect(await ask('/b')).toBe('resumed false')
    expect(await ask('/a', (await world.addLease({})).lease)).toBe('resumed false')
    await world.setRules(rules)
    // Once the proxy has heard of them.
    await expect.poll(async () => await ask('/a')).toBe('resumed false')
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
})
