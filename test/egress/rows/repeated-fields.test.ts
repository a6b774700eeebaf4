import { constants } from 'node:http2'
import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead } from '../../support/egress-world.ts'
import { answered, ask, http2Client, pseudoHeaders, startHttp2Upstream } from '../../support/http2.ts'

const host = 'orders.example.com'

const good = (port: number) => Object.fromEntries(pseudoHeaders(host, port))

/** Every field that Node knows, but what frames a message or belongs to one hop. */
const knownFields = Object.entries(constants)
  .filter(([key]) => key.startsWith('HTTP2_HEADER_'))
  .map(([, name]) => String(name))
  .filter(
    (name) =>
      !/^(?::|proxy-|connection$|keep-alive$|transfer-encoding$|upgrade$|http2-settings$|te$|host$|content-length$|content-encoding$|trailer$|expect$|alt-svc$)/.test(
        name,
      ),
  )

test('row 23: every field of an answer may come twice, its trailers too, and reaches a client of either version', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => {
    res.writeHead(200, [
      ...knownFields.flatMap((name) => [name, '1', name, '2']),
      'transfer-encoding',
      'chunked',
    ])
    res.write('body')
    res.addTrailers([
      ['ETag', '"a"'],
      ['ETag', '"b"'],
      ['X-Many', '1'],
      ['X-Many', '2'],
    ])
    res.end()
  })
  await world.setRules([rule(host, up.port)])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const got = await ask(client, good(up.port))
  expect(got).toMatchObject({ status: 200, body: 'body', code: 0 })
  expect(got.trailers).toMatchObject({ etag: '"a", "b"', 'x-many': '1, 2' })
  expect(got.headers).toMatchObject({ 'x-content-type-options': '1, 2', 'set-cookie': ['1', '2'] })
  const answer = await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))
  expect(answer).toMatch(/ETag: "a"\r\nETag: "b"\r\n/)
  client.destroy()
})

test('row 23: every field of a request may come twice, its trailers too, and reaches an upstream of HTTP/2', async () => {
  await using world = await makeWorld()
  const trailers: unknown[] = []
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.resume()
    stream.on('trailers', (got) => trailers.push(got))
    stream.on('end', () => {
      stream.respond({ ':status': 200 })
      stream.end('ok')
    })
  })
  await world.setRules([rule(host, up.port)])
  const twice = knownFields.filter((name) => name !== 'range' && name !== 'cookie')
  const late = '0\r\nETag: "a"\r\nETag: "b"\r\n\r\n'
  const lines = twice.flatMap((name) => [`${name}: 1`, `${name}: 2`])
  const head = request(host, up.port, '/', [...lines, 'Transfer-Encoding: chunked'], 'POST')
  expect(await sayAndRead(await world.tunnel(host, up.port), head + late)).toContain('200 OK')
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const trailing: Record<string, string[]> = { etag: ['"a"', '"b"'] }
  // In two requests: Node takes 128 fields and no more.
  for (const names of [twice.slice(0, 40), ['user-agent', 'accept', ...twice.slice(40)]]) {
    const fields: Record<string, string | string[]> = {
      ...good(up.port),
      ':method': 'POST',
    }
    for (const name of names) fields[name] = ['1', '2']
    const stream = client.request(fields, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(trailing))
    stream.end('x')
    expect(await answered(stream)).toMatchObject({ status: 200, body: 'ok', code: 0 })
  }
  expect(trailers).toMatchObject(Array(3).fill({ etag: '"a", "b"' }))
  for (const seen of [up.seen[0], up.seen[2]])
    expect(seen).toMatchObject({ 'user-agent': '1, 2', accept: '1, 2' })
  client.destroy()
})
