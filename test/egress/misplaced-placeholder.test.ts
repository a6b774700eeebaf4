/** A placeholder in a field that says who asks, but not in the one that its rule has. */
import { expect, test } from 'vitest'
import { placeholderFor } from '../../src/vault/index.ts'
import { makeWorld, request, rule, sayAndRead, theSecret } from '../support/egress-world.ts'

const host = 'llm.example.com'

test('a placeholder by which a program says who it is in another field than the rule has is told of', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => res.end(`heard ${JSON.stringify(req.headers)}`))
  const inject = [{ credential: 'ORDERS_KEY', into: 'header:x-api-key', placeholder: true }]
  await world.setRules([rule(host, up.port, { inject })])
  const say = async (...fields: string[]) =>
    await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/', fields))
  const mine = placeholderFor('ORDERS_KEY', world.principalId, 'toolcrib-')

  for (const field of [
    `Authorization: Bearer ${mine}`,
    `Authorization: Basic ${btoa(`a:${mine}`)}`,
    `Api-Key: ${mine}`,
  ])
    expect(await say(field)).toContain('"reason":"placeholder_missing"')
  expect(up.seen).toEqual([])

  // Elsewhere it is inert and goes on, as in what a model is told; and who asks for nothing needs no credential.
  expect(await say(`X-Note: ${mine}`)).toContain(`"x-note":"${mine}"`)
  expect(await say('Authorization: Bearer mine')).toContain('heard')
  expect(up.seen).toHaveLength(2)
  expect(await say(`X-Api-Key: ${mine}`)).toContain('heard')
  expect(up.seen.at(-1)?.rawHeaders).toContain(theSecret)
  expect(await say(`X-Api-Key: ${mine}`, `Authorization: Bearer ${mine}`)).toContain('placeholder_repeated')
})
