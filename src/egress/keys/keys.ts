import { AppError } from '../../core/index.ts'
import type { OpeningKey } from '../../vault/index.ts'
import type { Authority } from './authority.ts'
import {
  addAuthority,
  addSealingKey,
  type KeyFolder,
  makeKeyFolder,
  readKeyFolder,
  type SealingKeyFile,
} from './key-folder.ts'

/** Everything that only the egress process may hold. */
export interface EgressKeys {
  /** Every key that credentials may be sealed to, by id; `reload` changes it in place. */
  readonly opening: ReadonlyMap<string, OpeningKey>
  /** CAs that can be signed with, by id, the newest last; never empty. */
  readonly authorities: ReadonlyMap<string, Authority>
  /** The newest sealing key and CA, public halves: what a first proxy makes known. */
  newest(): { id: string; publicKey: string; caCertificate: string }
  /** Reads the folder again. What is no longer there is forgotten by the first reload a minute later. */
  reload(now: number): Promise<void>
}

/** A row may have been read just before its key was retired. */
const forgetAfterMs = 60_000

/** Makes keys in `dir` when it has none, and loads them: harmless to call on every start. */
export async function generateEgressKeys(dir: string, now: number): Promise<EgressKeys> {
  await makeKeyFolder(dir)
  const found = await readKeyFolder(dir)
  if (found.sealing.length === 0) {
    if (found.authorities.length === 0) await addAuthority(dir, now)
    // Last, because its presence says that the folder is complete.
    await addSealingKey(dir, now)
  }
  return await loadEgressKeys(dir)
}

/** Loads the keys of `dir`; throws when they are missing, do not fit, or others than the owner could read them. */
export async function loadEgressKeys(dir: string): Promise<EgressKeys> {
  const opening = new Map<string, OpeningKey>()
  const authorities = new Map<string, Authority>()
  const missedSince = new Map<string, number>()
  let newest = take(await readComplete(dir))

  function take(folder: KeyFolder): ReturnType<EgressKeys['newest']> {
    for (const key of folder.sealing) opening.set(key.id, key.opening)
    // Anew, so that the newest stands last.
    for (const { id, authority } of folder.authorities) {
      authorities.delete(id)
      authorities.set(id, authority)
    }
    const key = folder.sealing.at(-1) as SealingKeyFile
    const caCertificate = folder.authorities.at(-1)?.authority.certificatePem ?? ''
    return { id: key.id, publicKey: key.publicKey, caCertificate }
  }

  function forget(folder: KeyFolder, now: number): void {
    const there = new Set([...folder.sealing, ...folder.authorities].map((key) => key.id))
    for (const keys of [opening, authorities])
      for (const id of keys.keys()) {
        if (there.has(id)) missedSince.delete(id)
        else if (!missedSince.has(id)) missedSince.set(id, now)
        else if (now - (missedSince.get(id) ?? now) >= forgetAfterMs) keys.delete(id)
      }
  }

  return {
    opening,
    authorities,
    newest: () => newest,
    async reload(now) {
      const folder = await readComplete(dir)
      newest = take(folder)
      forget(folder, now)
    },
  }
}

async function readComplete(dir: string): Promise<KeyFolder> {
  const folder = await readKeyFolder(dir)
  if (folder.sealing.length > 0 && folder.authorities.length > 0) return folder
  // A start makes the CA of a folder that has no sealing key either; to one that has, it leaves the choice.
  const [what, cure] =
    folder.sealing.length === 0
      ? ['are no egress keys', 'start `toolcrib egress` once']
      : ['is no certificate authority', 'run `toolcrib keys rotate --ca`']
  throw new AppError('not_found', `there ${what} in ${dir}; ${cure}, or restore the folder from a backup`)
}
