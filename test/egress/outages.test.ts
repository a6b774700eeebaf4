import { expect, test } from 'vitest'
import {
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  type World,
} from '../support/egress-world.ts'
import { until } from '../support/until.ts'

const host = 'orders.example.com'

/** Lines of the log that tell of an error. */
const told = (world: World) =>
  world
    .logged()
    .split('\n')
    .filter((line) => line.includes('"err":{'))

/** A database that cannot be asked for one of its tables, until it is disposed of. */
async function without(world: World, table: string): Promise<AsyncDisposable> {
  await world.store.pool.query(`ALTER TABLE ${table} RENAME TO away`)
  return {
    [Symbol.asyncDispose]: async () => {
      await world.store.pool.query(`ALTER TABLE away RENAME TO ${table}`)
    },
  }
}

test('a database that is away is one story in the log, not a line for every request of a sandbox', async () => {
  await using world = await makeWorld()
  await world.setRules([rule(host, 443)])
  {
    await using _away = await without(world, 'leases')
    for (let i = 0; i < 40; i++) {
      const asked = connectRequest(host, 443, 'orders', `${world.lease}${i}`)
      expect(await sayAndRead(await world.connect(), asked)).toMatch(/^HTTP\/1\.1 503 /)
    }
    expect(told(world).filter((line) => line.includes('leases cannot be checked'))).toHaveLength(1)
    expect(told(world)).toHaveLength(1)
  }
  const again = connectRequest(host, 443, 'orders', world.lease)
  expect(await sayAndRead(await world.connect(), again)).toMatch(/^HTTP\/1\.1 200 /)
  expect(world.logged()).toContain('leases can be checked again')
})

test('so is one that has no credentials to tell, to the requests of a tunnel', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const ask = async () => await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))
  {
    await using _away = await without(world, 'credentials')
    for (let i = 0; i < 20; i++) expect(await ask()).toContain('leases_unavailable')
    expect(told(world).filter((line) => line.includes('credentials cannot be read'))).toHaveLength(1)
    expect(told(world)).toHaveLength(1)
  }
  await until(async () => (await ask()).endsWith('ok'))
  expect(world.logged()).toContain('credentials can be read again')
})
