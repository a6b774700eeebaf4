import { hkdfSync, randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Pepper } from './access/index.ts'
import { Secret } from './core/index.ts'

/** The pepper kept in `stateDir`, made on first use: for one host. Several replicas share one by TOOLCRIB_PEPPERS. */
export async function localPepper(stateDir: string): Promise<Pepper> {
  const folder = join(stateDir, 'keys')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, 'pepper')
  try {
    // Exclusive, so that of two starters one makes it and the other reads it.
    await writeFile(path, randomBytes(32).toString('base64url'), { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return { id: 'local', value: new Secret(await readFile(path, 'utf8')) }
}

/** A key for another purpose, from the pepper: the same on every replica, and no way back. */
export function deriveKey(pepper: Secret, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', pepper.reveal(), 'toolcrib', purpose, 32))
}
