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

test('row 27: a message in records of a byte takes time that grows with it alone, for all who wait meanwhile', () => {
  const begun = (records: number) => {
    const bytes = [1, 0, 0x3f, 0, ...Array<number>(records - 4).fill(0)]
    return Buffer.concat(bytes.map((byte) => Buffer.from([22, 3, 1, 0, 1, byte])))
  }
  const few = begun(135)
  const many = begun(2_700)
  /** The shortest of some, since a machine may pause. */
  const ms = (bytes: Buffer) => {
    const times = Array.from({ length: 20 }, () => {
      const from = performance.now()
      for (let n = 0; n < 20; n += 1) expect(judgeClientHello(bytes, host)).toBeUndefined()
      return performance.now() - from
    })
    return Math.min(...times)
  }
  ms(few)
  // Twenty times as many; each copied with all before it, they took four hundred times as long.
  expect(ms(many) / ms(few)).toBeLessThan(80)
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

/** Bytes with their length before them. */
function vector(lengthBytes: 1 | 2 | 3, ...parts: Uint8Array[]): Buffer {
  const bytes = Buffer.concat(parts)
  const length = Buffer.alloc(lengthBytes)
  length.writeUIntBE(bytes.length, 0, lengthBytes)
  return Buffer.concat([length, bytes])
}

const record = (...parts: Uint8Array[]) =>
  Buffer.concat([Buffer.from([22, 3, 1]), vector(2, Buffer.concat(parts))])
const named = (name: string, type = 0) => Buffer.concat([Buffer.from([type]), vector(2, Buffer.from(name))])
const extension = (...parts: Uint8Array[]) => Buffer.concat([Buffer.from([0, 0]), vector(2, ...parts)])
const names = (...list: Uint8Array[]) => extension(vector(2, ...list))

/** A ClientHello of one suite with what comes behind that: extensions, or nothing. */
function message(...behind: Uint8Array[]): Buffer {
  const start = [Buffer.from([3, 3]), Buffer.alloc(32), vector(1), vector(2, Buffer.from([19, 1]))]
  return Buffer.concat([Buffer.from([1]), vector(3, ...start, vector(1, Buffer.from([0])), ...behind)])
}

const extensions = (...each: Uint8Array[]) => vector(2, ...each)
const onlyHost = names(named(host))
const whole = message(extensions(onlyHost))
const one = Buffer.from([0])

test.each<[what: string, bytes: Buffer, reason: 'sni_mismatch' | 'tls_failed']>([
  [
    'a second name in the list',
    record(message(extensions(names(named(host), named('b.example.com'))))),
    'sni_mismatch',
  ],
  ['a second list, without a name', record(message(extensions(onlyHost, names()))), 'sni_mismatch'],
  ['a name of another kind', record(message(extensions(names(named(host), named(host, 1))))), 'tls_failed'],
  [
    'bytes behind the list of names',
    record(message(extensions(extension(vector(2, named(host)), one)))),
    'tls_failed',
  ],
  ['bytes behind the extensions', record(message(extensions(onlyHost), one)), 'tls_failed'],
  ['the extensions behind the message', record(message(), extensions(onlyHost)), 'tls_failed'],
  [
    'an empty record in it',
    Buffer.concat([record(whole.subarray(0, 9)), record(), record(whole.subarray(9))]),
    'tls_failed',
  ],
  ['another message in its place', record(Buffer.from([2]), whole.subarray(1)), 'tls_failed'],
  ['more than any client says', record(Buffer.from([1, 0, 0x40, 0])), 'tls_failed'],
])('row 27: a first message with %s is refused', (_what, bytes, reason) => {
  expect(judgeClientHello(record(whole), host)).toEqual({ ok: true })
  expect(judgeClientHello(bytes, host)).toEqual({ ok: false, reason })
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
