import { createPrivateKey, X509Certificate } from 'node:crypto'
import { AppError, Secret } from '../core/index.ts'

const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/**
 * Key material in its one spelling: the private key as unencrypted PKCS#8, then the certificates, its own first.
 * Throws `invalid_input` for a key or a certificate that cannot be read, or that do not belong together.
 */
export function normalKey(name: string, value: Secret): Secret {
  const refuse = (what: string, cure: string) =>
    new AppError('invalid_input', `the value for ${name} looks like ${what}; ${cure}`)
  const text = value.reveal()
  const certificates = text.match(certificate) ?? []
  try {
    const key = createPrivateKey(text)
    const chain = certificates.map((pem) => new X509Certificate(pem))
    const [own] = chain
    if (own !== undefined && !own.checkPrivateKey(key))
      throw refuse(
        'a client certificate with another key than its own',
        'give the key, then the certificate made for it, then those that signed it',
      )
    const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString()
    return new Secret([pem, ...chain.map((one) => one.toString())].join(''))
  } catch (error) {
    if (error instanceof AppError) throw error
    // The reason is left out: a parser's message may quote what it read.
    throw refuse(
      certificates.length === 0
        ? 'a private key and cannot be read as one'
        : 'a client certificate with its key and cannot be read as one',
      'give an unencrypted PEM, e.g. openssl pkcs8 -topk8 -nocrypt -in key.pem',
    )
  }
}
