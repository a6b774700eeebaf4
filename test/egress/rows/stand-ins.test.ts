import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { placeholderFor } from '../../../src/vault/index.ts'
import { makeWorld, request, rule, sayAndRead, theSecret } from '../../support/egress-world.ts'
import { answered, http2Client, pseudoHeaders } from '../../support/http2.ts'
import { apiHost, clientCredentials, type MintWorld, makeMintWorld } from '../../support/minting.ts'

/** The stand-in that a program gets instead of a minted token: worth something in the header of its rule, and nowhere else. */
const standIn = 'toolcrib-placeholder-for-API_TOKEN'

async function minted(rules: Record<string, unknown>[] = []): Promise<MintWorld> {
  const minting = await makeMintWorld()
  await minting.mint(clientCredentials, rules)
  return minting
}

/** What of the tokens that were issued arrived anywhere but in the one header. */
function misplaced({ api, server }: MintWorld): string[] {
  return api.seen.flatMap(({ url, body, rawHeaders }) => {
    const headers = rawHeaders.filter(
      (value, index) => rawHeaders[index - 1]?.toLowerCase() !== 'authorization' || index % 2 === 0,
    )
    const text = [url, body, ...headers].join('\n')
    return server.issued.filter((token) => text.includes(token))
  })
}

test('row 1: a stand-in sent to another allowed host stays what it is', async () => {
  await using minting = await makeMintWorld()
  const other = await minting.world.upstream((req, res) => res.end(`you sent ${req.headers.authorization}`))
  await minting.mint(clientCredentials, [rule('other.example.com', other.port)])
  const ask = async (extra: string[]) =>
    await sayAndRead(
      await minting.world.tunnel('other.example.com', other.port),
      request('other.example.com', other.port, '/', extra),
    )
  expect(await minting.ask()).toContain('200 OK')
  expect(await ask([`Authorization: Bearer ${standIn}`, `X-Key: ${standIn}`])).toContain(
    `you sent Bearer ${standIn}`,
  )
  expect(JSON.stringify(other.seen)).not.toContain(minting.server.issued[0])
  const [, event] = await minting.world.events('egress.allowed', 2)
  expect(event?.data).toMatchObject({ host: 'other.example.com', credentials: [] })
})

test('row 3: a stand-in in any other place of its own host’s request is not replaced', async () => {
  await using minting = await minted()
  const headers = [
    'User-Agent',
    'X-Forwarded-For',
    'Referer',
    'X-Copy',
    'Forwarded',
    'X-Request-Id',
    'Cookie',
  ]
  for (const name of headers)
    expect(await minting.ask({ headers: [`${name}: ${standIn}`] })).toContain('200 OK')
  expect(await minting.ask({ path: `/${standIn}?q=${standIn}` })).toContain('200 OK')
  expect(await minting.ask({ method: 'POST', body: `key=${standIn}` })).toContain('200 OK')
  expect(minting.api.seen).toHaveLength(headers.length + 2)
  expect(misplaced(minting)).toEqual([])
  expect(minting.bearers()).toHaveLength(headers.length + 2)
})

test('row 4: of two copies in one request no second one becomes a token', async () => {
  await using minting = await minted()
  const twice = [
    `Authorization: Bearer ${standIn}`,
    `Authorization: Bearer ${standIn}`,
    `X-Copy: Bearer ${standIn}`,
  ]
  await minting.ask({ headers: twice, method: 'POST', body: standIn, path: `/?a=${standIn}&b=${standIn}` })
  expect(misplaced(minting)).toEqual([])
  expect(minting.bearers()).toEqual([standIn, ...minting.server.issued])
})

test('row 5: no encoding of a stand-in is replaced where it is not declared, and none by half', async () => {
  await using minting = await minted()
  const escaped = Array.from(standIn, (char) => `\\u00${char.charCodeAt(0).toString(16)}`).join('')
  const bodies = [
    escaped,
    Buffer.from(standIn).toString('base64'),
    encodeURIComponent(standIn).replaceAll('-', '%2D'),
    standIn.slice(0, 20),
  ]
  for (const body of bodies) expect(await minting.ask({ method: 'POST', body })).toContain('200 OK')
  expect(minting.api.seen.map((seen) => seen.body)).toEqual(bodies)
  const packed = gzipSync(standIn).toString('latin1')
  const { world, api } = minting
  const socket = await world.tunnel(apiHost, api.port)
  const gzip = `POST / HTTP/1.1\r\nHost: ${apiHost}:${api.port}\r\nContent-Encoding: gzip\r\nContent-Length: ${packed.length}\r\n\r\n${packed}`
  expect(await sayAndRead(socket, gzip)).toContain('200 OK')
  expect(api.seen.at(-1)?.body).toBe(packed)
  const chunks = Array.from(standIn, (char) => `1\r\n${char}\r\n`).join('')
  const chunked = `POST / HTTP/1.1\r\nHost: ${apiHost}:${api.port}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`
  expect(await sayAndRead(socket, chunked)).toContain('200 OK')
  expect(api.seen.at(-1)?.body).toBe(standIn)
  expect(misplaced(minting)).toEqual([])
})

test('row 5: over DATA frames of one byte each a placeholder is replaced whole in its slot, and nowhere else', async () => {
  await using world = await makeWorld()
  const host = 'orders.example.com'
  const up = await world.upstream((req, res) => {
    req.resume()
    req.on('end', () => res.end('ok'))
  })
  const inject = [{ credential: 'ORDERS_KEY', into: 'body:/key', placeholder: true }]
  await world.setRules([
    rule(host, up.port, { paths: ['/slot'], inject }),
    rule(host, up.port, { paths: ['/open'] }),
  ])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const body = JSON.stringify({ key: placeholderFor('ORDERS_KEY', world.principalId, 'toolcrib-') })
  for (const path of ['/slot', '/open']) {
    const fields = Object.fromEntries(pseudoHeaders(host, up.port, 'POST', path))
    const stream = client.request({ ...fields, 'content-type': 'application/json' }, { endStream: false })
    for (const char of body) await new Promise((resolve) => stream.write(char, resolve))
    stream.end()
    expect(await answered(stream)).toMatchObject({ status: 200, body: 'ok' })
  }
  client.destroy()
  expect(up.seen.map((seen) => seen.body)).toEqual([JSON.stringify({ key: theSecret }), body])
  const events = await world.events('egress.allowed', 2)
  expect(events.map(({ data }) => data['credentials'])).toEqual([
    [{ credential: 'ORDERS_KEY', slot: 'body:/key' }],
    [],
  ])
  await expect.poll(async () => (await world.outcome())['inert']).toEqual(['ORDERS_KEY'])
})

test('row 6: a transcript that quotes the stand-in goes through as it is, beside the real token', async () => {
  await using minting = await minted()
  const body = JSON.stringify({ messages: [`my key is ${standIn}, it begins with toolcrib-`] })
  const answer = await minting.ask({ method: 'POST', body, headers: [`Authorization: Bearer ${standIn}`] })
  expect(answer).toContain('200 OK')
  expect(minting.api.seen[0]?.body).toBe(body)
  expect(minting.bearers()).toEqual(minting.server.issued)
})
