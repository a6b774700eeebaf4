import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Secret } from '../../../src/core/index.ts'
import { host, listenTo } from '../../support/armed.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead, type World } from '../../support/egress-world.ts'
import { apiHost, authHost, makeMintWorld, refreshGrant } from '../../support/minting.ts'
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
  const token = {
    ...refreshGrant,
    token_url: `https://${authHost}:${minting.auth.port}/oauth/token`,
    address: '127.0.0.1',
    client_id: server.clientId,
    client_secret: 'CLIENT_SECRET',
  }
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
