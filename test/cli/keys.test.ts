import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { newId, type PrincipalId, type RunnerId, Secret, silentLog } from '../../src/core/index.ts'
import { generateEgressKeys } from '../../src/egress/index.ts'
import { readKeyFolder } from '../../src/egress/keys/key-folder.ts'
import {
  beat,
  egressCas,
  egressKeys,
  publishFirstEgressKey,
  type Store,
  sealedCredentials,
} from '../../src/store/index.ts'
import { createVault, openCredential } from '../../src/vault/index.ts'
import { testStore } from '../support/database.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))
const names = ['FIRST_KEY', 'SECOND_KEY', 'THIRD_KEY']

async function deployment(store: Store) {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-cli-keys-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const dir = join(folder, 'egress-keys')
  const config = join(folder, 'toolcrib.yaml')
  await writeFile(config, JSON.stringify({ state_dir: folder, log_level: 'error' }))
  await publishFirstEgressKey(store.db, (await generateEgressKeys(dir, Date.now())).newest())
  const vault = createVault({ store, log: silentLog })
  for (const name of names)
    await vault.setCredential({
      name,
      scope: 'global',
      scopeId: '',
      value: new Secret(`value of ${name}`),
      by: 'test',
    })
  const run = (...args: string[]): ChildProcess =>
    spawn(process.execPath, [entry, ...args, '--config', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], DATABASE_URL: store.url },
    })
  return {
    dir,
    run,
    start: (...args: string[]) => run('keys', ...args),
    async values() {
      const { sealing } = await readKeyFolder(dir)
      const keys = new Map(sealing.map((key) => [key.id, key.opening]))
      const rows = await sealedCredentials(store.db)
      return await Promise.all(rows.map(async (row) => (await openCredential(keys, row)).reveal()))
    },
  }
}

async function endOf(child: ChildProcess): Promise<{ code: number | null; out: string; err: string }> {
  let out = ''
  let err = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  await once(child, 'close')
  return { code: child.exitCode, out, err }
}

test('a rotation that is killed as it begins any of its steps loses no credential, and one more run finishes it', {
  timeout: 90_000,
}, async () => {
  await using store = await testStore()
  const world = await deployment(store)
  const all = names.map((name) => `value of ${name}`)
  const [first] = await egressKeys(store.db)
  let killed = 0
  for (let at = 1; ; at++) {
    const child = world.start('rotate')
    let lines = 0
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', () => {
      if (++lines === at) child.kill('SIGKILL')
    })
    await once(child, 'close')
    expect((await world.values()).sort()).toEqual(all)
    if (child.signalCode === null) break
    killed += 1
  }
  expect(killed).toBeGreaterThan(2)
  const { code, err } = await endOf(world.start('rotate'))
  expect([code, err]).toEqual([0, expect.stringContaining('retiring')])
  expect((await world.values()).sort()).toEqual(all)
  const left = await egressKeys(store.db)
  expect(left).toHaveLength(1)
  expect(left[0]?.id).not.toBe(first?.id)
  expect((await readKeyFolder(world.dir)).sealing.map((key) => key.id)).toEqual([left[0]?.id])
})

test('keys list shows ids and what depends on each, keys rotate --ca its two steps, and neither shows a key', async () => {
  await using store = await testStore()
  const world = await deployment(store)
  const listed = await endOf(world.start('list'))
  expect(listed).toMatchObject({ code: 0, err: '' })
  expect(listed.out).toMatch(/^ek_\w{20} +sealed to .* 3 +0 +yes/m)
  expect(listed.out).toMatch(/^ca_\w{20} +signs .* yes/m)
  const json = JSON.parse((await endOf(world.start('list', '--json'))).out) as { sealing: unknown[] }
  expect(json).toMatchObject({ sealing: [{ credentials: 3, tokens: 0, here: true }], liveProxies: 0 })

  const done = await endOf(world.start('rotate', '--ca'))
  expect(done).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^Proxies sign with ca_\w+; 1 CA retired\./),
  })
  const after = await endOf(world.start('list'))
  expect(after.out.match(/^ca_/gm)).toHaveLength(1)
  for (const { out, err } of [listed, done, after])
    expect(out + err).not.toMatch(/PRIVATE KEY|privateKey|value of/)

  const lost = await endOf(world.start('rotate', '--lost'))
  expect(lost).toMatchObject({ code: 1, err: expect.stringContaining('the key is not lost') })
})

test('after the key folder was lost each credential to set again is named as it is pasted, a person’s own too', async () => {
  await using store = await testStore()
  const world = await deployment(store)
  const people = [
    ['prn_bob', 'bob'],
    ['prn_maria', 'Maria Luz'],
    ['prn_sam1', 'sam'],
    ['prn_sam2', 'Sam'],
  ] as const
  const vault = createVault({ store, log: silentLog })
  for (const [id, name] of people) {
    await store.db
      .insertInto('principals')
      .values({ id: id as PrincipalId, kind: 'person', slack_team: 'T1', slack_user: id, name })
      .execute()
    const value = new Secret('a value of their own')
    await vault.setCredential({ name: 'FIRST_KEY', scope: 'principal', scopeId: id, value, by: 'test' })
  }
  await rm(world.dir, { recursive: true })
  const id = 'run_old' as RunnerId
  await store.db
    .insertInto('runners')
    .values({
      id,
      principal_id: 'prn_bob' as PrincipalId,
      name: 'r',
      home_name: 'r',
      state: 'ready',
      generation: 1,
      sandbox_uid: 's',
      address: 'a',
    })
    .execute()
  await store.db
    .updateTable('runners')
    .set({ started_at: new Date(Date.now() - 60_000) })
    .execute()
  // A proxy that may not start leaves nothing that would have to be told from the keys later.
  const refused = await endOf(world.run('egress'))
  expect(refused.err).toContain('if it is lost, run `toolcrib keys rotate --lost`')
  expect(existsSync(world.dir)).toBe(false)
  const { code, out } = await endOf(world.start('rotate', '--lost'))
  expect(code).toBe(0)
  expect(out).toMatch(
    /^Proxies sign with ca_\w+; 1 sandbox does not trust it\. Stop it with\n {2}toolcrib runners stop run_old$/m,
  )
  expect(out.match(/(?<=credentials set ).*/g)?.toSorted()).toEqual(
    [
      "FIRST_KEY --for 'Maria Luz'",
      'FIRST_KEY --for bob',
      'FIRST_KEY --for prn_sam1',
      'FIRST_KEY --for prn_sam2',
      'FIRST_KEY',
      'SECOND_KEY',
      'THIRD_KEY',
    ].toSorted(),
  )
})

test('keys are not lost while a live proxy has them, and two proxies of one host are told apart', async () => {
  await using store = await testStore()
  const world = await deployment(store)
  const [key] = await egressKeys(store.db)
  const held = { opens: [key?.id ?? ''], cas: [], signs: '' }
  const ids = [newId('rep'), newId('rep')] as const
  for (const id of ids) await beat(store.db, { id, kind: 'egress', host: 'gateway-1', held })
  await beat(store.db, { id: newId('rep'), kind: 'egress', host: 'gateway-2', held })
  const listed = await endOf(world.start('list'))
  expect(listed.out).toContain(`gateway-1 (${ids[0]}), gateway-1 (${ids[1]}), gateway-2\n`)
  await rm(world.dir, { recursive: true })
  const lost = async () => {
    const ended = await endOf(world.start('rotate', '--lost'))
    expect(ended).toMatchObject({ code: 1, out: '' })
    expect(ended.err).toContain(
      `the key is not lost: the proxy gateway-1 (${ids[0]}) has it; copy its key folder`,
    )
  }
  await lost()
  expect(existsSync(world.dir)).toBe(false)
  // A folder with keys of its own is the wrong one as much as an empty one is.
  await generateEgressKeys(world.dir, Date.now())
  await lost()
  expect(await egressKeys(store.db)).toMatchObject([{ id: key?.id }])
})

test('a damaged CA is named with the way on, which works', async () => {
  await using store = await testStore()
  const world = await deployment(store)
  const [before] = await egressCas(store.db)
  const files = (await readdir(world.dir)).filter((name) => name.startsWith('ca-'))
  const path = join(world.dir, files.find((name) => name.endsWith('.pem')) ?? '')
  await writeFile(path, 'no certificate')
  for (const args of [['list'], ['rotate', '--ca']]) {
    const { code, err } = await endOf(world.start(...args))
    expect(code).toBe(1)
    expect(err).toMatch(
      /^toolcrib: .* and .* are damaged or do not belong together; restore both from a backup, or move both away and run `toolcrib keys rotate --ca`\n$/,
    )
    expect(err).toContain(path)
  }
  for (const name of files) await rm(join(world.dir, name))
  const { code, out } = await endOf(world.start('rotate', '--ca'))
  expect([code, out]).toEqual([0, expect.stringMatching(/^Proxies sign with ca_\w+; 1 CA retired\.$/m)])
  const after = await egressCas(store.db)
  expect(after).toHaveLength(1)
  expect(after[0]?.id).not.toBe(before?.id)
})
