import { createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Secret } from '../../src/core/index.ts'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'
import { clientCredentials, makeMintWorld, refreshGrant } from '../support/minting.ts'

const host = 'orders.example.com'
const everybody = { scope: 'global', scopeId: '', by: 'test' } as const

/** A world whose upstreams are dialled for longer than a look is good, what `change` does being done meanwhile. */
async function slowDials() {
  const slow = { change: async (): Promise<unknown> => undefined }
  const world = await makeWorld({
    async dial(to) {
      const { change } = slow
      slow.change = async () => undefined
      await change()
      return await systemDial(to)
    },
  })
  const meanwhile = (change: () => Promise<unknown>) => {
    slow.change = async () => {
      await change()
      await sleep(800)
    }
  }
  return { world, meanwhile }
}

test('invariant 5: a credential that is removed while its upstream is dialled is not sent', async () => {
  const { world, meanwhile } = await slowDials()
  await using _world = world
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const tunnel = await world.tunnel(host, up.port)
  meanwhile(() => world.vault.removeCredential({ name: 'ORDERS_KEY', ...everybody }))
  const answer = await sayAndRead(tunnel, request(host, up.port, '/'))
  expect(answer).toMatch(/^HTTP\/1\.1 403 [^]*"reason":"credential_missing"[^]*set ORDERS_KEY/)
  expect(up.seen).toEqual([])
  expect(await world.outcome()).toMatchObject({ status: null, failure: 'credential_missing' })
})

test('what is sent, and signed by, is what is set by the time that its upstream has been dialled', async () => {
  const { world, meanwhile } = await slowDials()
  await using _world = world
  const set = async (name: string, value: string) =>
    await world.vault.setCredential({ name, value: new Secret(value), ...everybody })
  const up = await world.upstream((req, res) => res.end(`${req.headers.authorization} and one set before`))
  const sign = { kind: 'hmac', key: 'HOOK_KEY', message: '{body}', headers: { 'x-signature': '{signature}' } }
  await set('HOOK_KEY', 'one-set-before')
  await world.setRules([rule(host, up.port, { inject: injectBearer, sign })])
  const tunnel = await world.tunnel(host, up.port)
  meanwhile(async () => {
    await set('ORDERS_KEY', 'one-set-meanwhile')
    await set('HOOK_KEY', 'another-set-meanwhile')
  })
  const answer = await sayAndRead(tunnel, request(host, up.port, '/', [], 'POST', 'the body'))
  expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*\r\n\r\nBearer \*+ and/)
  const sent = up.seen[0]?.rawHeaders ?? []
  expect(sent).toContain('Bearer one-set-meanwhile')
  expect(sent).toContain(createHmac('sha256', 'another-set-meanwhile').update('the body').digest('hex'))
  expect(await world.events('egress.allowed')).toHaveLength(1)
  expect(await world.outcome()).toMatchObject({ status: 200, failure: null })
})

test('no token is asked for with what was replaced or removed while its endpoint was dialled', async () => {
  let change: (() => Promise<unknown>) | undefined
  await using minting = await makeMintWorld({
    async dial(to) {
      if (to.port === minting.auth.port && change !== undefined) {
        const now = change
        change = undefined
        await now()
        await sleep(800)
      }
      return await systemDial(to)
    },
  })
  const { world, server, ask } = minting
  await minting.mint(clientCredentials)
  change = async () => {
    server.clientSecret = 'a client secret that was set meanwhile'
    await minting.set('CLIENT_SECRET', server.clientSecret)
  }
  expect(await ask()).toContain('"reason":"mint_unavailable"')
  const [failed] = await world.events('credential.mint_failed')
  expect(failed?.data).toMatchObject({ reason: 'mint_unavailable', code: 'credential_changed' })
  expect(server.asked).toEqual([])
  expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
  expect(server.asked).toHaveLength(1)

  await minting.mint(refreshGrant)
  change = async () => await world.vault.removeCredential({ name: 'REFRESH_TOKEN', ...everybody })
  expect(await ask()).toContain('"reason":"mint_unavailable"')
  expect(await ask()).toContain('"reason":"credential_missing"')
  expect(server.asked).toHaveLength(1)
})
