import { AppError, type AuditEvent, type PrincipalId } from '../../core/index.ts'
import {
  appendEvents,
  type CredentialRow,
  egressKeys,
  notify,
  publishEgressKey,
  resealCredential,
  retireEgressKey,
  type Store,
  sealedCredentials,
  tokensByKey,
} from '../../store/index.ts'
import { openCredential, sealTo } from '../../vault/index.ts'
import { alone, noKeys, ownFolder, type RotateOptions, untilHeld } from './changing.ts'
import { addSealingKey, type KeyFolder, readKeyFolder, removeKey, type SealingKeyFile } from './key-folder.ts'
import { resealTokens } from './reseal-tokens.ts'

export interface Rotated {
  keyId: string
  resealed: number
  /** Minted and former tokens that were sealed anew. */
  tokens: number
  /** Those that are still sealed to another key, which stays until they end: it is not here, or does not open them. */
  unreadableTokens: number
  /** Credentials sealed to a key that is not here: only setting them again helps. */
  unreadable: Pick<CredentialRow, 'name' | 'scope' | 'scopeId'>[]
  retired: string[]
}

/**
 * Makes a new sealing key, waits until every live proxy holds it, has gateways seal to it, seals every credential and
 * minted token to it anew, and retires the others. Requests are served throughout. Interrupted anywhere, nothing is
 * lost, and the next run goes on where this one ended. Throws `conflict` while another run changes keys, when this
 * folder is not the deployment's, and when a live proxy does not get the new key in time.
 */
export async function rotateSealingKey(options: RotateOptions): Promise<Rotated> {
  return await alone(options.store, async () => {
    const { say } = options
    const folder = await ownFolder(options)
    await removeRetired(options, folder)
    const next = await nextKey(options)
    say(`waiting until every proxy holds ${next.id}`)
    await untilHeld(options, next.id, (held) => held.opens.includes(next.id))
    say(`publishing ${next.id}: gateways seal to it from now on`)
    await publish(options, next)
    return await resealAndRetire(options, next)
  })
}

/**
 * The way on when the old keys are gone for good: what this folder has is published although nobody can open what
 * is sealed to the others. Those credentials stay, unreadable, until each is set again.
 */
export async function replaceLostKey(options: RotateOptions): Promise<Rotated> {
  return await alone(options.store, async () => {
    const { sealing } = await readKeyFolder(options.dir)
    const next = sealing.at(-1)
    if (next === undefined) throw noKeys(options.dir)
    const published = await egressKeys(options.store.db)
    if (published.some((key) => sealing.some((one) => one.id === key.id)))
      throw new AppError(
        'conflict',
        'the key is not lost: this folder has one that is in use; run it without --lost',
      )
    options.say(`publishing ${next.id} in place of what was lost`)
    await publish(options, next)
    return await resealAndRetire(options, next)
  })
}

/** Files of keys that a run of before retired and could not remove: older than one in use, and nothing needs them. */
async function removeRetired({ store, say }: RotateOptions, { sealing }: KeyFolder): Promise<void> {
  const inUse = new Set((await egressKeys(store.db)).map((key) => key.id))
  const needed = await tokensByKey(store.db)
  const newest = Math.max(...sealing.filter((key) => inUse.has(key.id)).map((key) => key.number))
  for (const key of sealing.filter(
    ({ id, number }) => number < newest && !inUse.has(id) && !needed.has(id),
  )) {
    say(`removing the file of ${key.id}, which was retired`)
    await removeKey(key)
  }
}

/** The newest key of the folder where an interrupted run was on the way to it, or a new one. */
async function nextKey({ store, dir, now, say }: RotateOptions): Promise<SealingKeyFile> {
  const [published, ...older] = await egressKeys(store.db)
  const { sealing } = await readKeyFolder(dir)
  const found = sealing.at(-1)
  const unpublished = found?.id !== published?.id
  const unfinished = older.some(({ id }) => sealing.some((key) => key.id === id))
  if (found !== undefined && (unpublished || unfinished)) return found
  say('making a new sealing key')
  await addSealingKey(dir, now)
  const made = (await readKeyFolder(dir)).sealing.at(-1)
  if (made === undefined) throw noKeys(dir)
  return made
}

async function publish({ store, by }: RotateOptions, key: SealingKeyFile): Promise<void> {
  await store.db.transaction().execute(async (tx) => {
    if ((await egressKeys(tx)).some(({ id }) => id === key.id)) return
    await publishEgressKey(tx, key)
    await appendEvents(tx, [{ kind: 'egress_key.published', data: { keyId: key.id, by } }])
  })
}

async function resealAndRetire(options: RotateOptions, next: SealingKeyFile): Promise<Rotated> {
  const { store, say, by, dir } = options
  const retired: string[] = []
  let resealed = 0
  let tokens = 0
  let unreadable: Rotated['unreadable'] = []
  // A gateway may have sealed to an old key until it was retired: what it left is found by the next round.
  for (let round = 0; round < 10; round++) {
    const folder = await readKeyFolder(dir)
    const old = new Map(folder.sealing.map((key) => [key.id, key]))
    const rows = (await sealedCredentials(store.db)).filter((row) => row.keyId !== next.id)
    unreadable = rows
      .filter((row) => !old.has(row.keyId))
      .map(({ name, scope, scopeId }) => ({ name, scope, scopeId }))
    for (const row of rows.filter(({ keyId }) => old.has(keyId))) {
      say(`sealing ${row.name} (${row.scope}) to ${next.id}`)
      if (await reseal(options, row, next, old)) resealed += 1
    }
    say(`sealing minted tokens to ${next.id}`)
    const sealed = await resealTokens(store, next, old)
    tokens += sealed.resealed
    let left = 0
    for (const { id } of await egressKeys(store.db)) {
      if (id === next.id) continue
      if (sealed.stuck.has(id) || rows.some((row) => row.keyId === id && !old.has(id))) continue
      say(`retiring ${id}`)
      if (!(await retire(store, id, by))) {
        left += 1
        continue
      }
      retired.push(id)
      const file = old.get(id)
      if (file !== undefined) await removeKey(file)
    }
    if (left === 0) {
      await notify(store.db, { kind: 'egress_keys' })
      const unreadableTokens = await countOthers(store, next.id)
      return { keyId: next.id, resealed, tokens, unreadableTokens, unreadable, retired }
    }
  }
  throw new AppError('conflict', 'not finished: old keys are still being sealed to; run this again')
}

async function countOthers(store: Store, keyId: string): Promise<number> {
  let count = 0
  for (const [id, tokens] of await tokensByKey(store.db)) if (id !== keyId) count += tokens
  return count
}

async function retire(store: Store, id: string, by: string): Promise<boolean> {
  return await store.db
    .transaction()
    .execute(async (tx) => {
      if (!(await retireEgressKey(tx, id))) throw new StillInUse()
      await appendEvents(tx, [{ kind: 'egress_key.retired', data: { keyId: id, by } }])
      return true
    })
    .catch((error: unknown) => {
      if (error instanceof StillInUse) return false
      throw error
    })
}

/** Rolls the transaction back: after a refused statement it can do nothing else. */
class StillInUse extends Error {}

async function reseal(
  { store, by }: RotateOptions,
  row: CredentialRow,
  next: SealingKeyFile,
  old: ReadonlyMap<string, SealingKeyFile>,
): Promise<boolean> {
  const { name, scope, scopeId } = row
  const opening = new Map([...old].map(([id, key]) => [id, key.opening]))
  const value = await openCredential(opening, row)
  const sealed = await sealTo(next.publicKey, value, { keyId: next.id, name, scope, scopeId })
  const event: AuditEvent = {
    kind: 'credential.resealed',
    ...(scope === 'principal' && { principalId: scopeId as PrincipalId }),
    data: { credential: name, scope, fromKeyId: row.keyId, keyId: next.id, by },
  }
  return await store.db.transaction().execute(async (tx) => {
    // Not written when somebody has set another value since: that one is sealed to the new key, or found next round.
    if (!(await resealCredential(tx, row, { keyId: next.id, sealed }))) return false
    await appendEvents(tx, [event])
    await notify(tx, { kind: 'credential' })
    return true
  })
}
