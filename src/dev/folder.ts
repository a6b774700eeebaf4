import { chmod, mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../core/index.ts'

/** The one folder of `npm run dev`, held by one process at a time. */
export interface DevFolder {
  readonly path: string
  /** Whether another process has claimed it since, as one may that finds it removed. */
  isTaken(): Promise<boolean>
  [Symbol.asyncDispose](): Promise<void>
}

/** Claims `path`; refuses while another live process has it. A claim left by a killed process is taken over. */
export async function claimFolder(path: string): Promise<DevFolder> {
  try {
    await mkdir(path, { recursive: true })
    // Others may pass through (the database runs as another user when this is root), not look inside.
    await chmod(path, 0o711)
  } catch (error) {
    throw new AppError(
      'unavailable',
      `cannot write ${path}: run in a folder that you may write, with space left`,
      { cause: error },
    )
  }
  const claim = join(path, 'pid')
  for (let attempt = 0; ; attempt += 1) {
    try {
      await using file = await open(claim, 'wx', 0o600)
      await file.writeFile(String(process.pid))
      break
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOSPC')
        throw new AppError('unavailable', 'the disk is full: free some space and start again', {
          cause: error,
        })
      if (code !== 'EEXIST' || attempt > 3) throw error
      const holder = Number(await readFile(claim, 'utf8').catch(() => ''))
      if (await runsDev(holder)) {
        throw new AppError(
          'conflict',
          `npm run dev already runs here as process ${holder}; stop it first (Ctrl-C there, or kill ${holder})`,
        )
      }
      await rm(claim, { force: true })
    }
  }
  const claimant = async () => await readFile(claim, 'utf8').catch(() => '')
  return {
    path,
    isTaken: async () => !['', String(process.pid)].includes(await claimant()),
    async [Symbol.asyncDispose]() {
      if ((await claimant()) === String(process.pid)) await rm(claim, { force: true })
    },
  }
}

/** Whether process `pid` lives and is this program, so that a reused number does not lock anybody out. */
async function runsDev(pid: number): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 1 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => 'toolcrib dev')
  return commandLine.includes('toolcrib') && commandLine.includes('dev')
}
