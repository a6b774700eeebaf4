import { appendFile, mkdir, open, readdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { captureBytes } from './capture.ts'
import { codeOf, home, inHome, RefusedPath } from './home.ts'

const listLimit = 1_000

/** Text of a file from `offset` (bytes), at most 256 KiB; says where to go on when there is more. */
export async function readText(path: string, offset: number): Promise<string> {
  const file = await open(await inHome(path)).catch((error: unknown) => refuse(path, error))
  try {
    const facts = await file.stat()
    if (!facts.isFile()) throw new RefusedPath(`"${path}" is not a file`)
    const buffer = Buffer.alloc(Math.max(0, Math.min(captureBytes, facts.size - offset)))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset)
    const part = buffer.subarray(0, bytesRead)
    if (part.includes(0)) return `"${path}" is a binary file of ${facts.size} bytes; use the run tool on it`
    const next = offset + bytesRead
    const more =
      next < facts.size ? `\n[… ${facts.size - next} bytes more; read on with offset ${next} …]` : ''
    return part.toString('utf8') + more
  } finally {
    await file.close()
  }
}

/** Writes or appends a file, making its folders; returns a sentence. */
export async function writeText(path: string, content: string, append: boolean): Promise<string> {
  const real = await inHome(path)
  try {
    await mkdir(dirname(real), { recursive: true })
    await (append ? appendFile : writeFile)(real, content)
  } catch (error) {
    refuse(path, error)
  }
  return `${append ? 'appended' : 'wrote'} ${Buffer.byteLength(content)} bytes to ${relative(home, real)}`
}

/** One line for each entry of a folder, by name: `size  name`, folders with a slash. */
export async function listFolder(path: string): Promise<string> {
  const real = await inHome(path)
  const entries = await readdir(real, { withFileTypes: true }).catch((error: unknown) => refuse(path, error))
  entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  const lines = await Promise.all(
    entries.slice(0, listLimit).map(async (entry) => {
      if (entry.isDirectory()) return `${'-'.padStart(10)}  ${entry.name}/`
      const size = await stat(join(real, entry.name)).then(
        (facts) => String(facts.size),
        () => '?', // a link that leads nowhere, or gone meanwhile
      )
      return `${size.padStart(10)}  ${entry.name}`
    }),
  )
  const more = entries.length > listLimit ? [`[… ${entries.length - listLimit} entries more …]`] : []
  return [...lines, ...more].join('\n') || '(empty)'
}

function refuse(path: string, error: unknown): never {
  const reasons: Record<string, string> = {
    ENOENT: 'does not exist',
    EISDIR: 'is a folder',
    ENOTDIR: 'is not a folder, or something on the way to it is not',
    EACCES: 'may not be accessed',
    ENOSPC: 'cannot be written: the disk is full',
    EROFS: 'is on a part of the disk that cannot be written',
  }
  const reason = reasons[codeOf(error) ?? '']
  if (reason === undefined) throw error
  throw new RefusedPath(`"${path}" ${reason}`, { cause: error })
}
