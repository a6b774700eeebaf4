import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { newId, type PrincipalId, Secret, silentLog } from '../../src/core/index.ts'
import { generateEgressKeys } from '../../src/egress/index.ts'
import { addAuthority, addSealingKey, readKeyFolder } from '../../src/egress/keys/key-folder.ts'
import { loadEgressKeys } from '../../src/egress/keys/keys.ts'
import { type CredentialRow, credentialsFor, publishEgressKey } from '../../src/store/index.ts'
import {
  chooseCredential,
  createVault,
  generateSealingKey,
  importOpeningKey,
  open,
  openCredential,
  sealTo,
} from '../../src/vault/index.ts'
import { testStore } from '../support/database.ts'

const alice = 'prn_alice' as PrincipalId

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'toolcrib-keys-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return join(dir, 'keys')
}

test('a sealed value opens for its key and exactly its row, and for nothing else', async () => {
  const mine = await generateSealingKey()
  const other = await generateSealingKey()
  const context = { keyId: mine.id, name: 'ORDERS_KEY', scope: 'principal', scopeId: alice }
  const sealed = await sealTo(mine.publicKey, new Secret('válue'), context)
  expect(sealed).not.toContain('value')
  expect(await sealTo(mine.publicKey, new Secret('válue'), context)).not.toBe(sealed)
  const key = await importOpeningKey(mine.id, mine.privateKey)
  expect((await open(key, sealed, context)).reveal()).toBe('válue')
  const changed = [{ keyId: other.id }, { name: 'OTHER' }, { scope: 'global' }, { scopeId: 'prn_bob' }]
  for (const change of changed)
    await expect(open(key, sealed, { ...context, ...change })).rejects.toThrow('does not open')
  const wrongKey = await importOpeningKey(mine.id, other.privateKey)
  await expect(open(wrongKey, sealed, context)).rejects.toThrow('does not open')
  await expect(open(key, `${sealed}AAAA`, context)).rejects.toThrow('does not open')
  await expect(open(key, 'plaintext', context)).rejects.toThrow('not sealed')
  await expect(sealTo(other.publicKey, new Secret('x'), context)).rejects.toThrow('not that key')
})

test('the gateway stores a credential that only the egress side can read', async () => {
  await using store = await testStore()
  const vault = createVault({ store, log: silentLog })
  const target = { name: 'ORDERS_KEY', scope: 'global', scopeId: '' } as const
  const value = new Secret('v3ry-s3cret-value')
  await expect(vault.setCredential({ ...target, value, by: 'test' })).rejects.toThrow('published its key')
  const keys = await generateEgressKeys(await folder(), Date.now())
  await publishEgressKey(store.db, keys.newest())
  await vault.setCredential({ ...target, value, by: 'test' })
  await vault.setCredential({ ...target, value: new Secret('newer-value'), by: 'test' })
  const listed = await vault.listCredentials()
  expect(listed).toMatchObject([{ ...target, updatedBy: 'test' }])
  const [row] = await credentialsFor(store.db, { names: ['ORDERS_KEY'], principalId: alice })
  if (row === undefined) throw new Error('no row')
  expect((await openCredential(keys.opening, row)).reveal()).toBe('newer-value')
  await expect(openCredential(new Map(), row)).rejects.toThrow('which is not here')
  await vault.removeCredential({ ...target, by: 'test' })
  await expect(vault.removeCredential({ ...target, by: 'test' })).rejects.toMatchObject({ code: 'not_found' })
  const events = await store.db.selectFrom('events').select(['kind', 'data']).orderBy('id').execute()
  expect(events.map((event) => event.kind)).toEqual([
    'credential.set',
    'credential.set',
    'credential.removed',
  ])
  expect(JSON.stringify([events, listed])).not.toMatch(/v3ry-s3cret|newer-value/)
})

test('row 14: a value that a header cannot carry whole is refused when it is set, and the refusal does not repeat it', async () => {
  await using store = await testStore()
  const vault = createVault({ store, log: silentLog })
  const keys = await generateEgressKeys(await folder(), Date.now())
  await publishEgressKey(store.db, keys.newest())
  const target = { name: 'ORDERS_KEY', scope: 'global', scopeId: '', by: 'test' } as const
  for (const value of [
    '',
    'abcd\n',
    'ab\r\ncd',
    'ab\0cd',
    'ab\x7fcd',
    'ab\u0085cd',
    'ab\u009fcd',
    'ab\u20accd',
    ' abcd',
    'x'.repeat(64 * 1024 + 1),
  ]) {
    const error = await vault
      .setCredential({ ...target, value: new Secret(value) })
      .catch((err: unknown) => err)
    expect(error).toMatchObject({ code: 'invalid_input' })
    expect(String(error)).not.toContain(value || 'no value')
  }
  await expect(vault.setCredential({ ...target, value: new Secret('') })).rejects.toThrow(
    'the value for ORDERS_KEY is empty; give the secret on standard input',
  )
  // Answers are searched for it: so short a value stands in any page, and would be masked there.
  for (const value of ['q', 'q7', 'q7~', 'é7~'])
    await expect(vault.setCredential({ ...target, value: new Secret(value) })).rejects.toThrow(
      /^the value for ORDERS_KEY is shorter than 4 characters; [^q~]*at least 4/,
    )
  // So does a word of JSON, and a short number in longer ones: `{"ok":****}`.
  for (const value of ['true', 'False', 'null', 'None', 'undefined'])
    await expect(vault.setCredential({ ...target, value: new Secret(value) })).rejects.toThrow(
      'the value for ORDERS_KEY is a word of JSON or of a program; it stands in nearly every answer',
    )
  for (const value of ['1234', '-1.5', '1e10', '0000000'])
    await expect(vault.setCredential({ ...target, value: new Secret(value) })).rejects.toThrow(
      'the value for ORDERS_KEY is a number of fewer than 8 characters; it stands in other numbers',
    )
  for (const value of ['12345678', '1234a', 'truest'])
    await vault.setCredential({ ...target, value: new Secret(value) })
  const certificate = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  await expect(vault.setCredential({ ...target, value: new Secret(certificate) })).rejects.toThrow(
    'the value for ORDERS_KEY is a certificate without its private key; give the private key before',
  )
  await vault.setCredential({ ...target, value: new Secret('ab\tcd\u00a0\u00ffe') })
  await vault.removeCredential(target)
  const wrong = { ...target, value: new Secret('xxxx') }
  await expect(vault.setCredential({ ...wrong, name: 'orders' })).rejects.toMatchObject({
    code: 'invalid_input',
  })
  await expect(vault.setCredential({ ...wrong, scopeId: 'x' })).rejects.toMatchObject({
    code: 'invalid_input',
  })
  await expect(vault.setCredential({ ...wrong, scope: 'principal', scopeId: 'prn_x' })).rejects.toMatchObject(
    { code: 'not_found' },
  )
  expect(await vault.listCredentials()).toEqual([])
})

test('a principal’s own credential comes before the global one, and a profile’s never applies yet', () => {
  const row = (scope: CredentialRow['scope'], scopeId: string): CredentialRow => ({
    id: newId('crd'),
    name: 'K',
    scope,
    scopeId,
    keyId: 'k',
    sealed: scope,
    version: 1,
  })
  const all = [row('global', ''), row('profile', 'p'), row('principal', 'prn_bob'), row('principal', alice)]
  expect(chooseCredential(all, 'K', alice)).toBe(all[3])
  expect(chooseCredential(all.slice(0, 3), 'K', alice)).toBe(all[0])
  expect(chooseCredential(all.slice(1, 3), 'K', alice)).toBeUndefined()
  expect(chooseCredential(all, 'OTHER', alice)).toBeUndefined()
})

test('keys are made once, stay the same, and are refused when others could read them', async () => {
  const dir = await folder()
  await expect(loadEgressKeys(dir)).rejects.toMatchObject({ code: 'not_found' })
  const first = await generateEgressKeys(dir, Date.now())
  const second = await generateEgressKeys(dir, Date.now() + 1)
  expect(second.newest()).toEqual(first.newest())
  const names = await readdir(dir)
  for (const name of names) expect((await stat(join(dir, name))).mode & 0o077).toBe(0)
  const privates = names.filter((name) => !name.endsWith('.pem'))
  expect(privates).toHaveLength(2)
  for (const name of privates) {
    await chmod(join(dir, name), 0o640)
    await expect(loadEgressKeys(dir)).rejects.toThrow('chmod 600')
    await chmod(join(dir, name), 0o600)
  }
})

test('a CA whose key is missing is told by the name of the file, with the cure', async () => {
  const dir = await folder()
  await generateEgressKeys(dir, Date.now())
  const key = (await readdir(dir)).find((name) => /^ca-.*\.key$/.test(name)) ?? ''
  await rm(join(dir, key))
  await expect(generateEgressKeys(dir, Date.now())).rejects.toMatchObject({
    code: 'not_found',
    message: `${join(dir, key)} is missing: the certificate beside it cannot sign without it; restore it from a backup, or move that away too and run \`toolcrib keys rotate --ca\``,
  })
  await rm(join(dir, key.replace(/key$/, 'pem')))
  await expect(generateEgressKeys(dir, Date.now())).rejects.toMatchObject({
    code: 'not_found',
    message: `there is no certificate authority in ${dir}; run \`toolcrib keys rotate --ca\`, or restore the folder from a backup`,
  })
  // As it says, and as `keys rotate --ca` begins.
  await addAuthority(dir, Date.now())
  expect((await generateEgressKeys(dir, Date.now())).authorities.size).toBe(1)
})

test.each<[string, (own: string, other: string) => string]>([
  ['the certificate of another CA', (_, other) => other],
  ['no certificate', () => 'no certificate'],
])('a CA with %s is not taken', async (_, written) => {
  const dir = await folder()
  const other = await folder()
  for (const one of [dir, other]) await generateEgressKeys(one, Date.now())
  const path = async (of: string) =>
    join(of, (await readdir(of)).find((name) => /^ca-.*\.pem$/.test(name)) ?? '')
  const own = await path(dir)
  const read = async (of: string) => await readFile(await path(of), 'utf8')
  await writeFile(own, written(await read(dir), await read(other)))
  await expect(loadEgressKeys(dir)).rejects.toThrow(`${own} are damaged or do not belong together`)
})

test('a key whose file is gone is forgotten a minute later, and not when the file is back by then', async () => {
  const dir = await folder()
  const begun = Date.now()
  const keys = await generateEgressKeys(dir, begun)
  const old = keys.newest()
  await addSealingKey(dir, begun + 1)
  await addAuthority(dir, begun + 1)
  const { sealing, authorities } = await readKeyFolder(dir)
  const files = [...(sealing[0]?.files ?? []), ...(authorities[0]?.files ?? [])]
  const texts = await Promise.all(files.map(async (file) => await readFile(file, 'utf8')))
  const held = () => [keys.opening.has(old.id), keys.authorities.size, keys.opening.size]
  const minute = 60_000
  for (const file of files) await rm(file)
  await keys.reload(begun)
  expect(keys.newest().id).toBe(sealing[1]?.id)
  await keys.reload(begun + minute - 1)
  expect(held()).toEqual([true, 2, 2])
  for (const [i, file] of files.entries()) await writeFile(file, texts[i] ?? '', { mode: 0o600 })
  await keys.reload(begun + minute)
  for (const file of files) await rm(file)
  await keys.reload(begun + minute + 1)
  await keys.reload(begun + 2 * minute)
  expect(held()).toEqual([true, 2, 2])
  await keys.reload(begun + 2 * minute + 1)
  expect(held()).toEqual([false, 1, 1])
})

test('a damaged sealing key is told with what to do where there is no backup, and none of what stands in it', async () => {
  const dir = await folder()
  await generateEgressKeys(dir, Date.now())
  const key = (await readdir(dir)).find((name) => name.startsWith('sealing-')) ?? ''
  await writeFile(join(dir, key), '{"privateKey":"cut o')
  await expect(generateEgressKeys(dir, Date.now())).rejects.toMatchObject({
    message: `${join(dir, key)} is not a sealing key; restore it from a backup, or, if that is lost, move it away and run \`toolcrib keys rotate --lost\``,
  })
})
