import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Where Linux systems keep the certificates they trust; the first that exists is taken. */
const systemBundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
]

/**
 * Writes one file with the system's certificates and the egress proxy's, for programs that take a single bundle,
 * and returns its path.
 */
export async function writeTrustBundle(caFile: string, folder: string): Promise<string> {
  const own = await readFile(caFile, 'utf8')
  const system = (await Promise.all(systemBundles.map(readIfThere))).find((text) => text !== undefined) ?? ''
  const path = join(folder, `toolcrib-trust-${process.pid}.pem`)
  await writeFile(path, `${own.trimEnd()}\n${system}`, { mode: 0o644 })
  return path
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return undefined
  }
}
