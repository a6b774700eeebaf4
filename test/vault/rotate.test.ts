import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { newId, type PrincipalId, Secret, silentLog } from '../../src/core/index.ts'
import { createEgress, generateEgressKeys } from '../../src/egress/index.ts'
import type { RotateOptions } from '../../src/egress/keys/changing.ts'
import { joinDeployment } from '../../src/egress/keys/join.ts'
import { readKeyFolder } from '../../src/egress/keys/key-folder.ts'
import { overviewKeys } from '../../src/egress/keys/overview.ts'
import { replaceLostKey, rotateSealingKey } from '../../src/egress/keys/rotate.ts'
import { replaceLostCa, rotateCa } from '../../src/egress/keys/rotate-ca.ts'
import {
  beat,
  credentialsFor,
  egressCas,
  egressKeys,
  publishFirstEgressKey,
  putCredential,
  type Store,
  sealedCredentials,
} from '../../src/store/index.ts'
import { createVault, openCredential, sealTo } from '../../src/vault/index.ts'
import { testStore } from '../support/database.ts'

const nobody = 'prn_nobody' as PrincipalId

async function newFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'toolcrib-rotate-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return join(dir, 'keys')
}

/** A deployment with three credentials, one of a person's own. */
async function deployment(store: Store, dir: string): Promise<Map<string, string>> {
  const keys = await generateEgressKeys(dir, Date.now())
  await publishFirstEgressKey(store.db, keys.newest())
  const principalId = newId('prn')
  await store.db
    .insertInto('principals')
    .values({ id: principalId, kind: 'person', slack_team: 'T1', slack_user: 'U1', name: 'alice' })
    .execute()
  const vault = createVault({ store, log: silentLog })
  const values = new Map<string, string>()
  for (const [name, scopeId] of [
    ['ORDERS_KEY', ''],
    ['OTHER_KEY', ''],
    ['OWN_KEY', principalId],
  ] as const) {
    values.set(name, `value-of-${name}`)
    const value = new Secret(`value-of-${name}`)
    const scope = scopeId === '' ? 'global' : 'principal'
    await vault.setCredential({ name, scope, scopeId, value, by: 'test' })
  }
  return values
}

const options = (
  store: Store,
  dir: string,
  say: (step: string) => void = () => undefined,
): RotateOptions => ({
  store,
  dir,
  by: 'test',
  now: Date.now(),
  waitMs: 2_000,
  say,
})

/** Everything that can be opened with what lies in the folder. */
async function opened(store: Store, dir: string): Promise<Map<string, string>> {
  const { sealing } = await readKeyFolder(dir)
  const keys = new Map(sealing.map((key) => [key.id, key.opening]))
  const values = new Map<string, string>()
  for (const row of await sealedCredentials(store.db))
    values.set(row.name, (await openCredential(keys, row)).reveal())
  return values
}

test('a rotation seals every credential to a new key, retires the old one with its file, and is audited without a value', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  const values = await deployment(store, dir)
  const [before] = await egressKeys(store.db)
  const steps: string[] = []
  const done = await rotateSealingKey(options(store, dir, (step) => void steps.push(step)))
  expect(done).toMatchObject({ resealed: 3, unreadable: [], retired: [before?.id] })
  expect(await egressKeys(store.db)).toMatchObject([{ id: done.keyId }])
  expect(await opened(store, dir)).toEqual(values)
  expect((await readdir(dir)).filter((name) => name.startsWith('sealing-'))).toHaveLength(1)
  const events = await store.db
    .selectFrom('events')
    .select(['kind', 'data', 'principal_id'])
    .orderBy('id')
    .execute()
  expect(events.slice(3).map((event) => event.kind)).toEqual([
    'egress_key.published',
    'credential.resealed',
    'credential.resealed',
    'credential.resealed',
    'egress_key.retired',
  ])
  expect(
    events.filter((event) => event.kind === 'credential.resealed' && event.principal_id !== null),
  ).toHaveLength(1)
  expect(JSON.stringify([events, steps, done])).not.toContain('value-of')
  expect(await overviewKeys({ store, dir })).toMatchObject({
    sealing: [{ id: done.keyId, state: 'sealed to', credentials: 3, here: true }],
    authorities: [{ state: 'signs', here: true }],
  })
})

test('a rotation that is interrupted before any of its steps loses nothing, and the next run carries it through', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  const values = await deployment(store, dir)
  let interrupted = 0
  for (let at = 0; ; at++) {
    let step = 0
    const run = rotateSealingKey(
      options(store, dir, () => {
        if (step++ === at) throw new Error('interrupted')
      }),
    )
    const [done] = (await Promise.allSettled([run])).map((end) =>
      end.status === 'fulfilled' ? 'done' : String(end.reason),
    )
    expect(done).toMatch(/^done$|interrupted/)
    expect(await opened(store, dir)).toEqual(values)
    if (done === 'done') break
    interrupted += 1
    const finished = await rotateSealingKey(options(store, dir))
    expect(finished.unreadable).toEqual([])
    expect(await opened(store, dir)).toEqual(values)
    expect(await egressKeys(store.db)).toHaveLength(1)
    expect((await readKeyFolder(dir)).sealing).toHaveLength(1)
  }
  expect(interrupted).toBeGreaterThan(5)
  await eachOnce(store, 'egress_key.published', 'egress_key.retired')
})

/** What happened to a key stands in the audit once, however many runs it took. */
async function eachOnce(store: Store, ...kinds: string[]): Promise<void> {
  const events = await store.db.selectFrom('events').select(['kind', 'data']).execute()
  const told = events.filter(({ kind }) => kinds.includes(kind)).map((event) => JSON.stringify(event))
  for (const kind of kinds) expect(events.map((event) => event.kind)).toContain(kind)
  expect(told).toEqual([...new Set(told)])
}

test('a change of the CA that is interrupted before any of its steps is carried through by the next run', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  await deployment(store, dir)
  let interrupted = 0
  for (let at = 0; ; at++) {
    let step = 0
    const run = rotateCa(
      options(store, dir, () => {
        if (step++ === at) throw new Error('interrupted')
      }),
    )
    const end = await run.catch((error: unknown) => String(error))
    if (typeof end !== 'string') break
    expect(end).toContain('interrupted')
    interrupted += 1
    const { caId } = await rotateCa(options(store, dir))
    expect(await egressCas(store.db)).toMatchObject([{ id: caId, signsSince: expect.any(Date) }])
    expect((await readKeyFolder(dir)).authorities).toMatchObject([{ id: caId }])
  }
  expect(interrupted).toBeGreaterThan(3)
  await eachOnce(store, 'egress_ca.trusted', 'egress_ca.signs', 'egress_ca.retired')
})

test('a CA in place of a lost one signs from the beginning, and so it is audited', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  await deployment(store, dir)
  const other = await newFolder()
  await generateEgressKeys(other, Date.now())
  const { caId, retired } = await replaceLostCa(options(store, other))
  expect(retired).toHaveLength(1)
  expect(await egressCas(store.db)).toMatchObject([{ id: caId, signsSince: expect.any(Date) }])
  const events = await store.db
    .selectFrom('events')
    .select(['kind', 'data'])
    .where('kind', 'like', 'egress_ca.%')
    .orderBy('id')
    .execute()
  expect(events).toMatchObject([
    { kind: 'egress_ca.trusted', data: { caId, by: 'test' } },
    { kind: 'egress_ca.signs', data: { caId, by: 'test' } },
    { kind: 'egress_ca.retired', data: { caId: retired[0], by: 'test' } },
  ])
})

test('a CA that was trusted and did not sign yet signs once it takes the place of a lost one', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  await deployment(store, dir)
  const waits = rotateCa(
    options(store, dir, (step) => {
      if (step.startsWith('proxies sign')) throw new Error('interrupted')
    }),
  )
  await expect(waits).rejects.toThrow('interrupted')
  const { caId } = await replaceLostCa(options(store, dir))
  expect(await egressCas(store.db)).toMatchObject([{ id: caId, signsSince: expect.any(Date) }])
  expect((await overviewKeys({ store, dir })).authorities).toMatchObject([{ id: caId, state: 'signs' }])
  await eachOnce(store, 'egress_ca.trusted', 'egress_ca.signs', 'egress_ca.retired')
})

test('no key is changed of a deployment that has made none known', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  await generateEgressKeys(dir, Date.now())
  for (const rotate of [rotateSealingKey, rotateCa])
    await expect(rotate(options(store, dir))).rejects.toMatchObject({
      code: 'not_found',
      message: `there are no egress keys in use with ${dir}; start \`toolcrib egress\` once`,
    })
  expect((await readKeyFolder(dir)).sealing).toHaveLength(1)
})

test.each([
  // The row waits for the gateway, and is not the one that was read; then the key does, which is still needed.
  ['ORDERS_KEY', 'sealing ORDERS_KEY', 3],
  ['LATE_KEY', 'retiring', 4],
])(
  'a value of %s that a gateway writes at “%s” is kept, and sealed anew once',
  async (name, during, count) => {
    await using store = await testStore()
    const dir = await newFolder()
    const values = await deployment(store, dir)
    const [old] = await egressKeys(store.db)
    if (old === undefined) throw new Error('no key')
    const target = { name, scope: 'global', scopeId: '' } as const
    const sealed = await sealTo(old.publicKey, new Secret('newer'), { keyId: old.id, ...target })
    const tx = await store.db.startTransaction().execute()
    await putCredential(tx, { id: newId('crd'), ...target, keyId: old.id, sealed, by: 'gateway' })
    const written: Promise<void>[] = []
    const done = await rotateSealingKey(
      options(store, dir, (step) => {
        if (step.startsWith(during) && written.length === 0) written.push(tx.commit().execute())
      }),
    )
    await Promise.all(written)
    expect(done).toMatchObject({ resealed: count, unreadable: [], retired: [old.id] })
    expect(await opened(store, dir)).toEqual(new Map([...values, [name, 'newer']]))
    const events = await store.db.selectFrom('events').select('kind').execute()
    expect(events.filter(({ kind }) => kind === 'credential.resealed')).toHaveLength(count)
  },
)

test('a value that a gateway seals to the old key while it is retired is neither lost nor left behind', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  const values = await deployment(store, dir)
  const [old] = await egressKeys(store.db)
  if (old === undefined) throw new Error('no key')
  const target = { name: 'ORDERS_KEY', scope: 'global', scopeId: '' } as const
  // As a gateway does that looked up the key before the rotation and writes after the others were sealed anew.
  let late = false
  const done = await rotateSealingKey(
    options(store, dir, (step) => {
      if (!step.startsWith('retiring') || late) return
      late = true
      throw new Error('now')
    }),
  ).catch(async () => {
    const sealed = await sealTo(old.publicKey, new Secret('newer'), { keyId: old.id, ...target })
    await store.db
      .updateTable('credentials')
      .set({ sealed, key_id: old.id })
      .where('name', '=', 'ORDERS_KEY')
      .execute()
    return await rotateSealingKey(options(store, dir))
  })
  expect(done.resealed).toBe(1)
  expect(await opened(store, dir)).toEqual(new Map([...values, ['ORDERS_KEY', 'newer']]))
  // And once it is retired, the database itself refuses what is sealed to it.
  await expect(
    store.db.updateTable('credentials').set({ key_id: old.id }).where('name', '=', 'ORDERS_KEY').execute(),
  ).rejects.toThrow('foreign key')
})

test('no key is sealed to before every live proxy holds it, and the refusal names the one that does not', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  const values = await deployment(store, dir)
  const [before] = await egressKeys(store.db)
  const other = newId('rep')
  const keys = { opens: [before?.id ?? ''], cas: [], signs: '' }
  await beat(store.db, { id: other, kind: 'egress', host: 'host-b', held: keys })
  await expect(rotateSealingKey({ ...options(store, dir), waitMs: 300 })).rejects.toThrow(
    new RegExp(`not in use by ${other} on host-b; where that proxy has a key folder of its own copy `),
  )
  expect(await egressKeys(store.db)).toMatchObject([{ id: before?.id }])
  expect(await opened(store, dir)).toEqual(values)
  const [, next] = (await readKeyFolder(dir)).sealing
  expect((await overviewKeys({ store, dir })).sealing).toMatchObject([
    { id: next?.id, state: 'next', heldBy: [] },
    { id: before?.id, state: 'sealed to', heldBy: ['host-b'] },
  ])
  await beat(store.db, {
    id: other,
    kind: 'egress',
    host: 'host-b',
    held: { ...keys, opens: [before?.id ?? '', next?.id ?? ''] },
  })
  expect(await rotateSealingKey(options(store, dir))).toMatchObject({ keyId: next?.id, resealed: 3 })
})

test('a folder that is not the deployment’s can neither serve nor rotate, and takes over only when the keys are lost', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  await deployment(store, dir)
  const strange = await newFolder()
  const keys = await generateEgressKeys(strange, Date.now())
  const listen = { unixSocketDir: join(strange, '..', 'socket') }
  const log = silentLog
  const start = () => createEgress({ store, keys, listen, trustedCas: [], systemRoots: false, log })
  await expect(start()).rejects.toThrow('has none of them; copy the folder')
  await expect(rotateSealingKey(options(store, strange))).rejects.toThrow('copy the newest key folder here')
  await expect(replaceLostKey(options(store, dir))).rejects.toThrow('not lost')
  const done = await replaceLostKey(options(store, strange))
  expect(done).toMatchObject({ keyId: keys.newest().id, resealed: 0, retired: [] })
  expect(done.unreadable.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toMatchObject([
    { name: 'ORDERS_KEY', scope: 'global', scopeId: '' },
    { name: 'OTHER_KEY', scope: 'global', scopeId: '' },
    { name: 'OWN_KEY', scope: 'principal', scopeId: expect.stringMatching(/^prn_/) },
  ])
  await using _egress = await start()
  // Set again, they are sealed to the new key; the next rotation retires the lost one.
  const vault = createVault({ store, log })
  for (const row of await sealedCredentials(store.db))
    await vault.setCredential({
      name: row.name,
      scope: row.scope as 'global',
      scopeId: row.scopeId,
      value: new Secret('again'),
      by: 'test',
    })
  expect(await rotateSealingKey(options(store, strange))).toMatchObject({ resealed: 3, unreadable: [] })
  expect(await egressKeys(store.db)).toHaveLength(1)
})

test('of proxies with folders of their own that start at once, one makes its keys known', async () => {
  await using store = await testStore()
  const folders = await Promise.all(Array.from({ length: 8 }, async () => await newFolder()))
  const all = await Promise.all(folders.map(async (dir) => await generateEgressKeys(dir, Date.now())))
  const joined = await Promise.allSettled(all.map(async (keys) => await joinDeployment(store, keys)))
  const [first, ...others] = await egressKeys(store.db)
  expect(others).toEqual([])
  expect(await egressCas(store.db)).toHaveLength(1)
  for (const [i, { status }] of joined.entries())
    expect(status).toBe(all[i]?.opening.has(first?.id ?? '') === true ? 'fulfilled' : 'rejected')
})

test('two rotations at once: the second is refused and changes nothing', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  await deployment(store, dir)
  let second: unknown
  await rotateSealingKey({
    ...options(store, dir),
    say: () => {
      second ??= rotateSealingKey(options(store, dir)).catch((error: unknown) => error)
    },
  })
  expect(String(await second)).toContain('another `toolcrib keys rotate` runs')
  expect(await egressKeys(store.db)).toHaveLength(1)
})

test('what a cut-short write left in the folder is no key and stops nothing', async () => {
  await using store = await testStore()
  const dir = await newFolder()
  const values = await deployment(store, dir)
  const { writeFile } = await import('node:fs/promises')
  await writeFile(join(dir, 'sealing-99999999999999.json.unfinished'), '{"publicKey"', { mode: 0o600 })
  await writeFile(join(dir, 'ca-99999999999999.key'), 'cut', { mode: 0o600 })
  await rotateSealingKey(options(store, dir))
  expect(await opened(store, dir)).toEqual(values)
  const [row] = await credentialsFor(store.db, { names: ['ORDERS_KEY'], principalId: nobody })
  expect(row?.sealed).not.toContain('value-of')
  const folder = await Promise.all((await readdir(dir)).map((name) => readFile(join(dir, name), 'utf8')))
  expect(folder.join('')).not.toContain('value-of')
})
