import { AppError, type RunnerId } from '../../core/index.ts'
import {
  appendEvents,
  egressCas,
  notify,
  promoteEgressCa,
  retireEgressCa,
  runnersOlderThanCa,
  trustEgressCa,
} from '../../store/index.ts'
import { alone, ownFolder, type RotateOptions, untilHeld } from './changing.ts'
import { type AuthorityFile, addAuthority, readKeyFolder, removeKey } from './key-folder.ts'

export interface RotatedCa {
  caId: string
  retired: string[]
  /** The runners whose live sandboxes trust only the old CA; while there are any nothing is signed with the new one. */
  sandboxes: RunnerId[]
}

/**
 * Makes a new CA and has new sandboxes trust it beside the old one. Once no sandbox is left that was made before,
 * and every live proxy holds it, proxies sign with it, and the old one is retired. Until then it returns how many
 * sandboxes are waited for; run again, it goes on. Throws as `rotateSealingKey` does.
 */
export async function rotateCa(options: RotateOptions): Promise<RotatedCa> {
  return await alone(options.store, async () => {
    const { store, say } = options
    await ownFolder(options)
    const next = await nextCa(options)
    say(`new sandboxes trust ${next.id} as well`)
    await trust(options, next)
    await untilHeld(options, next.id, (held) => held.cas.includes(next.id))
    const sandboxes = await runnersOlderThanCa(store.db, next.id)
    if (sandboxes.length > 0) return { caId: next.id, retired: [], sandboxes }
    say(`proxies sign with ${next.id} from now on`)
    await promote(options, next.id)
    await untilHeld(options, next.id, (held) => held.signs === next.id)
    return { caId: next.id, retired: await retireOthers(options, next.id), sandboxes: [] }
  })
}

/** With the old CA's key lost there is no overlap: sandboxes that run trust nothing that can still be signed. */
export async function replaceLostCa(options: RotateOptions): Promise<RotatedCa> {
  return await alone(options.store, async () => {
    const next = (await readKeyFolder(options.dir)).authorities.at(-1)
    if (next === undefined) throw new AppError('not_found', `there is no CA in ${options.dir}`)
    options.say(`proxies sign with ${next.id} from now on`)
    await trust(options, next)
    await promote(options, next.id)
    const sandboxes = await runnersOlderThanCa(options.store.db, next.id)
    return { caId: next.id, retired: await retireOthers(options, next.id), sandboxes }
  })
}

/** The newest CA of the folder, as an interrupted run leaves it, or a new one where that signs and stands alone. */
async function nextCa({ store, dir, now, say }: RotateOptions): Promise<AuthorityFile> {
  const [signs, ...others] = await egressCas(store.db)
  const newest = async () => (await readKeyFolder(dir)).authorities.at(-1)
  const found = await newest()
  const isDone = found?.id === signs?.id && signs?.signsSince !== null && others.length === 0
  if (found !== undefined && !isDone) return found
  say('making a new CA')
  await addAuthority(dir, now)
  const made = await newest()
  if (made === undefined) throw new AppError('not_found', `there is no CA in ${dir}`)
  return made
}

async function trust({ store, by }: RotateOptions, { id, authority }: AuthorityFile): Promise<void> {
  await store.db.transaction().execute(async (tx) => {
    if ((await egressCas(tx)).some((ca) => ca.id === id)) return
    await trustEgressCa(tx, { certificate: authority.certificatePem, signs: false })
    await appendEvents(tx, [{ kind: 'egress_ca.trusted', data: { caId: id, by } }])
    await notify(tx, { kind: 'egress_keys' })
  })
}

async function promote({ store, by }: RotateOptions, id: string): Promise<void> {
  await store.db.transaction().execute(async (tx) => {
    if ((await egressCas(tx)).some((ca) => ca.id === id && ca.signsSince !== null)) return
    await promoteEgressCa(tx, id)
    await appendEvents(tx, [{ kind: 'egress_ca.signs', data: { caId: id, by } }])
    await notify(tx, { kind: 'egress_keys' })
  })
}

async function retireOthers({ store, dir, by, say }: RotateOptions, id: string): Promise<string[]> {
  const others = (await egressCas(store.db)).filter((ca) => ca.id !== id)
  for (const ca of others) {
    say(`retiring ${ca.id}`)
    await store.db.transaction().execute(async (tx) => {
      await retireEgressCa(tx, ca.id)
      await appendEvents(tx, [{ kind: 'egress_ca.retired', data: { caId: ca.id, by } }])
    })
  }
  for (const file of (await readKeyFolder(dir)).authorities) if (file.id !== id) await removeKey(file)
  await notify(store.db, { kind: 'egress_keys' })
  return others.map((ca) => ca.id)
}
