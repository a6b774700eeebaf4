import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { reapLost } from '../../src/calls/index.ts'
import { newId, silentLog } from '../../src/core/index.ts'
import { beat, listen } from '../../src/store/index.ts'
import { answering, baseConfig, hanging, life, refusalText, world } from './world.ts'

test('invariant 5: revoking a token ends its calls in flight within a second, and they are recorded as cancelled', async () => {
  await using w = await world()
  w.script = hanging
  const calls = [w.call('demo_echo'), w.call('demo_echo')]
  await expect.poll(() => w.sent.length).toBe(2)
  const since = performance.now()
  await w.revoke()
  const results = await Promise.all(calls)
  expect(performance.now() - since).toBeLessThan(1_000)
  expect(results.map(refusalText)).toEqual(
    Array(2).fill(expect.stringMatching(/^token_revoked: .*\/mcp-token/)),
  )
  expect(await w.rows()).toMatchObject(
    Array(2).fill({ state: 'finished', outcome: 'cancelled', code: 'token_revoked' }),
  )
  expect(await w.events()).toHaveLength(2)
})

test('invariant 5: the client is answered within a second even when the sandbox does not let go, and the truth is recorded when known', async () => {
  await using w = await world()
  let release: () => void = () => undefined
  w.script = async (_call, hooks) => {
    await hooks.sending(life)
    await new Promise<void>((resolve) => {
      release = resolve
    })
    return { type: 'unknown', message: 'it would not die' }
  }
  const call = w.call('demo_echo')
  await expect.poll(() => w.sent.length).toBe(1)
  await w.revoke()
  const since = performance.now()
  expect(refusalText(await call)).toMatch(/^token_revoked/)
  expect(performance.now() - since).toBeLessThan(1_000)
  expect(await w.rows()).toMatchObject([{ state: 'running' }])
  release()
  await expect.poll(async () => (await w.rows())[0]?.['outcome']).toBe('unknown')
  expect(await w.events()).toMatchObject([{ data: { outcome: 'unknown', code: 'token_revoked' } }])
})

test('invariant 5: a result that arrives after its token was revoked is not handed out', async () => {
  await using w = await world()
  w.script = async (_call, hooks) => {
    await hooks.sending(life)
    await w.revoke()
    await w.calls.cancelEnded()
    return { type: 'result', result: { content: [{ type: 'text', text: 'late' }] } }
  }
  expect(refusalText(await w.call('demo_echo'))).toMatch(/^token_revoked/)
})

test('invariant 5: a deactivated principal and a blocked tool end calls in flight; notices make it faster', async () => {
  await using w = await world()
  await using notices = listen(w.store, silentLog)
  w.script = hanging
  const stop = notices.on(() => void w.calls.cancelEnded())
  const blocked = w.call('demo_echo')
  await expect.poll(() => w.sent.length).toBe(1)
  await w.configure({ rules: [{ tools: 'demo.echo', do: 'block' }] })
  expect(refusalText(await blocked)).toMatch(/^tool_blocked/)
  await w.configure(baseConfig)
  const { version: catalogVersion } = await w.catalog.latest()
  const deactivated = w.call('demo_echo', undefined, { catalogVersion })
  await expect.poll(() => w.sent.length).toBe(2)
  await sql`UPDATE principals SET state = 'deactivated'`.execute(w.store.db)
  expect(refusalText(await deactivated)).toMatch(/^principal_deactivated/)
  stop()
})

test('invariant 5: a definition that changes under a call does not end it, a rule of a person does', async () => {
  await using w = await world()
  let finish: () => void = () => undefined
  w.script = async (_call, hooks) => {
    await hooks.sending(life)
    await new Promise<void>((resolve) => {
      finish = resolve
    })
    return { type: 'result', result: { content: [] } }
  }
  const call = w.call('demo_echo')
  await expect.poll(() => w.sent.length).toBe(1)
  await w.catalog.discover('demo', async () => [{ name: 'echo', inputSchema: {}, description: 'new' }])
  await w.calls.cancelEnded()
  finish()
  expect((await call).result).toEqual({ content: [] })
})

test.each([
  ['token_revoked', sql`UPDATE tokens SET revoked_at = now()`],
  ['token_expired', sql`UPDATE tokens SET expires_at = now()`],
  ['principal_deactivated', sql`UPDATE principals SET state = 'deactivated'`],
])(
  'invariant 5: a call whose right ended while it waited for a sandbox is refused as %s and never sent',
  async (code, change) => {
    await using w = await world()
    w.script = async (call, hooks) => {
      await change.execute(w.store.db)
      return await answering({ type: 'result', result: { content: [] } })(call, hooks)
    }
    expect(refusalText(await w.call('demo_echo'))).toMatch(new RegExp(`^${code}: `))
    expect(w.sent).toEqual([])
    expect(await w.rows()).toMatchObject([{ outcome: 'denied', code }])
    expect(await w.events()).toHaveLength(1)
  },
)

test('invariant 9: what is decided when a call begins to wait is decided again when it is sent', async () => {
  await using w = await world()
  const changes: [RegExp | undefined, () => Promise<unknown>][] = [
    // Another version, the same answer for this call: it goes on.
    [undefined, async () => await w.configure({ toolkits: {} })],
    [/^tool_blocked: /, async () => await w.configure({ rules: [{ tools: '*', do: 'block' }] })],
    [/^tool_blocked: .*configuration any more/, async () => await w.configure({ sources: {} })],
    [
      /^tool_unreviewed: /,
      async () =>
        await w.catalog.discover('demo', async () => [{ name: 'echo', inputSchema: {}, description: 'new' }]),
    ],
  ]
  for (const [refusal, change] of changes) {
    await w.configure(baseConfig)
    const { version: catalogVersion } = await w.catalog.latest()
    const before = w.sent.length
    w.script = async (call, hooks) => {
      await change()
      return await answering({ type: 'result', result: { content: [] } })(call, hooks)
    }
    const answer = await w.call('demo_echo', undefined, { catalogVersion })
    expect(refusal === undefined ? 'sent' : refusalText(answer)).toMatch(refusal ?? /sent/)
    expect(w.sent.length - before).toBe(refusal === undefined ? 1 : 0)
  }
})

test('invariant 9: a source that was given another command while a call waited is not called by the old one', async () => {
  await using w = await world()
  w.script = async (call, hooks) => {
    const demo = baseConfig.sources['demo']
    await w.configure({ sources: demo === undefined ? {} : { demo: { ...demo, command: 'other' } } })
    return await answering({ type: 'result', result: { content: [] } })(call, hooks)
  }
  expect(refusalText(await w.call('demo_echo'))).toMatch(/^unavailable: .*was changed while this call waited/)
  expect(w.sent).toEqual([])
})

test('invariant 7: a call that broke off after it was handed over is unknown and is never handed over again', async () => {
  await using w = await world()
  w.script = async (_call, hooks) => {
    await hooks.sending(life)
    throw new Error('socket hang up')
  }
  expect(refusalText(await w.call('demo_echo'))).toMatch(/^outcome_unknown: .*not repeated/)
  expect(w.sent).toHaveLength(1)
  expect(await w.rows()).toMatchObject([{ outcome: 'unknown' }])
  w.script = async (_call, hooks) => {
    await hooks.sending(life)
    await hooks.sending(life)
    throw new Error('not reached')
  }
  await w.call('demo_echo')
  expect(w.sent).toHaveLength(2)
})

test('invariant 7: calls of a replica that died are unknown, once, by whichever replica looks first', async () => {
  await using w = await world()
  const [dead, alive] = [newId('rep'), newId('rep')]
  for (const id of [dead, alive]) await beat(w.store.db, { id, kind: 'gateway', host: 'h' })
  await sql`UPDATE replicas SET heartbeat_at = now() - interval '46 s' WHERE id = ${dead}`.execute(w.store.db)
  const insert = async (id: string, replica: string, age: string) =>
    await sql`INSERT INTO calls (id, principal_id, token_id, alias, arguments_digest, rule, replica_id, state, started_at)
      VALUES (${id}, ${w.caller.principalId}, ${w.caller.tokenId}, 'demo_echo', 'd', 'accepted', ${replica}, 'running',
        now() - ${age}::interval)`.execute(w.store.db)
  await insert('call_dead', dead, '60 s')
  await insert('call_alive', alive, '60 s')
  await insert('call_nobody', 'rep_forgotten', '60 s')
  const ended = await Promise.all([reapLost(w.store, 45), reapLost(w.store, 45), reapLost(w.store, 45)])
  expect(ended.reduce((sum, count) => sum + count, 0)).toBe(2)
  expect((await w.rows()).filter((row) => row['state'] === 'running').map((row) => row['id'])).toEqual([
    'call_alive',
  ])
  const events = await w.events()
  expect(events).toHaveLength(2)
  expect(new Set(events.map((event) => event.callId))).toEqual(new Set(['call_dead', 'call_nobody']))
  expect(events[0]?.data).toMatchObject({ outcome: 'unknown', code: 'outcome_unknown', alias: 'demo_echo' })
  expect(Number(events[0]?.data['durationMs'])).toBeGreaterThanOrEqual(60_000)
})

test('invariant 11: no record, no call: when the row cannot be written nothing is sent, and the refusal is recorded later', async () => {
  let broken: Error | undefined
  await using w = await world({ brokenPool: () => broken })
  broken = new Error('connection refused')
  expect(refusalText(await w.call('demo_echo'))).toMatch(
    /^unavailable: .*not recorded, so it was not run|^unavailable: .*could not be recorded/,
  )
  expect(w.sent).toEqual([])
  expect(await w.rows()).toEqual([])
  broken = undefined
  await expect.poll(async () => (await w.events()).length).toBe(1)
  expect(await w.rows()).toMatchObject([{ state: 'finished', outcome: 'failed', code: 'unavailable' }])
})

test('invariant 11: when the outcome cannot be written the client still gets its result, and the record follows, once', async () => {
  let broken: Error | undefined
  await using w = await world({ brokenPool: () => broken })
  w.script = async (_call, hooks) => {
    await hooks.sending(life)
    broken = new Error('connection lost')
    return { type: 'result', result: { content: [] } }
  }
  expect((await w.call('demo_echo')).result).toEqual({ content: [] })
  expect(await w.rows()).toMatchObject([{ state: 'running' }])
  broken = undefined
  await expect.poll(async () => (await w.rows())[0]?.['outcome']).toBe('ok')
  expect(await w.events()).toHaveLength(1)
})

test('invariant 11: every call ends in exactly one outcome and one event, whatever happens to it', async () => {
  await using w = await world()
  let turn = 0
  w.script = async (call, hooks) => {
    const choice = turn++ % 6
    if (choice === 0) throw new Error('before sending')
    await hooks.sending(life)
    if (choice === 1) return { type: 'unknown', message: 'gone' }
    if (choice === 2) return { type: 'failed', code: 'source_crashed', message: 'It crashed.' }
    if (choice === 3) throw new Error('after sending')
    if (choice === 4) return { type: 'rpc_error', code: 1, message: 'no' }
    return { type: 'result', result: { content: [], echo: call.arguments } }
  }
  const asked = [
    ...Array.from({ length: 24 }, async () => await w.call('demo_echo')),
    ...Array.from({ length: 4 }, async () => await w.call('demo_echo', { wrong: 1 })),
    ...Array.from({ length: 4 }, async () => await w.call('nothing').catch(() => undefined)),
    w.call('whoami'),
  ]
  await Promise.all(asked)
  const rows = await w.rows()
  expect(rows).toHaveLength(asked.length)
  expect(rows.every((row) => row['state'] === 'finished' && row['outcome'] !== null)).toBe(true)
  const events = await w.events()
  expect(events).toHaveLength(rows.length)
  expect(new Set(events.map((event) => event.callId))).toEqual(new Set(rows.map((row) => row['id'])))
  const outcomes = new Map(rows.map((row) => [row['id'], row['outcome']]))
  expect(events.every((event) => event.data['outcome'] === outcomes.get(event.callId))).toBe(true)
})

test('invariant 11: what a call sent and got is not in its records', async () => {
  await using w = await world()
  w.script = answering({ type: 'result', result: { content: [{ type: 'text', text: 'private-answer' }] } })
  await w.call('demo_echo', { text: 'private-question' })
  await w.call('demo_echo', { text: 'private-question', 'private-name': 1 })
  const { rows } = await sql`SELECT * FROM events`.execute(w.store.db)
  expect(JSON.stringify([rows, await w.rows()])).not.toContain('private')
})
