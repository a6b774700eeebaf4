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
