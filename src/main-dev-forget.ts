import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { silentLog } from './core/index.ts'
import { createLocalDriver, endUnrecorded } from './runners/index.ts'
import { removeEmbeddedPostgres } from './store/index.ts'

const kept = [
  'postgres',
  'sandboxes',
  'keys',
  'egress-keys',
  'egress',
  'egress.yaml',
  'egress-ca.pem',
  'demo-ca.pem',
  'connection.json',
  'database-url',
  'ports.json',
]

/** Removes everything that `npm run dev` keeps in `folder`; sandboxes that a killed run left there end first. */
export async function forget(folder: string): Promise<void> {
  await endSandboxes(folder)
  await removeEmbeddedPostgres(join(folder, 'postgres'))
  for (const name of kept) await rm(join(folder, name), { recursive: true, force: true })
}

/**
 * Ends every sandbox of `folder`, of any isolation, by its record or, where that is gone, by its processes, and without
 * asking it first. Homes stay. For whoever has claimed the folder.
 */
export async function endSandboxes(folder: string): Promise<void> {
  if (existsSync(folder)) await endRecorded(folder)
  await endUnrecorded(join(folder, 'sandboxes'))
}

async function endRecorded(folder: string): Promise<void> {
  const driver = await createLocalDriver({
    stateDir: join(folder, 'sandboxes'),
    isolation: 'none',
    nodePath: process.execPath,
    appDir: folder,
    egressSocketDir: folder,
    log: silentLog,
  })
  const limit = AbortSignal.timeout(30_000)
  // Again, for one that was being made at the first look.
  for (;;) {
    const left = await driver.list(limit)
    if (left.length === 0) return
    await Promise.all(left.map(async ({ name, uid }) => await driver.delete(name, uid, 0, limit)))
  }
}
