import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  cryptoProvider,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'

/** A throwaway authority and a leaf for `host`, both good for a week; the authority's key is dropped at once. */
export async function demoCertificate(
  host: string,
): Promise<{ ca: string; certificate: string; key: string }> {
  const crypto = webcrypto
  cryptoProvider.set(crypto)
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const authorityKeys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const leafKeys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const notBefore = new Date(Date.now() - 60_000)
  const notAfter = new Date(Date.now() + 7 * 86_400_000)
  const authority = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=Crib Works demo authority',
    keys: authorityKeys,
    notBefore,
    notAfter,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  })
  const leaf = await X509CertificateGenerator.create({
    subject: `CN=${host}`,
    issuer: authority.subject,
    publicKey: leafKeys.publicKey,
    signingKey: authorityKeys.privateKey,
    notBefore,
    notAfter,
    signingAlgorithm: algorithm,
    extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: host }])],
  })
  const key = PemConverter.encode(await crypto.subtle.exportKey('pkcs8', leafKeys.privateKey), 'PRIVATE KEY')
  return { ca: authority.toString('pem'), certificate: leaf.toString('pem'), key }
}
