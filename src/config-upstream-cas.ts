import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/**
 * The texts of `egress.upstream_ca_files`, PEM, and what is wrong with every file that cannot be used: TLS would pass
 * over one without a certificate in silence, and trust nothing by it.
 */
export function readUpstreamCas(
  names: readonly string[],
  baseDir: string,
): { texts: string[]; problems: string[] } {
  const problems: string[] = []
  const texts = names.map((name) => {
    const path = resolve(baseDir, name)
    try {
      const text = readFileSync(path, 'utf8')
      const found = text.match(certificate) ?? []
      if (found.length === 0) problems.push(`${path} holds no certificate; it is to hold one or more in PEM`)
      for (const pem of found) new X509Certificate(pem)
      return text
    } catch (error) {
      const { code, syscall } = error as NodeJS.ErrnoException
      problems.push(
        syscall === undefined
          ? `${path} holds a certificate that is damaged; get it anew`
          : `${path} cannot be read (${code}); name a readable file, from the folder of the configuration`,
      )
      return ''
    }
  })
  return { texts, problems: problems.map((problem) => `egress.upstream_ca_files: ${problem}`) }
}
