import { expect, test } from 'vitest'
import { personChecks } from '../src/app-doctor-person.ts'
import { newId } from '../src/core/index.ts'
import { publishEgressKey, recordCall } from '../src/store/index.ts'
import { alice as aliceInSlack, testAccess } from './support/access.ts'
import { testStore } from './support/database.ts'
import { callOnce, startReplica } from './support/replica.ts'
import { ScriptedMachine } from './support/scripted-driver.ts'
import { scriptedToolhost } from './support/scripted-toolhost.ts'
import { until } from './support/until.ts'

const time = /\d{4}-\d\d-\d\d \d\d:\d\d UTC/.source

const source = {
  spec: {},
  specDigest: 'd',
  discoveredSpecDigest: 'd',
  enabled: true,
  discoveredAt: new Date(),
  discoveryError: null,
}

test('the doctor says of one person in a sentence each why things are as they are', async () => {
  await using store = await testStore()
  await using access = testAccess(store)
  const machine = new ScriptedMachine()
  await using replica = await startReplica({ store, machine, toolhost: scriptedToolhost(machine) })
  const { runners } = replica
  const alice = await access.ensurePrincipal(aliceInSlack)
  const sources = [{ ...source, id: 'workspace' }]
  const ask = async (name: string) => {
    const checks = personChecks(
      { store, access, runners, catalog: { listSources: async () => sources } },
      alice,
    )
    const answers = await Promise.all(checks.map(async (check) => await check()))
    expect(answers.map((each) => each.name)).toEqual(['person', 'tokens', 'sandbox', 'sources', 'last call'])
    return answers.find((each) => each.name === name)
  }

  expect(await ask('person')).toMatchObject({ ok: true, detail: expect.stringContaining(alice.id) })
  expect(await ask('tokens')).toMatchObject({ ok: false, detail: 'none is live: every request is refused' })
  expect(await ask('sandbox')).toMatchObject({
    ok: false,
    detail: 'none can start: no egress proxy has started yet; start `toolcrib egress`',
  })
  expect(await ask('last call')).toMatchObject({ ok: true, detail: 'they have called nothing yet' })

  await publishEgressKey(store.db, { id: 'ek_1', publicKey: 'k' })
  const { token, id: tokenId } = await access.issue({ principalId: alice.id, by: 'test' })
  expect(await ask('sandbox')).toMatchObject({
    ok: true,
    detail: 'none was ever needed; the first call starts it',
  })
  expect(await ask('tokens')).toMatchObject({
    ok: true,
    detail: expect.stringMatching(new RegExp(`^1 live, which ends ${time}; never used$`)),
  })
  expect((await ask('tokens'))?.detail).not.toContain(token.reveal())

  await callOnce(runners, alice.id)
  await runners.stop(alice.id, 'she asked for it')
  expect((await ask('sandbox'))?.detail).toMatch(
    new RegExp(`^stopped since ${time}: it was stopped: she asked for it; the next call starts it$`),
  )
  await callOnce(runners, alice.id)
  expect((await ask('sandbox'))?.detail).toMatch(
    new RegExp(
      `^ready since ${time}, generation 2, bubblewrap; the one before ended ${time}: it was stopped: she asked for it$`,
    ),
  )
  machine.egress = 'open'
  await runners.stop(alice.id, 'again')
  await expect(callOnce(runners, alice.id)).rejects.toThrow(/without the proxy/)
  await until(async () => (await runners.find(alice.id))?.state === 'failed')
  expect(await ask('sandbox')).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/^failed since .* can reach the outside without the proxy/),
  })

  const call = newId('call')
  const row = { toolkit: null, sourceId: null, tool: null, definitionDigest: null, client: null }
  await recordCall(
    store.pool,
    {
      ...row,
      id: call,
      principalId: alice.id,
      tokenId,
      alias: 'workspace_run',
      argumentsDigest: 'd',
      rule: 'default',
      replicaId: newId('rep'),
      runnerId: null,
      generation: null,
    },
    { outcome: 'unknown', code: 'outcome_unknown', event: {} },
  )
  expect(await ask('last call')).toMatchObject({
    ok: false,
    detail: expect.stringMatching(
      new RegExp(
        `^workspace_run at ${time} ended as unknown, outcome_unknown after \\d+ ms: .toolcrib audit --call ${call}`,
      ),
    ),
  })
  expect(await ask('sources')).toMatchObject({ ok: true, detail: 'workspace answered' })
  sources.push({ ...source, id: 'orders', discoveryError: 'it printed rubbish' } as never)
  expect(await ask('sources')).toMatchObject({
    ok: false,
    detail: 'workspace answered; orders fails (it printed rubbish)',
  })
})
