import { expect, test } from 'vitest'
import { AppError } from '../../src/core/index.ts'
import { refusalText, type World, world } from './world.ts'

/** A call of somebody who is only recalled, proven against `secretHash`; counts how often the proof was asked for. */
function recalledCall(
  w: World,
  secretHash = 'h',
  alias = 'demo_echo',
  args: Record<string, unknown> = { text: 'x' },
) {
  const asked = { times: 0 }
  const refusal: { error?: AppError } = {}
  const result = w.calls.call(
    {
      caller: w.caller,
      toolkit: null,
      alias,
      arguments: args,
      client: null,
      recalled: {
        secretHash,
        async confirm() {
          asked.times += 1
          if (refusal.error !== undefined) throw refusal.error
          return w.caller
        },
      },
    },
    w.hooks(),
  )
  return { asked, refusal, result }
}

test('a recalled caller is proven by the row of the call, and nobody else is asked', async () => {
  await using w = await world()
  const { asked, result } = recalledCall(w)
  expect((await result).result['isError']).not.toBe(true)
  expect(asked.times).toBe(0)
  expect(await w.rows()).toMatchObject([{ state: 'finished', outcome: 'ok' }])
})

test('invariant 5: a recalled caller whose token was revoked runs nothing, and hears what the proof says', async () => {
  await using w = await world()
  await w.revoke()
  const { refusal, result } = recalledCall(w)
  refusal.error = new AppError('token_revoked', 'This token was revoked.')
  await expect(result).rejects.toBe(refusal.error)
  expect(w.sent).toEqual([])
  expect(await w.rows()).toEqual([])
})

test('a secret that was replaced since is proven anew before anything runs', async () => {
  await using w = await world()
  const { asked, result } = recalledCall(w, 'the hash of yesterday')
  await result
  expect(asked.times).toBe(1)
  expect(w.sent).toHaveLength(1)
  expect(await w.rows()).toHaveLength(1)
})

test.each([
  ['an unknown tool', 'demo_nothing', {}],
  ['bad arguments', 'demo_echo', { text: 7 }],
  ['whoami', 'whoami', {}],
])('a recalled caller is proven before an answer that no call leads to: %s', async (_, alias, args) => {
  await using w = await world()
  const { asked, result } = recalledCall(w, 'h', alias, args)
  await result.catch(() => undefined)
  expect(asked.times).toBe(1)
  expect(await w.rows()).toHaveLength(1)
})

test('a recalled call that the tool refuses is recorded once and not asked about again', async () => {
  await using w = await world()
  w.script = async (_call, hooks) => {
    await hooks.sending({ runnerId: w.caller.principalId as never, generation: 1 })
    return { type: 'failed', code: 'source_crashed', message: 'it crashed' }
  }
  const { asked, result } = recalledCall(w)
  expect(refusalText(await result)).toMatch(/^source_crashed/)
  expect(asked.times).toBe(0)
  expect(w.sent).toHaveLength(1)
})
