import { access, constants, mkdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { withMachineTrust } from '../core/index.ts'
import { trustStore } from './pkcs12.ts'

export interface TrustFiles {
  /** The system's certificates and the egress proxy's, for programs that take a single file. */
  bundleFile: string
  /** The same for Java, which reads no PEM; null where no Java is on the PATH. */
  javaTrustFile: string | null
  /** Start-up commands for wget, which asks no variable for the certificates themselves. */
  wgetFile: string
  /** A folder of settings for PHP, which asks no variable either. */
  phpFolder: string
}

/** Writes into `folder` what programs that do not look at `caFile` itself trust. */
export async function writeTrust(options: {
  caFile: string
  folder: string
  path: string
}): Promise<TrustFiles> {
  const { caFile, folder } = options
  const all = await withMachineTrust(await readFile(caFile, 'utf8'))
  const bundleFile = join(folder, `toolcrib-trust-${process.pid}.pem`)
  const wgetFile = join(folder, `toolcrib-wget-${process.pid}`)
  const phpFolder = join(folder, `toolcrib-php-${process.pid}`)
  const javaFile = join(folder, `toolcrib-trust-${process.pid}.p12`)
  // It stands in for the system's own, which goes on to hold; a line of the person's `~/.wgetrc` comes after both.
  const wget = `${(await readIfThere('/etc/wgetrc')) ?? ''}\nca_certificate = ${bundleFile}\n`
  const php = ['curl.cainfo', 'openssl.cafile'].map((name) => `${name} = "${bundleFile}"\n`).join('')
  await mkdir(phpFolder, { recursive: true, mode: 0o755 })
  const [withJava] = await Promise.all([
    hasProgram('java', options.path),
    writeFile(join(phpFolder, 'trust.ini'), php, { mode: 0o644 }),
    writeFile(bundleFile, all, { mode: 0o644 }),
    writeFile(wgetFile, wget, { mode: 0o644 }),
  ])
  if (withJava) await writeFile(javaFile, trustStore(certificatesIn(all)), { mode: 0o644 })
  return { bundleFile, javaTrustFile: withJava ? javaFile : null, wgetFile, phpFolder }
}

function certificatesIn(pem: string): Buffer[] {
  const blocks = pem.matchAll(/-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/g)
  return [...blocks].map((block) => Buffer.from(block[1] ?? '', 'base64'))
}

async function hasProgram(name: string, path: string): Promise<boolean> {
  const looks = path.split(delimiter).map((folder) => access(join(folder, name), constants.X_OK))
  return (await Promise.allSettled(looks)).some((look) => look.status === 'fulfilled')
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return undefined
  }
}
