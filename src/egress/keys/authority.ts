import { randomBytes, webcrypto } from 'node:crypto'
import { der } from '../../core/index.ts'
import {
  BasicConstraintsExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from './x509.ts'

export const curve = { name: 'ECDSA', namedCurve: 'P-256' } as const
export const signing = { name: 'ECDSA', hash: 'SHA-256' } as const
export const day = 86_400_000

/** A certificate authority; the key never leaves the process and cannot be exported. */
export interface Authority {
  certificatePem: string
  key: webcrypto.CryptoKey
}

/** A new root, as PEM texts: it may sign issuing certificates, and nothing below those but leaves. */
export async function generateAuthority(now: number): Promise<{ certificatePem: string; keyPem: string }> {
  const keys = await webcrypto.subtle.generateKey(curve, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=Toolcrib egress CA ${randomBytes(4).toString('hex')}`,
    notBefore: new Date(now - day),
    notAfter: new Date(now + 3650 * day),
    keys,
    signingAlgorithm: signing,
    extensions: [
      new BasicConstraintsExtension(true, 1, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return { certificatePem: certificate.toString('pem'), keyPem: PemConverter.encode(pkcs8, 'PRIVATE KEY') }
}

/** The CA from its PEM texts; the key cannot be exported again. Throws when the two do not belong together. */
export async function importAuthority(certificatePem: string, keyPem: string): Promise<Authority> {
  const [pkcs8] = PemConverter.decode(keyPem)
  if (pkcs8 === undefined) throw new Error('no private key in the PEM text')
  const key = await webcrypto.subtle.importKey('pkcs8', pkcs8, curve, false, ['sign'])
  const publicKey = await new X509Certificate(certificatePem).publicKey.export(curve, ['verify'])
  const probe = randomBytes(32)
  const signature = await webcrypto.subtle.sign(signing, key, probe)
  if (!(await webcrypto.subtle.verify(signing, publicKey, signature, probe))) {
    throw new Error('the certificate was made for another key')
  }
  return { certificatePem, key }
}

/**
 * Names the key that signed. It is the CA's own identifier as it stands in the CA's certificate: one that is
 * computed anew may differ, and clients then reject what was signed.
 */
export function authorityKeyId(issuer: X509Certificate): Extension {
  const keyId = issuer.getExtension(SubjectKeyIdentifierExtension)?.keyId
  if (keyId === undefined) throw new Error('the CA has no subject key identifier; make another')
  return new Extension('2.5.29.35', false, der(0x30, der(0x80, Buffer.from(keyId, 'hex'))))
}

/** 127 random bits, positive and minimal in DER. */
export function serial(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString('hex')
}
