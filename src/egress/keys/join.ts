import { AppError } from '../../core/index.ts'
import { egressKeys, liveHolders, publishFirstEgressKey, type Store } from '../../store/index.ts'
import { findKeyFolder } from './key-folder.ts'
import { type EgressKeys, generateEgressKeys } from './keys.ts'

/**
 * The keys of `dir` for a proxy that is about to start. They are made only where the deployment has none: a folder that
 * will not do is left as it is, so that nothing in it must be told from the real keys later. Throws `conflict` then.
 */
export async function keysToStartWith(store: Store, dir: string, now: number): Promise<EgressKeys> {
  const published = await egressKeys(store.db)
  const hasKeys = ((await findKeyFolder(dir))?.sealing.length ?? 0) > 0
  if (published.length > 0 && !hasKeys) throw holdsNone(published)
  return await generateEgressKeys(dir, now)
}

/**
 * Makes keys where `dir` has none, to take the place of lost ones. Throws `conflict` while a live proxy can still open
 * what is sealed, and `dir` cannot: then they are not lost, and this may be the wrong machine or the wrong folder.
 */
export async function makeKeysForLost(store: Store, dir: string, now: number): Promise<void> {
  const here = (await findKeyFolder(dir))?.sealing ?? []
  const published = await egressKeys(store.db)
  // Whoever has one of them is told so by what comes next.
  if (here.some((key) => published.some(({ id }) => id === key.id))) return
  const holder = (await liveHolders(store.db)).find(({ held }) =>
    published.some(({ id }) => held?.opens.includes(id)),
  )
  if (holder !== undefined)
    throw new AppError(
      'conflict',
      `the key is not lost: the proxy ${holder.name} has it; copy its key folder to ${dir}, or, if that folder is gone too, stop the proxy, wait half a minute and run this again`,
    )
  if (here.length === 0) await generateEgressKeys(dir, now)
}

/**
 * A deployment's first proxy makes its keys known. Every other must hold one of those: a proxy with a folder of its
 * own would take credentials that no other can open. Throws `conflict` when this one holds none.
 */
export async function joinDeployment(store: Store, keys: EgressKeys): Promise<void> {
  if (await publishFirstEgressKey(store.db, keys.newest())) return
  const published = await egressKeys(store.db)
  if (!published.some((key) => keys.opening.has(key.id))) throw holdsNone(published)
}

function holdsNone(published: { id: string }[]): AppError {
  return new AppError(
    'conflict',
    `this deployment's credentials are sealed to ${published.map((key) => key.id).join(', ')}, and the key folder of this proxy has none of them; copy the folder \`egress-keys\` of the proxy that has, restore it from a backup, or, if it is lost, run \`toolcrib keys rotate --lost\``,
  )
}
