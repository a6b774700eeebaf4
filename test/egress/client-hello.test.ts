import { Duplex } from 'node:stream'
import { createSecureContext, TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { judgeClientHello } from '../../src/egress/request/client-hello.ts'
import { clientHello, withExtension } from '../support/client-hello.ts'

const host = 'api.example.com'
const hello = await clientHello(host)

test('a real client’s first message is good for its own host only, however it is cut into records and pieces', () => {
  expect(judgeClientHello(hello, host)).toEqual({ ok: true })
  expect(judgeClientHello(hello, 'evil.example.com')).toEqual({ ok: false, reason: 'sni_mismatch' })
  for (let length = 0; length < hello.length; length += 1)
    expect(judgeClientHello(hello.subarray(0, length), host)).toBeUndefined()
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 20 }), (sizes) => {
      let rest = hello.subarray(5)
      const records: Buffer[] = []
      for (const size of [...sizes, 16_000]) {
        if (rest.length === 0) break
        const part = rest.subarray(0, size)
        const head = Buffer.from([22, 3, 1, 0, 0])
        head.writeUInt16BE(part.length, 3)
        records.push(head, part)
        rest = rest.subarray(size)
      }
      expect(judgeClientHello(Buffer.concat(records), host)).toEqual({ ok: true })
    }),
  )
})

test('row 27: Encrypted Client Hello, an earlier draft of it, and a second name are refused', () => {
  const reason = (bytes: Buffer) => judgeClientHello(bytes, host)
  expect(reason(withExtension(hello, 0xfe0d, Buffer.alloc(100)))).toEqual({
    ok: false,
    reason: 'ech_refused',
  })
  expect(reason(withExtension(hello, 0xffce, Buffer.alloc(100)))).toEqual({
    ok: false,
    reason: 'ech_refused',
  })
  const name = Buffer.concat([Buffer.from([0, 0, host.length]), Buffer.from(host)])
  const list = Buffer.concat([Buffer.from([0, name.length]), name])
  expect(reason(withExtension(hello, 0, list))).toEqual({ ok: false, reason: 'sni_mismatch' })
})

/** The server name that OpenSSL reads out of the same bytes; undefined when it takes them for no ClientHello. */
async function asOpenSslReads(bytes: Buffer): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const wire = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })
    const server = new TLSSocket(wire, {
      isServer: true,
      secureContext: createSecureContext(),
      SNICallback: (name, done) => {
        resolve(name.toLowerCase())
        done(new Error('heard'))
      },
    })
    server.on('error', () => resolve(undefined))
    wire.push(bytes)
    setTimeout(() => resolve(undefined), 200).unref()
  })
}

test('row 27: what is let through as a host’s OpenSSL reads as that host’s', async () => {
  expect(await asOpenSslReads(hello)).toBe(host)
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 }),
      async (changes) => {
        const changed = Buffer.from(hello)
        for (const [at, value] of changes) changed[at] = value
        if (judgeClientHello(changed, host)?.ok !== true) return
        accepted += 1
        const heard = await asOpenSslReads(changed)
        // It also judges what a name does not depend on; where it hears one, it is this.
        expect([host, undefined]).toContain(heard)
      },
    ),
    { numRuns: 300 },
  )
  expect(accepted).toBeGreaterThan(50)
})
