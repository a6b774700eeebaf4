import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { Secret } from '../../../src/core/index.ts'
import { egressKeys, notify } from '../../../src/store/index.ts'
import { sealTo } from '../../../src/vault/index.ts'
import { host, listenTo, signWithSession } from '../../support/armed.ts'
import {
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../../support/egress-world.ts'
import {
  apiHost,
  authHost,
  clientCredentials,
  clientOf,
  makeMintWorld,
  refreshGrant,
} from '../../support/minting.ts'
import { until } from '../../support/until.ts'

/** What an upstream shows in an answer that began before the secret was sent, or issued. */

/** An upstream that shows at `/log` the `authorization` of every request as it comes. */
function showing(): { handle: Parameters<World['upstream']>[0]; readers: () => number } {
  const open = new Set<ServerResponse>()
  return {
    readers: () => open.size,
    handle: (req, res) => {
      if (req.url === '/log') {
        res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        open.add(res)
        res.on('close', () => open.delete(res))
        return
      }
      for (const each of open) each.write(`data: ${req.headers.authorization ?? 'nothing'}\n\n`)
      res.end('done')
    },
  }
}

async function reading(world: World, port: number, of = host, lease = world.lease) {
  const socket = await world.tunnel(of, port, { lease })
  const heard = listenTo(socket)
  socket.write(request(of, port, '/log'))
  await until(() => heard.text.includes('200 OK'))
  return heard
}

const events = (text: string) => text.match(/^data: /gm)?.length ?? 0

test('row 7: a stream that began before a token was minted does not show it, nor the next one', async () => {
  await using minting = await makeMintWorld()
  const { world, server } = minting
  const log = showing()
  const up = await world.upstream(log.handle)
  server.expiresIn = 1
  await minting.mint(refreshGrant, [])
  const inject = [{ credential: 'API_TOKEN', into: 'header:authorization', format: 'Bearer {value}' }]
  const token = { ...refreshGrant, ...clientOf(minting) }
  const rules = [
    rule(apiHost, up.port, { paths: ['/v1'], inject }),
    rule(apiHost, up.port, { paths: ['/log'] }),
  ]
  await world.setRules(rules, 'orders', { minted: { API_TOKEN: token } })
  const heard = await reading(world, up.port, apiHost)
  for (const count of [1, 2]) {
    expect(await minting.ask({ port: up.port, path: '/v1' })).toContain('done')
    await until(() => events(heard.text) === count)
    await sleep(1_100)
  }
  expect(server.issued.length).toBeGreaterThan(1)
  for (const issued of server.issued) expect(heard.text).not.toContain(issued.slice(0, 12))
  expect(heard.text).toMatch(/data: Bearer \*+/)
})

test('row 7: a stream that began before a credential was set anew shows neither, whoever sends it', async () => {
  await using world = await makeWorld()
  const log = showing()
  const up = await world.upstream(log.handle)
  await world.setRules([
    rule(host, up.port, { paths: ['/v1'], inject: injectBearer }),
    rule(host, up.port, { paths: ['/log'] }),
  ])
  const bob = await world.addLease({})
  const heard = await reading(world, up.port)
  const next = 'another-key-of-today-0001'
  await world.vault.setCredential({
    name: 'ORDERS_KEY',
    scope: 'global',
    scopeId: '',
    value: new Secret(next),
    by: 'test',
  })
  await sleep(200)
  const socket = await world.tunnel(host, up.port, { lease: bob.lease })
  expect(await sayAndRead(socket, request(host, up.port, '/v1'))).toContain('done')
  await until(() => events(heard.text) === 1)
  expect(heard.text).toMatch(/data: Bearer \*{25}/)
  expect(heard.text).not.toContain(next)
})

/** Two sources with a rule of their own for one host; the second one's lease. */
async function twoSources(world: World, port: number, second: Record<string, unknown>, more: object = {}) {
  const inject = [{ credential: 'ORDERS_KEY', into: 'header:x-key' }]
  await world.setRules([rule(apiHost, port, { inject })], 'orders')
  await world.setRules([rule(apiHost, port, second)], 'other', more)
  const { lease } = await world.addLease({ principalId: world.principalId, source: 'other' })
  return async () => {
    const socket = await world.tunnel(apiHost, port, { lease, source: 'other' })
    const answer = await sayAndRead(socket, request(apiHost, port, '/v1'))
    socket.destroy()
    expect(answer).toContain('200 OK')
  }
}

const set = async (world: World, name: string, value: string) =>
  await world.vault.setCredential({
    name,
    scope: 'global',
    scopeId: '',
    value: new Secret(value),
    by: 'test',
  })

test('row 7: a stream is searched for its own credential however often another one of its host is renewed', async () => {
  await using world = await makeWorld()
  let show: (text: string) => void = () => undefined
  const up = await world.upstream((req, res) => {
    if (req.url !== '/log') return void res.end('done')
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    show = (text) => void res.write(`data: ${text} end\n\n`)
  })
  await set(world, 'OTHER_KEY', 'other-key-of-0000')
  const ask = await twoSources(world, up.port, {
    inject: [{ credential: 'OTHER_KEY', into: 'header:x-key' }],
  })
  const heard = await reading(world, up.port, apiHost)
  for (let round = 1; round <= 30; round += 1) {
    await set(world, 'OTHER_KEY', `other-key-of-${String(round).padStart(4, '0')}`)
    // A request by the old value says so, or the notice has not come.
    await until(async () => {
      await ask()
      return up.seen.at(-1)?.rawHeaders.includes(`other-key-of-${String(round).padStart(4, '0')}`) ?? false
    })
  }
  show(theSecret)
  await until(() => events(heard.text) === 1)
  expect(heard.text).toMatch(/data: \*+ end/)
  show('other-key-of-0030')
  await until(() => events(heard.text) === 2)
  expect(heard.text).not.toContain('other-key')
})

test('row 7: where two sources serve a host, a credential of either that is set anew is masked in its stream', async () => {
  await using world = await makeWorld()
  const open: ServerResponse[] = []
  const up = await world.upstream((req, res) => {
    if (req.url !== '/log') return void res.end('done')
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    open.push(res)
  })
  await set(world, 'OTHER_KEY', 'other-key-of-0000')
  const ask = await twoSources(world, up.port, {
    inject: [{ credential: 'OTHER_KEY', into: 'header:x-key' }],
  })
  const heard = await reading(world, up.port, apiHost)
  await ask()
  await set(world, 'ORDERS_KEY', 'a-key-of-today-0001')
  // Whoever may show it has it from another person, or another proxy: nothing here asks for it.
  let count = 0
  await until(async () => {
    const before = events(heard.text)
    open[0]?.write('data: a-key-of-today-0001 end\n\n')
    count += 1
    await until(() => events(heard.text) > before)
    return heard.text.includes('data: ******************* end')
  })
  expect(count).toBeLessThan(500)
  open[0]?.write('data: a-key-of-today-0001 last\n\n')
  await until(() => heard.text.includes(' last'))
  expect(heard.text).toContain('data: ******************* last')
})

test('row 7: a token of everybody’s that a colleague’s request renews is masked in my stream from the first', async () => {
  await using minting = await makeMintWorld()
  const { world, server } = minting
  const log = showing()
  const up = await world.upstream(log.handle)
  server.expiresIn = 1
  const token = { ...clientCredentials, ...clientOf(minting) }
  const inject = [{ credential: 'API_TOKEN', into: 'header:authorization', format: 'Bearer {value}' }]
  await world.setRules([rule(apiHost, up.port, { inject })], 'orders', { minted: { API_TOKEN: token } })
  const bob = await world.addLease({})
  const heard = await reading(world, up.port, apiHost)
  for (const count of [1, 2]) {
    await sleep(1_100)
    expect(await minting.ask({ port: up.port, path: '/v1', lease: bob.lease })).toContain('done')
    await until(() => events(heard.text) === count)
  }
  expect(server.issued.length).toBeGreaterThan(1)
  expect(heard.text).toMatch(/data: Bearer \*+/)
  for (const issued of server.issued) expect(heard.text).not.toContain(issued.slice(0, 12))
})

/** A stream of the API in which the upstream shows what it is told to, until it comes masked. */
async function telling(world: World, armed: Record<string, unknown>, more: object = {}) {
  let stream: ServerResponse | undefined
  const up = await world.upstream((req, res) => {
    if (req.url !== '/log') return void res.end('done')
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    stream = res
  })
  await world.setRules([rule(apiHost, up.port, armed)], 'orders', more)
  const heard = await reading(world, up.port, apiHost)
  return {
    port: up.port,
    masked: async (secret: string) =>
      await until(async () => {
        const before = events(heard.text)
        stream?.write(`data: ${secret} end\n\n`)
        await until(() => events(heard.text) > before)
        await sleep(100)
        return heard.text.includes(`data: ${'*'.repeat(secret.length)} end`)
      }, 30_000),
  }
}

test('row 7: a token that another proxy mints is masked in a stream within seconds', async () => {
  await using minting = await makeMintWorld()
  const { world, server } = minting
  const inject = [{ credential: 'API_TOKEN', into: 'header:authorization', format: 'Bearer {value}' }]
  const token = { ...clientCredentials, ...clientOf(minting) }
  server.expiresIn = 2
  const stream = await telling(world, { inject }, { minted: { API_TOKEN: token } })
  server.expiresIn = 600
  const second = await world.replica()
  await until(async () => {
    expect(await minting.ask({ port: stream.port, path: '/v1', egress: second })).toContain('done')
    return server.issued.length > 1
  })
  await stream.masked(server.issued.at(-1) ?? '')
}, 60_000)

test('row 7: a session token that goes beside signatures and is set anew is masked in a stream, whoever sends it', async () => {
  await using world = await makeWorld()
  for (const name of ['AWS_ID', 'AWS_SECRET', 'AWS_SESSION']) await set(world, name, `${name}-of-yesterday`)
  const stream = await telling(world, { sign: signWithSession })
  await set(world, 'AWS_SESSION', 'AWS_SESSION-of-today')
  for (const day of ['today', 'yesterday'])
    await expect(stream.masked(`AWS_SESSION-of-${day}`)).resolves.toBeUndefined()
}, 60_000)

test('row 7: a look that fails for what was set anew is made again until it is seen', async () => {
  await using world = await makeWorld()
  const { db } = world.store
  const stream = await telling(world, { inject: [{ credential: 'ORDERS_KEY', into: 'header:x-key' }] })
  const next = 'a-key-of-today-0001'
  const [key] = await egressKeys(db)
  if (key === undefined) throw new Error('no key')
  const row = { keyId: key.id, name: 'ORDERS_KEY', scope: 'global', scopeId: '' }
  const sealed = await sealTo(key.publicKey, new Secret(next), row)
  await sql`ALTER TABLE credentials RENAME TO hidden`.execute(db)
  await sql`UPDATE hidden SET sealed = ${sealed}, key_id = ${key.id}`.execute(db)
  await notify(db, { kind: 'credential' })
  await until(() => world.logged().includes('answers under way could not be searched for what is new'))
  await sql`ALTER TABLE hidden RENAME TO credentials`.execute(db)
  await stream.masked(next)
  const over = 'answers under way are searched for what is new again'
  await until(() => world.logged().includes(over))
  expect(world.logged()).not.toContain(next)
}, 60_000)

test('row 7: the host of a token endpoint shows nobody what the proxy sent there', async () => {
  await using minting = await makeMintWorld()
  const { world, server } = minting
  let last = ''
  const auth = await world.upstream((req, res) => {
    if (req.url === '/log') return void res.end(last)
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      last = `${req.headers.authorization ?? ''} ${Buffer.concat(chunks).toString()}`
      res.setHeader('content-type', 'application/json')
      res.end(JSON.stringify({ access_token: 'an-issued-token-0001', token_type: 'Bearer', expires_in: 60 }))
    })
  })
  const url = `https://${authHost}:${auth.port}/oauth/token`
  const rules = [rule(authHost, auth.port, { methods: ['GET'], paths: ['/log'] })]
  await minting.mint({ ...refreshGrant, token_url: url, rotates: false }, rules)
  expect(await minting.ask()).toContain('you sent Bearer ****')
  const shown = await minting.ask({ host: authHost, port: auth.port, path: '/log' })
  expect(shown).toContain('grant_type=refresh_token')
  expect(shown).not.toContain(server.refreshToken)
  const pair = `${server.clientId}:${new URLSearchParams({ '': server.clientSecret }).toString().slice(1)}`
  expect(last).toContain(Buffer.from(pair).toString('base64'))
  const sent = Buffer.from(/Basic (\S+)/.exec(shown)?.[1] ?? '', 'base64').toString('latin1')
  expect(sent).not.toContain(server.clientSecret.slice(2, 12))
})
