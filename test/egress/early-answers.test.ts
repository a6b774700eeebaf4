/** Answers that come while their request is still being sent. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import { generateAuthority, importAuthority } from '../../src/egress/keys/certificates.ts'
import { certificateOf } from '../support/certificate.ts'
import { type ClosingUpstream, stage } from '../support/closing-upstream.ts'
import { makeWorld, rule } from '../support/egress-world.ts'
import {
  frame,
  frameFlag,
  frameType,
  headerBlock,
  preface,
  pseudoHeaders,
  readFrames,
  startHttp2Upstream,
} from '../support/http2.ts'

const host = 'orders.example.com'

test('by HTTP/2 the rest of a request is called off behind the end of its answer, never before', async () => {
  await using world = await makeWorld()
  const body = 'too large'
  await using up = await startHttp2Upstream(
    (name) => world.upstreamContext(name),
    (stream) => {
      stream.respond({ ':status': 413 })
      stream.end(body)
    },
  )
  await world.setRules([rule(host, up.port)])
  const secured = await world.tunnel(host, up.port, { protocols: ['h2'] })
  const frames = readFrames(secured)
  const ofStream = () => frames.filter(({ stream }) => stream === 1)
  // No room for anything behind the body, nor for the end of the stream.
  const window = Buffer.from([0, 4, 0, 0, 0, body.length])
  secured.write(
    Buffer.concat([
      preface,
      frame(frameType.settings, 0, 0, window),
      frame(frameType.headers, frameFlag.endHeaders, 1, headerBlock(pseudoHeaders(host, up.port, 'POST'))),
      frame(frameType.data, 0, 1, Buffer.from('begun')),
    ]),
  )
  await expect.poll(() => ofStream().length).toBe(2)
  secured.write(frame(frameType.ping, 0, 0, Buffer.alloc(8)))
  await expect.poll(() => frames.some(({ type }) => type === frameType.ping)).toBe(true)
  secured.write(frame(frameType.windowUpdate, 0, 1, Buffer.from([0, 0, 0, 100])))
  await expect.poll(() => ofStream().at(-1)?.type).toBe(frameType.reset)
  expect(ofStream().map(({ type, payload }) => [type, payload.length])).toEqual([
    [frameType.headers, expect.any(Number)],
    [frameType.data, body.length],
    [frameType.data, 0],
    [frameType.reset, 4],
  ])
})

test('by HTTP/2 a client that reads only when it has sent all hears a refusal, and is not called off', async () => {
  await using world = await makeWorld()
  await world.setRules([rule(host, 443)])
  const secured = await world.tunnel(host, 443, { protocols: ['h2'] })
  const frames = readFrames(secured)
  const ofStream = () => frames.filter(({ stream }) => stream === 1)
  const full = Buffer.alloc(16_384)
  const part = frame(frameType.data, 0, 1, full)
  const head = headerBlock(pseudoHeaders(host, 443, 'PUT'))
  secured.write(Buffer.concat([preface, frame(frameType.settings, 0, 0)]))
  secured.write(frame(frameType.headers, frameFlag.endHeaders, 1, head))
  // As much as may be sent unasked, but for one byte.
  secured.write(Buffer.concat([part, part, part, frame(frameType.data, 0, 1, full.subarray(1))]))
  const room = () =>
    ofStream()
      .filter(({ type }) => type === frameType.windowUpdate)
      .reduce((sum, { payload }) => sum + payload.readUInt32BE(), 0)
  await expect.poll(room).toBeGreaterThan(full.length)
  secured.write(frame(frameType.data, frameFlag.endStream, 1, full))
  secured.write(frame(frameType.ping, 0, 0, Buffer.alloc(8)))
  await expect.poll(() => frames.some(({ type }) => type === frameType.ping)).toBe(true)
  const kinds = ofStream().map(({ type }) => type)
  expect(kinds.filter((type) => type === frameType.headers)).toHaveLength(1)
  expect(kinds).not.toContain(frameType.reset)
})

test('by HTTP/1.1 an answer arrives whose upstream closes behind it, also where a write hears of that first', async () => {
  const { certificatePem, keyPem } = await generateAuthority(Date.now())
  const certificate = await certificateOf(await importAuthority(certificatePem, keyPem), host)
  await using world = await makeWorld({ trustedCas: [certificatePem] })
  const at = new Int32Array(new SharedArrayBuffer(4))
  const answer = 'HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large'
  const workerData: ClosingUpstream = { certificate, at, answer }
  const upstream = new Worker(new URL('../support/closing-upstream.ts', import.meta.url), { workerData })
  onTestFinished(() => void upstream.terminate())
  const [{ port }] = (await once(upstream, 'message')) as [AddressInfo]
  await world.setRules([rule(host, port)])
  const tunnel = await world.tunnel(host, port)
  let got = ''
  tunnel.on('data', (chunk: Buffer) => (got += chunk.toString('latin1')))
  tunnel.write(`POST /v1 HTTP/1.1\r\nHost: ${host}:${port}\r\nContent-Length: 100000\r\n\r\nbegun`)
  await expect.poll(() => at[0]).toBe(stage.heard)
  // The proxy finds both at once: more of the body, and behind that the answer of a connection that is gone.
  tunnel.write(Buffer.alloc(10_000))
  Atomics.store(at, 0, stage.answers)
  Atomics.notify(at, 0)
  expect(Atomics.wait(at, 0, stage.answers, 10_000)).not.toBe('timed-out')
  await expect.poll(() => got).toMatch(/^HTTP\/1\.1 413 [^]*too large$/)
  expect(await world.outcome()).toMatchObject({ status: 413, failure: null })
})
