import { randomBytes, webcrypto } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Log } from '../../core/index.ts'
import { type Authority, authorityKeyId, curve, day, serial, signing } from './authority.ts'
import { nameConstraints } from './name-constraints.ts'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from './x509.ts'

/** What signs leaves: a certificate of the root's, its key in memory only. */
export interface Issuer {
  certificate: X509Certificate
  /** What a server shows after its leaf; empty when the root itself signs. */
  chainPem: string
  key: webcrypto.CryptoKey
  notAfter: number
  /** When the next takes over: half of its life is left then, for which what it signed last is good. */
  renewAt: number
}

export interface Issuers {
  /**
   * The one that may sign for `host`: bound to `permitted`, the hosts that rules name now, and to no more when
   * those change; throws when `host` is none of them. Without `permitted`: one for this host alone, kept for an hour.
   */
  for(host: string, permitted?: readonly string[]): Promise<Issuer>
  /** Signs with another root from now on. */
  signWith(authority: Authority): void
}

const lifetimeMs = 7 * day
/** So that the certificate, which goes out in every handshake, stays below 2 KiB. */
const hostsEach = 40
/** Of those for one host alone so many are kept, so long: a sandbox may ask for any host, and warn mode ends. */
const mostAlone = 200
const aloneMs = 3_600_000

/** Where issuers are kept: for each group of hosts, or for each host. */
interface Kept<K> {
  get(key: K): Promise<Issuer> | undefined
  set(key: K, issuer: Promise<Issuer>): unknown
  delete(key: K): unknown
}

/**
 * Issuing certificates: seven days, one kind of use, nothing below them but leaves, and name constraints. One for
 * every forty hosts, made when first needed, again when half its life is over, and when the clock was set back to
 * before it; where that fails, the one at hand goes on until it ends.
 */
export function createIssuers(options: {
  authority: Authority
  now: () => number
  log?: Log | undefined
}): Issuers {
  const { now } = options
  let { authority } = options
  let hosts: readonly string[] | undefined
  let sorted: string[] = []
  let groups = new Map<number, Promise<Issuer>>()
  const alone = new LRUCache<string, Promise<Issuer>>({ max: mostAlone, ttl: aloneMs, ttlAutopurge: true })

  const use = (permitted: readonly string[]) => {
    if (permitted === hosts) return
    const wanted = [...new Set(permitted)].sort()
    const same = wanted.join(' ') === sorted.join(' ')
    hosts = permitted
    if (same) return
    sorted = wanted
    groups = new Map()
  }

  const current = async <K>(into: Kept<K>, key: K, constrained: readonly string[]): Promise<Issuer> => {
    const kept = into.get(key)
    const held = await kept?.catch(() => undefined)
    if (held !== undefined && held.certificate.notBefore.getTime() <= now() && now() < held.renewAt)
      return held
    // Whoever else saw the same end waits for the same successor.
    let next = into.get(key)
    if (next === undefined || next === kept) {
      next = issue(authority, now(), constrained)
      into.set(key, next)
    }
    try {
      return await next
    } catch (err) {
      if (into.get(key) === next) into.delete(key)
      if (held === undefined || kept === undefined || now() > held.notAfter - day) throw err
      options.log?.error({ err }, 'issuing certificate cannot be renewed')
      into.set(key, kept)
      return held
    }
  }

  return {
    async for(host, permitted) {
      if (permitted === undefined) return await current(alone, host, [host])
      use(permitted)
      const at = sorted.indexOf(host)
      if (at === -1) throw new Error(`no rule names ${host}`)
      const group = Math.floor(at / hostsEach)
      return await current(groups, group, sorted.slice(group * hostsEach, (group + 1) * hostsEach))
    },
    signWith(other) {
      authority = other
      groups = new Map()
      alone.clear()
    },
  }
}

async function issue(authority: Authority, now: number, permitted: readonly string[]): Promise<Issuer> {
  const root = new X509Certificate(authority.certificatePem)
  const until = (notAfter: number) => ({ notAfter, renewAt: now + (notAfter - now) / 2 })
  // Roots of before there were issuing certificates may have no CA below them: those sign leaves themselves.
  if (root.getExtension(BasicConstraintsExtension)?.pathLength === 0)
    return { certificate: root, chainPem: '', key: authority.key, ...until(now + lifetimeMs) }
  const keys = await webcrypto.subtle.generateKey(curve, false, ['sign', 'verify'])
  const notAfter = Math.min(now + lifetimeMs, root.notAfter.getTime())
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=Toolcrib egress issuing ${randomBytes(4).toString('hex')}`,
    issuer: root.subjectName,
    notBefore: new Date(now - day),
    notAfter: new Date(notAfter),
    publicKey: keys.publicKey,
    signingKey: authority.key,
    signingAlgorithm: signing,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      authorityKeyId(root),
      nameConstraints(permitted),
    ],
  })
  return { certificate, chainPem: certificate.toString('pem'), key: keys.privateKey, ...until(notAfter) }
}
