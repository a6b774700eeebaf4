import 'reflect-metadata'
import { constants, randomBytes, webcrypto } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { LRUCache } from 'lru-cache'

const curve = { name: 'ECDSA', namedCurve: 'P-256' } as const
const signing = { name: 'ECDSA', hash: 'SHA-256' } as const
const day = 86_400_000

/** A certificate authority of one deployment; the key never leaves the egress process. */
export interface Authority {
  certificatePem: string
  key: webcrypto.CryptoKey
}

/** A new CA, as PEM texts: it may sign leaves and nothing below them. */
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
      new BasicConstraintsExtension(true, 0, true),
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

export interface Leaves {
  /** The TLS context that shows a certificate for `host`; signed once a host and day, however many ask at once. */
  contextFor(host: string): Promise<SecureContext>
}

/** Leaves share one key, made here and never written down; only the certificate differs by host. */
export async function createLeaves(options: {
  authority: Authority
  now: () => number
  cacheSize: number
}): Promise<Leaves> {
  const { authority } = options
  const issuer = new X509Certificate(authority.certificatePem)
  const keys = await webcrypto.subtle.generateKey(curve, true, ['sign', 'verify'])
  const keyPem = PemConverter.encode(
    await webcrypto.subtle.exportKey('pkcs8', keys.privateKey),
    'PRIVATE KEY',
  )
  const issuerKeyId = issuer.getExtension(SubjectKeyIdentifierExtension)?.keyId
  // The CA's own identifier as it stands in it: one that is computed anew may differ, and clients then reject the leaf.
  const shared = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    issuerKeyId === undefined
      ? await AuthorityKeyIdentifierExtension.create(issuer.publicKey)
      : new AuthorityKeyIdentifierExtension(authorityKeyIdentifier(issuerKeyId)),
  ]

  const mint = async (host: string): Promise<SecureContext> => {
    const now = options.now()
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serial(),
      subject: '',
      issuer: issuer.subjectName,
      notBefore: new Date(now - day),
      notAfter: new Date(now + 3 * day),
      publicKey: keys.publicKey,
      signingKey: authority.key,
      signingAlgorithm: signing,
      // Without a subject the names are critical (RFC 5280 section 4.2.1.6); a common name holds 64 letters only.
      extensions: [...shared, new SubjectAlternativeNameExtension([{ type: 'dns', value: host }], true)],
    })
    return createSecureContext({
      key: keyPem,
      cert: `${certificate.toString('pem')}\n${authority.certificatePem}`,
      minVersion: 'TLSv1.2',
      // A resumed session skips the look at the server name.
      secureOptions: constants.SSL_OP_NO_TICKET,
    })
  }

  const contexts = new LRUCache<string, Promise<SecureContext>>({ max: options.cacheSize, ttl: day })
  return {
    contextFor(host) {
      let context = contexts.get(host)
      if (context === undefined) {
        context = mint(host)
        contexts.set(host, context)
        context.catch(() => contexts.delete(host))
      }
      return context
    },
  }
}

/** DER of an AuthorityKeyIdentifier that holds the key identifier alone. */
function authorityKeyIdentifier(keyId: string): Buffer {
  const id = Buffer.from(keyId, 'hex')
  // 2.5.29.35 in an OCTET STRING: SEQUENCE { [0] keyIdentifier }; identifiers are shorter than 64 bytes.
  const inner = Buffer.concat([Buffer.from([0x80, id.length]), id])
  const value = Buffer.concat([Buffer.from([0x30, inner.length]), inner])
  const oid = Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x23])
  const octets = Buffer.concat([Buffer.from([0x04, value.length]), value])
  return Buffer.concat([Buffer.from([0x30, oid.length + octets.length]), oid, octets])
}

/** 127 random bits, positive and minimal in DER. */
function serial(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString('hex')
}
