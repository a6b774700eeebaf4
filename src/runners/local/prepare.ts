import { execFile } from 'node:child_process'
import { chmod, chown, lstat, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { withMachineTrust } from '../../core/index.ts'
import type { ToolhostSettingsInput } from '../../wire/index.ts'
import type { SandboxSpec } from '../driver.ts'
import { isForeign } from './accounts.ts'
import { toolPath } from './chain.ts'
import type { RunnerPaths } from './layout.ts'
import { inside } from './mounts.ts'
import { leftovers } from './record.ts'

const run = promisify(execFile)

/**
 * Makes everything that one life needs on disk. Only ever called by the holder of the lock, so what earlier
 * lives left can be removed without asking whose it is. Homes are made, never emptied.
 */
export async function prepareFiles(options: {
  paths: RunnerPaths
  spec: SandboxSpec
  home: string
  socketFolder: string
  /** What the toolhost is told, as the JSON file that is its only argument. */
  settings: ToolhostSettingsInput
  /** The user that sandboxes of this home run as; `undefined`: the same as this process. */
  userId: number | undefined
}): Promise<void> {
  const { paths, spec, home, socketFolder, settings, userId } = options
  for (const path of await leftovers(paths)) await rm(path, { recursive: true, force: true })
  await writeFile(paths.log, '', { mode: 0o600 })

  const files = paths.files(spec.generation)
  await mkdir(files, { mode: 0o755 })
  await chmod(files, 0o755)
  const texts = {
    ...etcFiles(),
    'settings.json': JSON.stringify(settings),
    'ca.pem': spec.caCertificate,
    'trust.pem': await withMachineTrust(spec.caCertificate),
  }
  await Promise.all(
    Object.entries(texts).map(async ([name, text]) => {
      await writeFile(join(files, name), text, { mode: 0o644 })
      await chmod(join(files, name), 0o644)
    }),
  )
  // Made anew, and not by anybody else: outside of the state directory others could be first.
  await rm(socketFolder, { recursive: true, force: true })
  await mkdir(socketFolder, { mode: 0o700 })
  await ownFolder(socketFolder, userId)
  await ownFolder(home, userId)
}

/** A folder that only `userId` can enter. One that belonged to another user before is handed over whole. */
async function ownFolder(folder: string, userId: number | undefined): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if (!(await lstat(folder)).isDirectory()) throw new Error(`${folder} is not a directory`)
  if (userId !== undefined && (await isForeign(folder, userId))) {
    await run('chown', ['-R', '-P', '--no-dereference', `${userId}:${userId}`, '--', folder], {
      env: { PATH: toolPath },
    })
    await chown(folder, userId, userId)
  }
  await chmod(folder, 0o700)
}

function etcFiles(): Record<string, string> {
  return {
    passwd: `crib:x:1000:1000:crib:${inside.home}:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n`,
    group: 'crib:x:1000:\nnogroup:x:65534:\n',
    hosts: '127.0.0.1 localhost crib\n::1 localhost\n',
    'resolv.conf': '# There is no name service in here: the egress proxy resolves names.\n',
    'nsswitch.conf':
      'passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n',
    hostname: 'crib\n',
  }
}
