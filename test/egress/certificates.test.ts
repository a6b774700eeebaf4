import { webcrypto } from 'node:crypto'
import { connect, createSecureContext, createServer, type SecureContext, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Authority,
  authorityKeyId,
  curve,
  day,
  generateAuthority,
  importAuthority,
  serial,
  signing,
} from '../../src/egress/keys/authority.ts'
import { createLeaves } from '../../src/egress/keys/certificates.ts'
import { createIssuers, type Issuer } from '../../src/egress/keys/issuers.ts'
import {
  BasicConstraintsExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '../../src/egress/keys/x509.ts'
import { needing } from '../support/needs.ts'
import { type TlsClient, tlsClients } from '../support/tls-clients.ts'

const hosts = ['api.orders.test', 'files.orders.test', 'deep.wild.test']

async function newRoot(now = Date.now()): Promise<Authority & { keyPem: string }> {
  const { certificatePem, keyPem } = await generateAuthority(now)
  return { ...(await importAuthority(certificatePem, keyPem)), keyPem }
}

async function shown(context: SecureContext): Promise<X509Certificate[]> {
  await using server = await serve(context)
  const socket = connect({
    host: '127.0.0.1',
    port: server.port,
    servername: 'any',
    rejectUnauthorized: false,
  })
  await new Promise((resolve) => socket.once('secureConnect', resolve))
  const leaf = socket.getPeerCertificate(true)
  socket.destroy()
  const chain = [new X509Certificate(leaf.raw)]
  if (leaf.issuerCertificate?.raw !== undefined && leaf.issuerCertificate !== leaf)
    chain.push(new X509Certificate(leaf.issuerCertificate.raw))
  return chain
}

async function serve(context: SecureContext): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<TLSSocket>()
  const server = createServer({ SNICallback: (_name, done) => done(null, context) }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.resume()
  })
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** What somebody with the issuing key could sign, whatever its certificate says of it. */
async function forge(
  issuer: Pick<Issuer, 'certificate' | 'key' | 'chainPem'>,
  names: { type: 'dns' | 'ip'; value: string }[],
  extensions: Extension[] = [new BasicConstraintsExtension(false, undefined, true)],
): Promise<{ context: SecureContext; certificate: X509Certificate; key: webcrypto.CryptoKey; pem: string }> {
  const keys = await webcrypto.subtle.generateKey(curve, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: 'CN=forged',
    issuer: issuer.certificate.subjectName,
    notBefore: new Date(Date.now() - day),
    notAfter: new Date(Date.now() + day),
    publicKey: keys.publicKey,
    signingKey: issuer.key,
    signingAlgorithm: signing,
    extensions: [
      ...extensions,
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      authorityKeyId(issuer.certificate),
      ...(names.length === 0 ? [] : [new SubjectAlternativeNameExtension(names)]),
    ],
  })
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  const pem = `${certificate.toString('pem')}\n${issuer.chainPem}`
  const context = createSecureContext({ key: PemConverter.encode(pkcs8, 'PRIVATE KEY'), cert: pem })
  return { context, certificate, key: keys.privateKey, pem }
}

describe('row 43: what programs make of the CA', () => {
  let clients: TlsClient[] & AsyncDisposable
  beforeAll(async () => {
    clients = await tlsClients()
  })
  afterAll(async () => await clients[Symbol.asyncDispose]())
  const verdict = async (client: string, context: SecureContext, host: string, ca: string) => {
    await using server = await serve(context)
    const found = clients.find((one) => one.name === client)
    return (await found?.verdict({ host, port: server.port, ca })) ?? 'no such client'
  }

  for (const [name, ...needs] of [
    ['Node'],
    ['OpenSSL, strict', 'openssl'],
    ['Python, strict', 'python'],
    ['Go', 'go'],
    ['Java', 'java'],
  ] as const) {
    test(`${name} accepts the leaf of a permitted host, and nothing else that the issuing key could sign`, {
      ...needing(...needs),
      timeout: 60_000,
    }, async () => {
      const root = await newRoot()
      const ca = root.certificatePem
      const leaves = await createLeaves({ authority: root, now: () => Date.now(), cacheSize: 10 })
      for (const host of ['api.orders.test', 'deep.wild.test'])
        expect(await verdict(name, await leaves.contextFor(host, hosts), host, ca)).toBe('accepted')

      const issuer = await createIssuers({ authority: root, now: () => Date.now() }).for(
        'api.orders.test',
        hosts,
      )
      const good = await forge(issuer, [{ type: 'dns', value: 'api.orders.test' }])
      expect(await verdict(name, good.context, 'api.orders.test', ca)).toBe('accepted')
      const elsewhere = await forge(issuer, [{ type: 'dns', value: 'bank.test' }])
      expect(await verdict(name, elsewhere.context, 'bank.test', ca)).toMatch(/^refused/)
      const both = await forge(issuer, [
        { type: 'dns', value: 'api.orders.test' },
        { type: 'dns', value: 'bank.test' },
      ])
      expect(await verdict(name, both.context, 'api.orders.test', ca)).toMatch(/^refused/)
      const address = await forge(issuer, [
        { type: 'dns', value: 'api.orders.test' },
        { type: 'ip', value: '127.0.0.1' },
      ])
      expect(await verdict(name, address.context, 'api.orders.test', ca)).toMatch(/^refused/)

      // A CA below the issuing certificate, and a leaf of that one.
      const below = await forge(
        issuer,
        [],
        [
          new BasicConstraintsExtension(true, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
        ],
      )
      const grandchild = await forge(
        { certificate: below.certificate, key: below.key, chainPem: below.pem },
        [{ type: 'dns', value: 'api.orders.test' }],
      )
      expect(await verdict(name, grandchild.context, 'api.orders.test', ca)).toMatch(/^refused/)

      // The CAs as a server.
      const asServer = createSecureContext({ key: root.keyPem, cert: ca })
      expect(await verdict(name, asServer, 'api.orders.test', ca)).toMatch(/^refused/)
    })
  }
})

test('the chain is leaf and issuing certificate, each with what strict programs ask of it', async () => {
  const root = await newRoot()
  const rootCertificate = new X509Certificate(root.certificatePem)
  const leaves = await createLeaves({ authority: root, now: () => Date.now(), cacheSize: 10 })
  const [leaf, issuing] = await shown(await leaves.contextFor('api.orders.test', hosts))
  if (leaf === undefined || issuing === undefined) throw new Error('no chain')
  expect(rootCertificate.getExtension(BasicConstraintsExtension)).toMatchObject({ ca: true, pathLength: 1 })
  expect(issuing.getExtension(BasicConstraintsExtension)).toMatchObject({ ca: true, pathLength: 0 })
  expect(issuing.getExtension('2.5.29.30')?.critical).toBe(true)
  expect(issuing.getExtension(KeyUsagesExtension)?.usages).toBe(
    KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign,
  )
  expect(leaf.getExtension(BasicConstraintsExtension)).toMatchObject({ ca: false })
  // The signer's own identifier, byte for byte.
  for (const [of, by] of [
    [leaf, issuing],
    [issuing, rootCertificate],
  ] as const) {
    const keyId = by.getExtension(SubjectKeyIdentifierExtension)?.keyId
    expect(Buffer.from(of.getExtension('2.5.29.35')?.value ?? new ArrayBuffer(0)).toString('hex')).toBe(
      `30168014${keyId}`,
    )
  }
  const days = (issuing.notAfter.getTime() - Date.now()) / day
  expect(days).toBeGreaterThan(6.9)
  expect(days).toBeLessThan(7.1)
  expect(leaf.notAfter <= issuing.notAfter).toBe(true)
})

test('the issuing certificate is renewed at half its life, is never over before a leaf, and goes on when the root is gone', async () => {
  let now = Date.now()
  const root = await newRoot(now)
  const issuers = createIssuers({ authority: root, now: () => now })
  const first = await issuers.for('api.orders.test', hosts)
  now += 3 * day
  expect(await issuers.for('files.orders.test', hosts)).toBe(first)
  now += day
  const [second, again] = await Promise.all([
    issuers.for('api.orders.test', hosts),
    issuers.for('api.orders.test', hosts),
  ])
  expect(second).not.toBe(first)
  expect(again).toBe(second)
  expect(second.notAfter).toBe(now + 7 * day)
  // Its root cannot sign any more: what is at hand goes on until its last day, and no further.
  Object.assign(root, { key: first.key, certificatePem: 'gone' })
  now += 4 * day
  expect(await issuers.for('api.orders.test', hosts)).toBe(second)
  now += 2.5 * day
  await expect(issuers.for('api.orders.test', hosts)).rejects.toThrow(/./)
})

test('a leaf that the clock has left behind is not shown again: the machine slept, or its clock was set', async () => {
  let now = Date.now()
  const leaves = await createLeaves({ authority: await newRoot(now), now: () => now, cacheSize: 10 })
  const leaf = async () => (await shown(await leaves.contextFor('api.orders.test', hosts)))[0]
  const isGood = (certificate: X509Certificate | undefined) =>
    certificate !== undefined &&
    certificate.notBefore.getTime() <= now &&
    now < certificate.notAfter.getTime()
  const first = await leaf()
  expect(isGood(first)).toBe(true)
  now += 0.9 * day
  expect((await leaf())?.serialNumber).toBe(first?.serialNumber)
  // Its issuing certificate is good for a while yet, and no timer has run meanwhile.
  now += 2.3 * day
  expect(isGood(await leaf())).toBe(true)
  // The clock was ahead, and is set right.
  now -= 30 * day
  expect(isGood(await leaf())).toBe(true)
})

test('in the last days of a root, issuing certificates end with it and are still kept for half their life', async () => {
  let now = Date.now()
  const root = await newRoot(now)
  const end = new X509Certificate(root.certificatePem).notAfter.getTime()
  now = end - 2 * day
  const issuers = createIssuers({ authority: root, now: () => now })
  const first = await issuers.for('api.orders.test', hosts)
  expect(first.notAfter).toBe(end)
  now += 0.9 * day
  expect(await issuers.for('api.orders.test', hosts)).toBe(first)
  now += 0.2 * day
  const second = await issuers.for('api.orders.test', hosts)
  expect(second).not.toBe(first)
  expect(await issuers.for('api.orders.test', hosts)).toBe(second)
})

test('when rules change, so does what the issuing certificate may vouch for; a host that none names gets no leaf', async () => {
  const root = await newRoot()
  const issuers = createIssuers({ authority: root, now: () => Date.now() })
  const first = await issuers.for('api.orders.test', hosts)
  expect(await issuers.for('api.orders.test', [...hosts].reverse())).toBe(first)
  const second = await issuers.for('api.orders.test', ['api.orders.test', 'new.test'])
  expect(second).not.toBe(first)
  await expect(issuers.for('files.orders.test', ['api.orders.test', 'new.test'])).rejects.toThrow('no rule')
  await expect(issuers.for('evil.test', [])).rejects.toThrow('no rule')

  const many = Array.from({ length: 1_000 }, (_, i) => `host-${i}.tenant-${i}.example.com`)
  const one = await issuers.for(many[7] ?? '', many)
  expect(one.certificate.rawData.byteLength).toBeLessThan(2_048)
  expect(await issuers.for(many[999] ?? '', many)).not.toBe(one)
})

test('certificates that are made ready for rules of before take nothing from those of the rules that came since', async () => {
  const leaves = await createLeaves({ authority: await newRoot(), now: () => Date.now(), cacheSize: 100 })
  const since = ['new.test']
  const before = leaves.prepare(Array.from({ length: 10 }, (_, i) => `host-${i}.test`))
  await leaves.prepare(since)
  const made = await leaves.contextFor('new.test', since)
  await before
  expect(await leaves.contextFor('new.test', since)).toBe(made)
})

test('a host that no rule names has an issuing certificate for itself alone, of another key, until the root changes', async () => {
  const root = await newRoot()
  const issuers = createIssuers({ authority: root, now: () => Date.now() })
  const named = await issuers.for('api.orders.test', hosts)
  const [first, same] = await Promise.all([issuers.for('odd.test'), issuers.for('odd.test')])
  expect(same).toBe(first)
  const other = await issuers.for('other.test')
  expect(new Set([named.key, first.key, other.key]).size).toBe(3)
  const constraints = Buffer.from(first.certificate.getExtension('2.5.29.30')?.value ?? new ArrayBuffer(0))
  expect(constraints.includes('odd.test')).toBe(true)
  expect(first.certificate.getExtension('2.5.29.30')?.critical).toBe(true)
  const forged = await forge(first, [{ type: 'dns', value: 'other.test' }])
  await using clients = await tlsClients()
  const ca = root.certificatePem
  for (const [context, host, verdict] of [
    [(await forge(first, [{ type: 'dns', value: 'odd.test' }])).context, 'odd.test', /^accepted/],
    [forged.context, 'other.test', /^refused/],
  ] as const) {
    await using server = await serve(context)
    expect(await clients[0]?.verdict({ host, port: server.port, ca })).toMatch(verdict)
  }
  // Rules are still held to: what they do not name is not signed for as if they did.
  await expect(issuers.for('odd.test', hosts)).rejects.toThrow('no rule')
  issuers.signWith(await newRoot())
  expect(await issuers.for('odd.test')).not.toBe(first)
})

test('a root of before there were issuing certificates signs leaves itself', async () => {
  const keys = await webcrypto.subtle.generateKey(curve, false, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: 'CN=old',
    notBefore: new Date(Date.now() - day),
    notAfter: new Date(Date.now() + 30 * day),
    keys,
    signingAlgorithm: signing,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const ca = certificate.toString('pem')
  const leaves = await createLeaves({
    authority: { certificatePem: ca, key: keys.privateKey },
    now: () => Date.now(),
    cacheSize: 10,
  })
  await using clients = await tlsClients()
  await using server = await serve(await leaves.contextFor('api.orders.test', hosts))
  expect(await clients[0]?.verdict({ host: 'api.orders.test', port: server.port, ca })).toBe('accepted')
})
