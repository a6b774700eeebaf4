import { expect, test } from 'vitest'
import { createLookUps } from '../../src/egress/decision/look-ups.ts'
import { deniedAs } from '../support/armed.ts'
import { makeWorld, request, sayAndRead } from '../support/egress-world.ts'

const host = (index: number) => `host-${index}.example.com`

/** A world whose resolver fails with this code; `ask` is a request to one of its hosts. */
async function failing(code: string) {
  const world = await makeWorld({
    resolve: (name) => Promise.reject(Object.assign(new Error(`queryA ${code} ${name}`), { code })),
  })
  const hosts = Array.from({ length: 15 }, (_, index) => host(index))
  await world.setRules(hosts.map((name) => ({ host: name, methods: ['GET'], paths: ['/'] })))
  return {
    world,
    ask: async (index: number) =>
      await sayAndRead(await world.tunnel(host(index), 443), request(host(index), 443, '/')),
    said: () =>
      world
        .logged()
        .split('\n')
        .filter((line) => line.includes('a name could not be looked up')),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
}

test.each(['EAI_AGAIN', 'ETIMEOUT', 'ESERVFAIL'])(
  'a resolver that fails by %s is in the log, a few times a minute, and nobody is told to check a name',
  async (code) => {
    await using names = await failing(code)
    const answer = await names.ask(0)
    expect(answer).toMatch(/^HTTP\/1\.1 503 /)
    expect(answer).toMatch(/^retry-after: 1\r$/im)
    expect(deniedAs(answer)).toBe('name_lookup_failed')
    expect(answer).toContain('try again in a moment')
    expect(names.said().map((line) => JSON.parse(line) as object)).toMatchObject([{ host: host(0), code }])
    for (let index = 1; index < 15; index++) await names.ask(index)
    expect(names.said()).toHaveLength(10)
  },
)

test.each(['ENOTFOUND', 'ENODATA'])(
  'a name that does not exist, as %s says, is told as that',
  async (code) => {
    await using names = await failing(code)
    const answer = await names.ask(0)
    expect(answer).toMatch(/^HTTP\/1\.1 502 /)
    expect(deniedAs(answer)).toBe('name_unresolved')
    expect(names.said()).toEqual([])
  },
)

test('a look-up that ended in time is never told of as overdue', async () => {
  const overdue: string[] = []
  const look = createLookUps({
    ask: async (name) => (name === 'quick' ? { name } : await new Promise(() => undefined)),
    late: { name: 'late' },
    keptMs: 1_000,
    timeoutMs: 20,
    perPrincipal: 2,
    total: 2,
    onOverdue: (name) => overdue.push(name),
  })
  expect(await look.find('quick', 'a')).toEqual({ name: 'quick' })
  // Its time runs out later.
  expect(await look.find('slow', 'a')).toEqual({ name: 'late' })
  expect([overdue, look.overdue]).toEqual([['slow'], 1])
})
