/** The first message of a TLS client, with a server name that no client library would send. */
import { Duplex } from 'node:stream'
import { connect } from 'node:tls'

/** A real ClientHello in which `name` was put byte for byte. */
export async function clientHello(name: string): Promise<Buffer> {
  const wanted = Buffer.from(name, 'latin1')
  // A well-formed name of the same length, so that no length around it changes.
  const stand = Buffer.from(`${'n'.repeat(Math.max(1, wanted.length - 2))}.n`.slice(-wanted.length))
  const hello = await new Promise<Buffer>((resolve) => {
    const wire = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        resolve(chunk)
        done()
      },
    })
    connect({ socket: wire, servername: stand.toString('latin1') }).on('error', () => undefined)
  })
  const at = hello.indexOf(stand)
  if (at === -1) throw new Error('the stand-in is not in the ClientHello')
  wanted.copy(hello, at)
  return hello
}

/** The same ClientHello with one more extension at its end. */
export function withExtension(hello: Buffer, type: number, data: Buffer): Buffer {
  const extension = Buffer.alloc(4)
  extension.writeUInt16BE(type, 0)
  extension.writeUInt16BE(data.length, 2)
  const longer = Buffer.concat([hello, extension, data])
  const more = extension.length + data.length
  longer.writeUInt16BE(hello.readUInt16BE(3) + more, 3)
  longer.writeUIntBE(hello.readUIntBE(6, 3) + more, 6, 3)
  // Behind version, random, session, suites and compression stands the length of all extensions.
  let at = 9 + 2 + 32
  at += 1 + hello.readUInt8(at)
  at += 2 + hello.readUInt16BE(at)
  at += 1 + hello.readUInt8(at)
  longer.writeUInt16BE(hello.readUInt16BE(at) + more, at)
  return longer
}
