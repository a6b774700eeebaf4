import { readFile } from 'node:fs/promises'

/** Where Linux systems keep the certificates they trust as one file; the first that exists is the machine's. */
export const certificateBundles: readonly string[] = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
]

/** `own`, and behind it what this machine trusts, as one PEM text. Where the machine's has it already, it is that. */
export async function withMachineTrust(own: string): Promise<string> {
  for (const path of certificateBundles) {
    const bundle = await readFile(path, 'utf8').catch(() => undefined)
    if (bundle !== undefined) return bundle.includes(own.trim()) ? bundle : `${own.trimEnd()}\n${bundle}`
  }
  return `${own.trimEnd()}\n`
}
