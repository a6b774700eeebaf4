import { expect, test } from 'vitest'
import { armed, deniedAs, host } from '../../support/armed.ts'
import { makeWorld, request, rule, sayAndRead } from '../../support/egress-world.ts'

/** Configurations that are empty, wrong, or change under way. */

test('row 42: a source whose configuration does not parse reaches nothing', async () => {
  await using world = await makeWorld()
  await world.setRules([{ ...rule(host, 8443), surprise: true }])
  await expect(world.tunnel(host, 8443)).rejects.toThrow('host_not_allowed')
  await world.setRules([{ ...rule(host, 8443), host: '*.example.com' }])
  await expect(world.tunnel(host, 8443)).rejects.toThrow('host_not_allowed')
})

test('row 42: no rules, or no source at all, is no way out', async () => {
  await using world = await makeWorld()
  await expect(world.tunnel(host, 443)).rejects.toThrow('host_not_allowed')
  await world.store.db.updateTable('sources').set({ enabled: false }).execute()
  await new Promise((resolve) => setTimeout(resolve, 600))
  await expect(world.tunnel(host, 443)).rejects.toThrow(/lease_invalid|host_not_allowed/)
  expect(world.dialled).toEqual([])
})

test('row 42: a request under way keeps the rules that it was judged by, or ends; the next is judged by the new ones', async () => {
  await using world = await makeWorld()
  let answerFirst: () => void = () => undefined
  const { up } = await armed(world, (req, res) => {
    if (req.url === '/slow') answerFirst = () => void res.end('late')
    else res.end('ok')
  })
  const slow = await world.tunnel(host, up.port)
  const other = await world.tunnel(host, up.port)
  const first = sayAndRead(slow, request(host, up.port, '/slow'))
  await expect.poll(() => up.seen.length).toBe(1)
  // Still allowed by the new rules, which add nothing that this request could gain.
  await world.setRules([rule(host, up.port, { paths: ['/slow', '/new'] })])
  expect(deniedAs(await sayAndRead(other, request(host, up.port, '/old')))).toBe('path_not_allowed')
  answerFirst()
  expect(await first).toContain('late')
  expect(up.seen.map((seen) => seen.url)).toEqual(['/slow'])
})

test('row 42: while the rules or the leases cannot be read nothing goes out, and a half-read change opens nothing', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  expect(await say('/')).toContain('200 OK')
  await world.store.pool.query('ALTER TABLE sources RENAME TO sources_away')
  await world.store.db
    .updateTable('catalog_state')
    .set((eb) => ({ version: eb('version', '+', 1) }))
    .execute()
  await new Promise((resolve) => setTimeout(resolve, 700))
  const refused = await say('/').catch((error: unknown) => String(error))
  expect(refused).toMatch(/leases_unavailable|503|407/)
  expect(up.seen).toHaveLength(1)
  await world.store.pool.query('ALTER TABLE sources_away RENAME TO sources')
  await expect.poll(() => say('/').catch(() => ''), { timeout: 5_000 }).toContain('200 OK')
})
