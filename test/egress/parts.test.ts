/** Parts of answers that are searched: cut out of the whole, by HTTP/1.1 and HTTP/2. */
import { once } from 'node:events'
import { connect } from 'node:http2'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PartCutter } from '../../src/egress/traffic/part.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead, theSecret } from '../support/egress-world.ts'

const host = 'files.example.com'
const at = 150_000
const stars = '*'.repeat(theSecret.length)
const around = (secret: string) => {
  const text = Array.from({ length: 40_000 }, (_, i) => `${String(i).padStart(7, '0')}\n`).join('')
  return text.slice(0, at) + secret + text.slice(at + secret.length)
}
const whole = around(theSecret)
const shown = around(stars)

async function files() {
  const world = await makeWorld()
  const up = await world.upstream((req, res) => {
    res
      .setHeader('etag', '"v1"')
      .setHeader('content-md5', 'of-the-whole')
      .setHeader('x-amz-checksum-crc32', 'AAAAAA==')
    if (req.url === '/empty') return res.setHeader('content-length', 0).end()
    res.setHeader('content-length', whole.length)
    // Behind what is needed it never ends.
    if (req.url === '/endless') return res.write(whole.slice(0, -1))
    return res.end(whole)
  })
  await world.setRules([rule(host, up.port, { methods: ['GET', 'HEAD'], inject: injectBearer })])
  const ask = async (fields: string[], path = '/') => {
    const socket = await world.tunnel(host, up.port)
    const answer = await sayAndRead(socket, request(host, up.port, path, [...fields, 'Connection: close']))
    socket.destroy()
    const [head = '', ...body] = answer.split('\r\n\r\n')
    return { status: Number(head.split(' ')[1]), head, body: body.join('\r\n\r\n') }
  }
  return { world, up, ask, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() }
}

test('a part of a searched answer is cut out of the whole, masked where the whole would be', async () => {
  await using made = await files()
  const { up, ask } = made
  for (const [range, first, end] of [
    ['bytes=0-9', 0, 10],
    [`bytes=${at - 5}-${at + 5}`, at - 5, at + 6],
    [`bytes=${at + 3}-${at + 8}`, at + 3, at + 9],
    [`bytes=${at + 20}-`, at + 20, whole.length],
    [`bytes=-${whole.length - at - 7}`, at + 7, whole.length],
    ['bytes=319990-999999', 319_990, whole.length],
    ['bytes=-999999', 0, whole.length],
  ] as const) {
    const { status, head, body } = await ask([`Range: ${range}`])
    expect(status).toBe(206)
    expect(body).toBe(shown.slice(first, end))
    expect(head).toContain(`Content-Range: bytes ${first}-${end - 1}/${whole.length}\r\n`)
    expect(head).toMatch(new RegExp(`content-length: ${end - first}\\r`, 'i'))
    expect(head).not.toMatch(/of-the-whole|checksum/)
  }
  expect(JSON.stringify(up.seen)).not.toMatch(/"range"/i)
})

test('several parts, one that is not there, or one of another version are the whole', async () => {
  await using made = await files()
  const { ask } = made
  for (const fields of [
    ['Range: bytes=0-1,4-5'],
    ['Range: bytes=5-4'],
    ['Range: bytes=-'],
    ['Range: bytes=-0'],
    [`Range: bytes=${whole.length}-`],
    ['Range: lines=0-1'],
    ['Range: bytes=0-1', 'Range: bytes=2-3'],
    ['Range: bytes=0-1', 'If-Range: "v0"'],
    ['Range: bytes=0-1', 'If-Range: W/"v1"'],
    ['Range: bytes=0-1', 'If-Range: Mon, 30 Nov 2026 12:00:00 GMT'],
  ])
    expect(await ask(fields)).toMatchObject({ status: 200, body: shown })
  expect(await ask(['Range: bytes=0-1', 'If-Range: "v1"'])).toMatchObject({ status: 206, body: '00' })
})

test('Azure’s own name for a part is one, and beside it Range says nothing', async () => {
  await using made = await files()
  const { up, ask } = made
  for (const fields of [
    [`x-ms-range: bytes=${at - 5}-${at + 5}`],
    [`X-MS-Range: bytes=${at - 5}-${at + 5}`, 'Range: bytes=0-1', 'x-ms-range-get-content-md5: true'],
    [`x-ms-range: bytes=${at - 5}-${at + 5}`, 'x-ms-range-get-content-crc64: true'],
  ]) {
    const { status, head, body } = await ask(fields)
    expect({ status, body }).toEqual({ status: 206, body: shown.slice(at - 5, at + 6) })
    expect(head).toContain(`Content-Range: bytes ${at - 5}-${at + 5}/${whole.length}\r\n`)
    expect(head).not.toMatch(/of-the-whole|checksum/)
  }
  expect(await ask(['x-ms-range: bytes=0-1', 'x-ms-range: bytes=2-3', 'Range: bytes=0-1'])).toMatchObject({
    status: 200,
    body: shown,
  })
  // As all its clients load a file first, however short; of an empty one it says that there is no part.
  const empty = await ask(['x-ms-range: bytes=0-33554431'], '/empty')
  expect(empty).toMatchObject({ status: 416, body: '' })
  expect(empty.head).toMatch(/Content-Range: bytes \*\/0\r\n[^]*content-length: 0\b/i)
  expect(await ask(['Range: bytes=0-9'], '/empty')).toMatchObject({ status: 200, body: '' })
  expect(JSON.stringify(up.seen)).not.toMatch(/"(?:x-ms-)?range[^"]*"/i)
})

test('behind a part nothing is waited for, and the upstream is let go', async () => {
  await using made = await files()
  const { world, ask } = made
  const { status, body } = await ask(['Range: bytes=100-200000'], '/endless')
  expect({ status, body }).toEqual({ status: 206, body: shown.slice(100, 200_001) })
  expect(await world.outcome()).toMatchObject({ status: 200, bytesIn: 199_901, failure: null })
})

test('a part that nobody asked for is refused, with the word that to ask again is of no use', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) =>
    res.writeHead(206, { 'content-range': 'bytes 0-1/9' }).end('00'),
  )
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const answer = await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))
  expect(answer).toMatch(/^HTTP\/1\.1 502 answer_partial: [^]*\r\nx-should-retry: false\r\n/)
})

test('by HTTP/2 a part is a part, too', async () => {
  await using made = await files()
  const { world, up } = made
  const secured = await world.tunnel(host, up.port, { protocols: ['h2'] })
  const session = connect(`https://${host}:${up.port}`, { createConnection: () => secured })
  const stream = session.request({ ':path': '/endless', range: `bytes=${at + 1}-${at + 60}` })
  const [head] = (await once(stream, 'response')) as [Record<string, unknown>]
  expect(head).toMatchObject({ ':status': 206, 'content-length': '60' })
  let body = ''
  for await (const piece of stream) body += String(piece)
  expect(body).toBe(shown.slice(at + 1, at + 61))
  session.close()
})

test('a part is the same however the whole came', () => {
  const pieces = fc.array(
    fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)),
    { maxLength: 9 },
  )
  fc.assert(
    fc.property(pieces, fc.nat(20), fc.nat(20), (all, first, more) => {
      const text = Buffer.concat(all)
      const cutter = new PartCutter({ first, last: first + more, of: text.length })
      const part = Buffer.concat(all.map((piece) => cutter.take(piece)))
      expect(part).toEqual(text.subarray(first, first + more + 1))
      expect(cutter.isWhole).toBe(text.length > first + more)
    }),
  )
})
