import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g
const beginning = /-----BEGIN CERTIFICATE-----/g

/**
 * The certificates of `egress.upstream_ca_files`, PEM, a text for each file, and what is wrong with every file that
 * cannot be used: TLS would pass over it in silence, and trust nothing by it. The texts hold what was looked at and
 * nothing else, for TLS stops reading at what it does not understand.
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
      else if (found.length < (text.match(beginning)?.length ?? 0)) problems.push(damaged(path))
      const read = found.map((pem) => new X509Certificate(pem))
      if (read.some(isNobodys)) {
        problems.push(
          `${path} holds a certificate that is no authority's; name a file with that of the authority which signed it`,
        )
      }
      return read.map(String).join('')
    } catch (error) {
      const { code, syscall } = error as NodeJS.ErrnoException
      problems.push(
        syscall === undefined
          ? damaged(path)
          : `${path} cannot be read (${code}); name a readable file, from the folder of the configuration`,
      )
      return ''
    }
  })
  return { texts, problems: problems.map((problem) => `egress.upstream_ca_files: ${problem}`) }
}

const damaged = (path: string) => `${path} holds a certificate that is damaged; get it anew`

/** One that vouches for nobody, itself included. */
function isNobodys({ ca, subject, issuer }: X509Certificate): boolean {
  return !ca && subject !== issuer
}
