import { createServer as createTls } from 'node:tls'
import { expect, test } from 'vitest'
import { host, listenTo } from '../../support/armed.ts'
import { makeWorld, request, rule } from '../../support/egress-world.ts'
import {
  frame,
  frameFlag,
  frameType,
  headerBlock,
  preface,
  pseudoHeaders,
  startHttp2Upstream,
} from '../../support/http2.ts'
import { byServerName, listenLocally } from '../../support/listening.ts'
import { makeRawWorld } from '../../support/raw-upstream.ts'

/** Streams that are reset with NO_ERROR before their end, which Node ends as it ends any other. */

const withoutError = Buffer.alloc(4)

test.each(['HTTP/1.1', 'HTTP/2'])(
  'row 25: a body that is taken back without an error is not sent to an upstream of %s as a whole one',
  async (version) => {
    await using raw = await makeRawWorld()
    const { world } = raw
    let got = ''
    await using up =
      version === 'HTTP/1.1'
        ? await raw.start((socket, head) => {
            got += head
            socket.on('data', (chunk: Buffer) => (got += chunk.toString('latin1')))
            socket.once('close', () => (got += ' closed'))
          })
        : await startHttp2Upstream(world.upstreamContext, (stream) => {
            stream.on('data', (chunk: Buffer) => (got += chunk.toString('latin1')))
            stream.once('close', () => (got += stream.rstCode === 0 ? ' whole' : ' closed'))
          })
    await world.setRules([rule(host, up.port)])
    const socket = await world.tunnel(host, up.port, { protocols: ['h2'] })
    socket.resume()
    const head = headerBlock(pseudoHeaders(host, up.port, 'POST'))
    socket.write(Buffer.concat([preface, frame(frameType.headers, frameFlag.endHeaders, 1, head)]))
    socket.write(frame(frameType.data, 0, 1, Buffer.from('half of it')))
    await expect.poll(() => got).toContain('half of it')
    socket.write(frame(frameType.reset, 0, 1, withoutError))
    await expect.poll(() => got).toMatch(/half of it(?:\r\n)? closed$/)
    expect(await world.outcome()).toMatchObject({ failure: 'client_closed' })
  },
)

test.each([
  ['short of its length', [['content-length', '90']] as [string, string][], 'upstream_failed'],
  ['without a length', [], 'upstream_failed'],
  ['of its whole length', [['content-length', '10']] as [string, string][], null],
])(
  'row 19: an answer %s that its upstream takes back without an error is whole only by its length',
  async (_, length, failure) => {
    await using world = await makeWorld()
    const context = await world.upstreamContext(host)
    const options = { ALPNProtocols: ['h2'], ...byServerName(async () => context) }
    const server = createTls(options, (socket) => {
      socket.on('error', () => undefined)
      const head = headerBlock([[':status', '200'], ...length])
      socket.write(frame(frameType.settings, 0, 0))
      socket.once('data', () => {
        socket.write(frame(frameType.settings, 1, 0))
        socket.write(frame(frameType.headers, frameFlag.endHeaders, 1, head))
        socket.write(frame(frameType.data, 0, 1, Buffer.from('half of it')))
        setTimeout(() => socket.end(frame(frameType.reset, 0, 1, withoutError)), 50)
      })
    })
    const port = await listenLocally(server)
    try {
      await world.setRules([rule(host, port)])
      const socket = await world.tunnel(host, port)
      const heard = listenTo(socket)
      socket.write(request(host, port, '/'))
      expect(await world.outcome()).toMatchObject({ status: 200, failure })
      await expect.poll(() => heard.text).toMatch(/half of it(?:\r\n)?$/)
      await expect.poll(() => heard.closed).toBe(failure !== null)
    } finally {
      server.close()
    }
  },
)
