import type { TLSSocket } from 'node:tls'
import { createGzip, gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { sourceSpec } from '../../../src/catalog/index.ts'
import { armed, deniedAs, host, listenTo } from '../../support/armed.ts'
import { makeWorld, request, rule, theSecret } from '../../support/egress-world.ts'

/** Answers and requests that are made to cost: each costs bounded time and memory. Client, proxy and upstream share this process. */
const mebibyte = 1024 * 1024

/** Reads until the other end closes, or `bytes` have come; keeps only the beginning. */
async function drain(
  socket: TLSSocket,
  bytes = Infinity,
): Promise<{ bytes: number; begin: string; peak: number }> {
  let got = 0
  let begin = ''
  let peak = 0
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      if (begin.length < 1_000) begin += chunk.toString('latin1').slice(0, 1_000)
      got += chunk.length
      peak = Math.max(peak, process.memoryUsage().rss)
      if (got >= bytes) resolve()
    })
    socket.once('close', () => resolve())
  })
  return { bytes: got, begin, peak }
}

test('row 40: a decompression bomb is refused or let through as it comes, never gathered', async () => {
  await using world = await makeWorld()
  const bomb = gzipSync(Buffer.alloc(300 * mebibyte))
  expect(bomb.length).toBeLessThan(mebibyte)
  const { up } = await armed(world, (_req, res) => res.setHeader('content-encoding', 'gzip').end(bomb))
  const before = process.memoryUsage().rss
  const socket = await world.tunnel(host, up.port)
  socket.write(request(host, up.port, '/', ['Accept-Encoding: gzip', 'Connection: close']))
  const { begin, peak, bytes } = await drain(socket)
  // It is cut off where it has grown two hundredfold.
  expect(begin).toContain('200 OK')
  expect(bytes).toBeLessThan(100 * mebibyte)
  expect(peak - before).toBeLessThan(150 * mebibyte)
})

test('row 40: of one person four answers are decoded at a time, and the next is told to come again', async () => {
  await using world = await makeWorld()
  const open: (() => void)[] = []
  const { up, say } = await armed(world, (req, res) => {
    res.setHeader('content-encoding', 'gzip')
    const zip = createGzip()
    zip.pipe(res)
    zip.write(`${req.url} `)
    zip.flush()
    open.push(() => zip.end())
    if (req.url === '/short') zip.end()
  })
  const sockets = await Promise.all(
    ['/a', '/b', '/c', '/d'].map(async (path) => {
      const socket = await world.tunnel(host, up.port)
      const heard = listenTo(socket)
      socket.write(request(host, up.port, path))
      await expect.poll(() => heard.text).toContain(`${path} `)
      return socket
    }),
  )
  expect(deniedAs(await say('/short'))).toBe('proxy_overloaded')
  open[0]?.()
  await expect.poll(async () => await say('/short')).toContain('/short ')
  for (const socket of sockets) socket.destroy()
  for (const end of open) end()
})

test('row 40: one event of a hundred megabytes on one line passes as it comes', async () => {
  await using world = await makeWorld()
  const piece = Buffer.alloc(mebibyte, 'a')
  const { up } = await armed(world, (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    let left = 100
    const more = () => {
      while (left > 0) {
        left -= 1
        if (!res.write(piece)) return void res.once('drain', more)
      }
      res.end('\\n\\n')
    }
    res.write('data: ')
    more()
  })
  const before = process.memoryUsage().rss
  const socket = await world.tunnel(host, up.port)
  socket.write(request(host, up.port, '/', ['Connection: close']))
  const { bytes, peak } = await drain(socket)
  expect(bytes).toBeGreaterThan(100 * mebibyte)
  expect(peak - before).toBeLessThan(150 * mebibyte)
})

test('row 40: a million secrets, and a million beginnings of one, are searched in time that grows with the body alone', async () => {
  await using world = await makeWorld()
  const bodies: Record<string, Buffer> = {
    '/near': Buffer.from(theSecret.slice(0, 20).repeat(1_000_000)),
    '/whole': Buffer.from(theSecret.repeat(1_000_000)),
  }
  const { up } = await armed(world, (req, res) => res.end(bodies[req.url ?? '']))
  for (const [path, body] of Object.entries(bodies)) {
    const socket = await world.tunnel(host, up.port)
    const started = performance.now()
    socket.write(request(host, up.port, path, ['Connection: close']))
    const { bytes, begin } = await drain(socket)
    expect(bytes).toBeGreaterThan(body.length)
    expect(begin.includes(theSecret)).toBe(false)
    // Some twenty spellings at hundreds of megabytes a second each; ten times that for a busy machine.
    expect(performance.now() - started).toBeLessThan(15_000)
  }
})

test('row 40: ten thousand headers, or one of a megabyte, are refused as they come', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  for (const headers of [
    Array.from({ length: 10_000 }, (_, index) => `X-${index}: y`),
    [`X: ${'y'.repeat(mebibyte)}`],
  ]) {
    const answer = await say('/', headers)
    expect(['parse_error', '']).toContain(deniedAs(answer))
    expect(answer).not.toContain('200 OK')
  }
  expect(up.seen).toEqual([])
})

test('row 40: rules hold no pattern that could be made to run for ever: a path is a prefix, letter by letter', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'), { paths: ['/(a+)+$'] })
  const parsed = sourceSpec.safeParse({
    kind: 'stdio',
    command: 'x',
    egress: [rule(host, 443, { paths: ['/(a+)+$'] })],
  })
  expect(parsed.success).toBe(true)
  const started = performance.now()
  expect(deniedAs(await say(`/${'a'.repeat(10_000)}!`))).toBe('path_not_allowed')
  expect(performance.now() - started).toBeLessThan(2_000)
  expect(await say('/(a+)+$')).toContain('200 OK')
  expect(up.seen).toHaveLength(1)
})
