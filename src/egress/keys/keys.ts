import { chmod, mkdir, open as openFile, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError, Secret } from '../../core/index.ts'
import { generateSealingKey, importOpeningKey, type OpeningKey, sealingKeyId } from '../../vault/index.ts'
import { type Authority, generateAuthority, importAuthority } from './certificates.ts'

/** Everything that only the egress process may hold. */
export interface EgressKeys {
  /** Every key that credentials may be sealed to, by id. */
  opening: ReadonlyMap<string, OpeningKey>
  authority: Authority
  /** The public halves, newest last, as they are published for gateways and sandboxes. */
  published: { id: string; publicKey: string; caCertificate: string }[]
}

const caKeyFile = 'ca.key'
const caFile = 'ca.pem'
const sealingFile = /^sealing-(\d+)\.json$/

/** Makes keys in `dir` when it has none, and loads them: harmless to call on every start. */
export async function generateEgressKeys(dir: string, now: number): Promise<EgressKeys> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await chmod(dir, 0o700)
  const names = await readdir(dir)
  if (!names.some((name) => sealingFile.test(name))) {
    if (!names.includes(caFile)) {
      const { certificatePem, keyPem } = await generateAuthority(now)
      // A key without its certificate is from a start that was cut short, and has signed nothing.
      await rm(join(dir, caKeyFile), { force: true })
      await writeNew(join(dir, caKeyFile), keyPem)
      await writeNew(join(dir, caFile), certificatePem)
    }
    const { publicKey, privateKey } = await generateSealingKey()
    // Last, because its presence says that the directory is complete.
    await writeNew(
      join(dir, `sealing-${now}.json`),
      `${JSON.stringify({ publicKey, privateKey: privateKey.reveal() })}\n`,
    )
  }
  return await loadEgressKeys(dir)
}

/** Loads the keys of `dir`; throws when they are missing, do not fit, or others than the owner could read them. */
export async function loadEgressKeys(dir: string): Promise<EgressKeys> {
  const names = await readdir(dir).catch((cause: unknown) => {
    throw new AppError('not_found', `there are no egress keys in ${dir}; start \`toolcrib egress\` once`, {
      cause,
    })
  })
  const sealing = names.filter((name) => sealingFile.test(name)).sort(byNumber)
  if (sealing.length === 0) {
    throw new AppError('not_found', `there are no egress keys in ${dir}; start \`toolcrib egress\` once`)
  }
  const certificatePem = await readFile(join(dir, caFile), 'utf8')
  const authority = await importAuthority(certificatePem, await readPrivate(join(dir, caKeyFile))).catch(
    (cause: unknown) => {
      if (cause instanceof AppError) throw cause
      throw new AppError('internal', `${caKeyFile} and ${caFile} in ${dir} do not belong together`, { cause })
    },
  )
  const opening = new Map<string, OpeningKey>()
  const published: EgressKeys['published'] = []
  for (const name of sealing) {
    const { publicKey, privateKey } = parseSealing(await readPrivate(join(dir, name)), join(dir, name))
    const id = sealingKeyId(publicKey)
    opening.set(id, await importOpeningKey(id, privateKey))
    published.push({ id, publicKey, caCertificate: certificatePem })
  }
  return { opening, authority, published }
}

const byNumber = (a: string, b: string) =>
  Number(sealingFile.exec(a)?.[1] ?? 0) - Number(sealingFile.exec(b)?.[1] ?? 0)

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
    throw new AppError('internal', `${path} is not a sealing key; restore it from a backup`)
  }
  return { publicKey, privateKey: new Secret(privateKey) }
}

async function readPrivate(path: string): Promise<string> {
  const facts = await stat(path)
  if ((facts.mode & 0o077) !== 0) {
    throw new AppError(
      'forbidden',
      `${path} can be read by others than its owner; run \`chmod 600 ${path}\`, and change the keys if somebody did`,
    )
  }
  return await readFile(path, 'utf8')
}

/** Never overwrites, and is on the disk before it returns. */
async function writeNew(path: string, text: string): Promise<void> {
  const file = await openFile(path, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}
