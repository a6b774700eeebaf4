import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { expect, onTestFinished, test, vi } from 'vitest'
import { watchForBreak } from '../../src/egress/bounds/broken-writes.ts'
import { createRounds } from '../../src/egress/bounds/rounds.ts'
import { generateAuthority, importAuthority } from '../../src/egress/keys/certificates.ts'
import { certificateOf } from '../support/certificate.ts'

const host = 'orders.example.com'

/** Both ends of a connection by TLS: ours, and that of a client who reads when it is told to. */
async function pair(): Promise<{ ours: TLSSocket; client: TLSSocket }> {
  const { certificatePem, keyPem } = await generateAuthority(Date.now())
  const server = createServer(await certificateOf(await importAuthority(certificatePem, keyPem), host))
  onTestFinished(() => void server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const client = connect({ port, host: '127.0.0.1', servername: host, ca: certificatePem })
  const [ours] = (await once(server, 'secureConnection')) as [TLSSocket]
  for (const one of [ours, client]) {
    one.on('error', () => undefined)
    onTestFinished(() => void one.destroy())
  }
  return { ours, client }
}

test.each([
  ['silent', 0],
  ['sent more than its client reads', 8 * 1024 * 1024],
])('a connection that is %s is not broken, however often it is looked at', async (_, bytes) => {
  const { ours, client } = await pair()
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const rounds = createRounds()
  try {
    const broken = vi.fn<() => void>()
    client.pause()
    watchForBreak(rounds, ours, broken)
    if (bytes > 0) ours.write(Buffer.alloc(bytes))
    for (let look = 0; look < 5; look += 1) {
      vi.advanceTimersByTime(1_000)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(broken).not.toHaveBeenCalled()
    if (bytes === 0) return
    let got = 0
    client.on('data', (chunk: Buffer) => {
      got += chunk.length
    })
    client.resume()
    await expect.poll(() => got).toBe(bytes)
  } finally {
    rounds.close()
    vi.useRealTimers()
  }
})
