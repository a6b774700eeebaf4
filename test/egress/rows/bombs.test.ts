import type { RequestListener } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { brotliCompressSync, createGzip, gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { type EgressRule, sourceSpec } from '../../../src/catalog/index.ts'
import { placeholderFor } from '../../../src/vault/index.ts'
import { armed, deniedAs, host, listenTo } from '../../support/armed.ts'
import {
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../../support/egress-world.ts'
import { makeRawWorld } from '../../support/raw-upstream.ts'

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

test('row 40: a decompression bomb is let through as it comes, and never gathered', async () => {
  await using world = await makeWorld()
  const bomb = gzipSync(Buffer.alloc(300 * mebibyte))
  expect(bomb.length).toBeLessThan(mebibyte)
  const { up } = await armed(world, (_req, res) => res.setHeader('content-encoding', 'gzip').end(bomb))
  const before = process.memoryUsage().rss
  const socket = await world.tunnel(host, up.port)
  socket.write(request(host, up.port, '/', ['Accept-Encoding: gzip', 'Connection: close']))
  const { begin, peak, bytes } = await drain(socket)
  expect(begin).toContain('200 OK')
  expect(bytes).toBeGreaterThan(300 * mebibyte)
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
  const fifth = await say('/short')
  expect(fifth).toMatch(/^HTTP\/1\.1 429 /)
  expect(deniedAs(fifth)).toBe('too_many_requests')
  expect(fifth).toContain('"rule":"limit"')
  open[0]?.()
  await expect.poll(async () => await say('/short')).toContain('/short ')
  for (const socket of sockets) socket.destroy()
  for (const end of open) end()
})

test('row 40: an upstream that goes on behind the end of a compressed answer is closed, and is not read for nobody', async () => {
  await using raw = await makeRawWorld()
  const { world } = raw
  let open = 0
  const body = Buffer.concat([brotliCompressSync('one'), Buffer.from('tail')])
  await using up = await raw.start((socket) => {
    open += 1
    socket.write('HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n')
    socket.write(Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n')]))
    const more = setInterval(() => socket.write(`1000\r\n${'x'.repeat(4_096)}\r\n`), 5)
    socket.once('close', () => {
      clearInterval(more)
      open -= 1
    })
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port)
  const heard = listenTo(socket)
  socket.write(request(host, up.port, '/'))
  expect(await world.outcome()).toMatchObject({ status: 200, failure: 'upstream_failed' })
  await expect.poll(() => [open, heard.closed]).toEqual([0, true])
  expect(heard.text).not.toContain('tail')
})

test('row 40: a hundred thousand chunks of one byte are searched and passed on as few', async () => {
  await using raw = await makeRawWorld()
  const { world } = raw
  const chunks = '1\r\nz\r\n'.repeat(100_000)
  await using up = await raw.start((socket) =>
    socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`),
  )
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port)
  const heard = listenTo(socket)
  socket.write(request(host, up.port, '/', ['Connection: close']))
  await expect.poll(() => heard.closed, { timeout: 15_000 }).toBe(true)
  const passed = heard.text.slice(heard.text.indexOf('\r\n\r\n') + 4).match(/^[0-9a-f]+\r$/gm)
  const sizes = (passed ?? []).map((size) => Number.parseInt(size, 16))
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(100_000)
  // One for each piece that was read, and a record of TLS has room for 2,730 of them.
  expect(sizes.length).toBeLessThan(1_000)
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
    // Forty megabytes at 100 ns a byte, at most three quarters of the time, and ten times that for a busy machine. To
    // look again from the start at each copy takes hours.
    expect(performance.now() - started).toBeLessThan(60_000)
  }
}, 150_000)

/** Milliseconds that one request takes from its first byte to its answer, which is given back. */
async function timed(world: World, port: number, text: string): Promise<{ ms: number; answer: string }> {
  const socket = await world.tunnel(host, port)
  const started = performance.now()
  const answer = await sayAndRead(socket, text, 30_000)
  socket.destroy()
  return { ms: performance.now() - started, answer }
}

const tellsLength: RequestListener = (req, res) => {
  let bytes = 0
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  req.on('end', () => res.end(`took ${bytes}`))
}

/** What ten times the time of a plain body and a busy machine come to; looking again from the start at each copy takes minutes. */
const bounded = (plainMs: number) => 10 * plainMs + 3_000

test('row 40: a million placeholders in a body that streams, and a million that nearly are, take the time of a plain one', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, tellsLength, {
    inject: [{ credential: 'ORDERS_KEY', into: 'header:x-key', format: '{value}', placeholder: true }],
  } as Partial<EgressRule>)
  const mine = placeholderFor('ORDERS_KEY', world.principalId, 'toolcrib-')
  const upload = async (unit: string) => {
    const body = unit.repeat(1_000_000)
    const asked = await timed(world, up.port, request(host, up.port, '/', [], 'POST', body))
    expect(asked.answer).toContain(`took ${body.length}`)
    return { ...asked, inert: (await world.outcome())['inert'] }
  }
  const plain = await upload('x'.repeat(mine.length))
  expect(plain.inert).toBeUndefined()
  const whole = await upload(mine)
  expect(whole.inert).toEqual(['ORDERS_KEY'])
  const near = await upload(mine.slice(0, -1))
  expect(near.inert).toBeUndefined()
  for (const { ms } of [whole, near]) expect(ms).toBeLessThan(bounded(plain.ms))
})

test.each(['json', 'form'] as const)(
  'row 40: as many placeholders, pieces and broken escapes as a body with a slot may hold take the time of a plain one or are refused: %s',
  async (kind) => {
    await using world = await makeWorld()
    const { up } = await armed(world, tellsLength, {
      inject: [{ credential: 'ORDERS_KEY', into: 'body:/key', format: '{value}', placeholder: true }],
    } as Partial<EgressRule>)
    const mine = placeholderFor('ORDERS_KEY', world.principalId, 'toolcrib-')
    const type = kind === 'json' ? 'application/json' : 'application/x-www-form-urlencoded'
    const ask = async (text: string) =>
      await timed(world, up.port, request(host, up.port, '/', [`Content-Type: ${type}`], 'POST', text))
    const filled = (unit: string, before: string, after = '') =>
      before + unit.repeat((mebibyte - before.length - after.length - 1) / unit.length) + after
    const json = (unit: string) => filled(`${unit},`, `{"key":"${mine}","x":[`, '0]}')
    const form = (unit: string) => filled(unit, `key=${mine}&`)
    // Of as many fields as a form may have.
    const long = (unit: string) => form(`x=${unit.repeat(3)}&`)
    const members = (count: number) =>
      Array.from({ length: count }, (_, index) => `"_${index.toString(36)}":0`).join()
    const bodies: Record<string, string> =
      kind === 'json'
        ? {
            many: json(`"${mine}"`),
            one: filled(mine, `{"key":"${mine}","x":"`, '"}'),
            near: filled(mine.slice(0, -1), `{"key":"${mine}","x":"`, '"}'),
            empty: json('""'),
            values: json('0'),
            objects: json('{}'),
            filled: json('{"":0}'),
            members: `{"key":"${mine}",${members(49_000)}}`,
            more: `{"key":"${mine}",${members(80_000)}}`,
            line: filled('\\n', `{"key":"${mine}","x":"`, '"}'),
            deep: json('['.repeat(90) + ']'.repeat(90)),
            escaped: json(`"\\u0074${mine.slice(1)}"`),
          }
        : {
            many: long(mine),
            slots: form(`key=${mine}${'x'.repeat(60)}&`),
            near: long(mine.slice(0, -1)),
            escaped: long(`%${mine.charCodeAt(0).toString(16)}${mine.slice(1)}`),
            escapes: form('%61+'),
            brackets: form('['),
            empty: form('&'),
            parts: form(';'),
            names: form('key&'),
            broken: form('%&'),
            notUtf8: form('%ff&'),
          }
    const plain = await ask(kind === 'json' ? filled('x', `{"key":"${mine}","x":"`, '"}') : form('x'))
    expect(plain.answer).toContain('200 OK')
    const refused: Record<string, string> = {
      many: 'placeholder_repeated',
      one: 'placeholder_repeated',
      escaped: 'placeholder_repeated',
      slots: 'placeholder_missing',
      empty: 'body_too_large',
      values: 'body_too_large',
      objects: 'body_too_large',
      filled: 'body_too_large',
      more: 'body_too_large',
      deep: 'body_too_large',
      parts: 'body_too_large',
      names: 'body_too_large',
      broken: 'body_too_large',
      notUtf8: 'body_too_large',
    }
    for (const [name, text] of Object.entries(bodies)) {
      const { ms, answer } = await ask(text)
      expect([name, deniedAs(answer)]).toEqual([name, refused[name] ?? ''])
      expect([name, ms < bounded(plain.ms), Math.round(ms)]).toEqual([name, true, Math.round(ms)])
    }
  },
)

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
