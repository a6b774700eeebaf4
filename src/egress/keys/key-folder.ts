import { chmod, link, mkdir, open as openFile, readdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AppError, refuseUnreadable, Secret } from '../../core/index.ts'
import { egressCaId } from '../../store/index.ts'
import { generateSealingKey, importOpeningKey, type OpeningKey, sealingKeyId } from '../../vault/index.ts'
import { type Authority, generateAuthority, importAuthority } from './authority.ts'

/** One private key of the folder; `number` grows with every new one, `files` hold it. */
export interface SealingKeyFile {
  number: number
  files: string[]
  id: string
  publicKey: string
  opening: OpeningKey
}
export interface AuthorityFile {
  number: number
  files: string[]
  id: string
  authority: Authority
}
/** What lies in the folder, oldest first. */
export interface KeyFolder {
  sealing: SealingKeyFile[]
  authorities: AuthorityFile[]
}

/** What runs as the owner of the folder. */
const egressCommand = 'toolcrib egress'

const sealingFile = /^sealing-(\d+)\.json$/
/** The first CA of a folder has no number: so it was before they could be changed. */
const caFile = /^ca(?:-(\d+))?\.pem$/

/** Makes the folder, closed to others. */
export async function makeKeyFolder(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await chmod(dir, 0o700)
}

/**
 * Reads all keys; throws when one is damaged, or others than its owner could read it, `forbidden` when this user may
 * not, and `not_found` when there is no folder.
 */
export async function readKeyFolder(dir: string): Promise<KeyFolder> {
  const folder = await findKeyFolder(dir)
  if (folder !== undefined) return folder
  throw new AppError(
    'not_found',
    `there are no egress keys in ${dir}; start \`toolcrib egress\` once, or restore the folder from a backup`,
  )
}

/** The same, and undefined when there is no folder. */
export async function findKeyFolder(dir: string): Promise<KeyFolder | undefined> {
  const names = await readdir(dir).catch((cause: NodeJS.ErrnoException) => {
    refuseUnreadable(cause, dir, egressCommand)
    if (cause.code !== 'ENOENT') throw cause
    return undefined
  })
  return names === undefined ? undefined : await readKeys(dir, names)
}

async function readKeys(dir: string, names: string[]): Promise<KeyFolder> {
  const numbered = (form: RegExp) =>
    names
      .flatMap((name) => {
        const match = form.exec(name)
        return match === null ? [] : [{ name, number: Number(match[1] ?? 0) }]
      })
      .sort((a, b) => a.number - b.number)
  const sealing: SealingKeyFile[] = []
  for (const { name, number } of numbered(sealingFile)) {
    const path = join(dir, name)
    const { publicKey, privateKey } = parseSealing(await readPrivate(path), path)
    const id = sealingKeyId(publicKey)
    const opening = await importOpeningKey(id, privateKey)
    sealing.push({ number, files: [path], id, publicKey, opening })
  }
  const authorities: AuthorityFile[] = []
  for (const { name, number } of numbered(caFile)) {
    const path = join(dir, name)
    const keyPath = path.replace(/\.pem$/, '.key')
    const certificatePem = await readText(path)
    const authority = await importAuthority(certificatePem, await readPrivate(keyPath)).catch(() => {
      // Without what the parser says: it helps nobody, and could quote what it read.
      throw new AppError(
        'internal',
        `${keyPath} and ${path} are damaged or do not belong together; restore both from a backup, or move both away and run \`toolcrib keys rotate --ca\``,
      )
    })
    authorities.push({ number, files: [path, keyPath], id: egressCaId(certificatePem), authority })
  }
  return { sealing, authorities }
}

/** Makes a sealing key in a file of its own, newer than every other. */
export async function addSealingKey(dir: string, now: number): Promise<void> {
  const { sealing } = await readKeyFolder(dir)
  const { publicKey, privateKey } = await generateSealingKey()
  await writeNew(
    join(dir, `sealing-${Math.max(now, (sealing.at(-1)?.number ?? 0) + 1)}.json`),
    `${JSON.stringify({ publicKey, privateKey: privateKey.reveal() })}\n`,
  )
}

/** Makes a CA in files of its own, newer than every other. */
export async function addAuthority(dir: string, now: number): Promise<void> {
  const { authorities } = await readKeyFolder(dir)
  const number = Math.max(now, (authorities.at(-1)?.number ?? 0) + 1)
  const { certificatePem, keyPem } = await generateAuthority(now)
  // The certificate last, because its presence says that both are there.
  await writeNew(join(dir, `ca-${number}.key`), keyPem)
  await writeNew(join(dir, `ca-${number}.pem`), certificatePem)
}

export async function removeKey(key: { files: string[] }): Promise<void> {
  for (const path of key.files) await rm(path, { force: true })
}

function parseSealing(text: string, path: string): { publicKey: string; privateKey: Secret } {
  // The parser's own message would quote the text.
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    parsed = undefined
  }
  const { publicKey, privateKey } = (parsed ?? {}) as { publicKey?: unknown; privateKey?: unknown }
  if (typeof publicKey !== 'string' || typeof privateKey !== 'string') {
    throw new AppError(
      'internal',
      `${path} is not a sealing key; restore it from a backup, or, if that is lost, move it away and run \`toolcrib keys rotate --lost\``,
    )
  }
  return { publicKey, privateKey: new Secret(privateKey) }
}

async function readPrivate(path: string): Promise<string> {
  const facts = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    refuseUnreadable(cause, path, egressCommand)
    if (cause.code !== 'ENOENT') throw cause
    throw new AppError(
      'not_found',
      `${path} is missing: the certificate beside it cannot sign without it; restore it from a backup, or move that away too and run \`toolcrib keys rotate --ca\``,
    )
  })
  if ((facts.mode & 0o077) !== 0) {
    throw new AppError(
      'forbidden',
      `${path} can be read by others than its owner; run \`chmod 600 ${path}\`, and change the keys if somebody did`,
    )
  }
  return await readText(path)
}

async function readText(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((cause: unknown) => {
    refuseUnreadable(cause, path, egressCommand)
    throw cause
  })
}

/** Never overwrites; appears whole or not at all, and is on the disk before this returns. */
async function writeNew(path: string, text: string): Promise<void> {
  const unfinished = `${path}.unfinished`
  await rm(unfinished, { force: true })
  const file = await openFile(unfinished, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await link(unfinished, path)
  await rm(unfinished)
  // Its name, too: what is sealed to a key may be on the disk of the database a moment later.
  const folder = await openFile(dirname(path))
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
