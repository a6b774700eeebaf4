import { constants, webcrypto } from 'node:crypto'
import { createSecureContext, DEFAULT_CIPHERS, type SecureContext } from 'node:tls'
import { LRUCache } from 'lru-cache'
import type { Log } from '../../core/index.ts'
import { type Authority, authorityKeyId, curve, day, serial, signing } from './authority.ts'
import { createIssuers, type Issuer } from './issuers.ts'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from './x509.ts'

export { type Authority, generateAuthority, importAuthority } from './authority.ts'

export interface Leaves {
  /**
   * The TLS context that shows a certificate for `host`; signed once a host and day, however many ask at once.
   * `permitted`: every host that rules name, which is all that its issuing certificate may vouch for; throws when
   * `host` is none of them. Left out, that one may vouch for this host alone.
   */
  contextFor(host: string, permitted?: readonly string[]): Promise<SecureContext>
  /** Makes what the first tunnels to the hosts that rules name will need, one after the other; at most so many. */
  prepare(permitted: readonly string[]): Promise<void>
  /** Signs with another root from now on; contexts made before stay good. */
  signWith(authority: Authority): void
}

/**
 * What a handshake in a tunnel agrees on where the client has it, ours before theirs: it takes an eighth less time than
 * what Node prefers (docs/decisions/0039). A client that has none of the first still has the others.
 */
const handshake = {
  ecdhCurve: 'X25519:P-256:P-384:P-521',
  ciphers: `TLS_AES_128_GCM_SHA256:${DEFAULT_CIPHERS}`,
  honorCipherOrder: true,
}

/** Each is some milliseconds of work and some tens of kilobytes. */
const mostPrepared = 64

/** Leaves share one key, made here and never written down; only the certificate differs by host. */
export async function createLeaves(options: {
  authority: Authority
  now: () => number
  cacheSize: number
  log?: Log | undefined
}): Promise<Leaves> {
  const issuers = createIssuers(options)
  const keys = await webcrypto.subtle.generateKey(curve, true, ['sign', 'verify'])
  const keyPem = PemConverter.encode(
    await webcrypto.subtle.exportKey('pkcs8', keys.privateKey),
    'PRIVATE KEY',
  )
  const shared = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
  ]

  const mint = async (host: string, issuer: Issuer): Promise<SecureContext> => {
    const now = options.now()
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serial(),
      subject: '',
      issuer: issuer.certificate.subjectName,
      notBefore: new Date(now - day),
      notAfter: new Date(Math.min(now + 3 * day, issuer.notAfter)),
      publicKey: keys.publicKey,
      signingKey: issuer.key,
      signingAlgorithm: signing,
      extensions: [
        ...shared,
        authorityKeyId(issuer.certificate),
        // Without a subject the names are critical (RFC 5280 section 4.2.1.6); a common name holds 64 letters only.
        new SubjectAlternativeNameExtension([{ type: 'dns', value: host }], true),
      ],
    })
    return createSecureContext({
      key: keyPem,
      cert: `${certificate.toString('pem')}\n${issuer.chainPem}`,
      minVersion: 'TLSv1.2',
      ...handshake,
      // A resumed session skips the look at the server name. And a client of TLS 1.2 that negotiates anew again and again
      // has a handshake made each time, which no limit knows of.
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    })
  }

  const contexts = new LRUCache<string, { madeAt: number; context: Promise<SecureContext> }>({
    max: options.cacheSize,
  })
  const contextFor: Leaves['contextFor'] = async (host, permitted) => {
    const issuer = await issuers.for(host, permitted)
    const name = `${issuer.certificate.serialNumber} ${host}`
    let kept = contexts.get(name)
    const now = options.now()
    // By the clock that certificates are read by: timers stand still while the machine sleeps, and do not see it set.
    if (kept === undefined || Math.abs(now - kept.madeAt) >= day) {
      kept = { madeAt: now, context: mint(host, issuer) }
      contexts.set(name, kept)
      kept.context.catch(() => contexts.delete(name))
    }
    return await kept.context
  }
  let preparing: readonly string[] | undefined
  return {
    contextFor,
    async prepare(permitted) {
      preparing = permitted
      for (const host of permitted.slice(0, mostPrepared)) {
        // Rules that have come since have their own turn.
        if (preparing !== permitted) return
        await contextFor(host, permitted)
      }
    },
    signWith: (authority) => issuers.signWith(authority),
  }
}
