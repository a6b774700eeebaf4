import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { createLeaves, generateAuthority, importAuthority } from '../../src/egress/keys/certificates.ts'
import { startUpstream } from '../support/upstream.ts'

const host = 'orders.example.com'

/** In a process of its own, as the system's roots are read once: it connects as the proxy does, and says what came of it. */
const program = `
import { createConnect, createTrust } from ${JSON.stringify(new URL('../../src/egress/upstream/connection.ts', import.meta.url).href)}
import { systemDial } from ${JSON.stringify(new URL('../../src/egress/upstream/dial.ts', import.meta.url).href)}
for (const { port, systemRoots, trustedCas } of JSON.parse(process.argv[1])) {
  const trust = createTrust({ trustedCas, systemRoots })
  const connect = createConnect({ dial: systemDial, trust, dialTimeoutMs: 20_000 })
  const place = { secure: true, host: '${host}', port, addresses: ['127.0.0.1'], poolKey: '' }
  const said = await connect(place, ['http/1.1']).then(
    (socket) => (socket.destroy(), 'connected'),
    (error) => error.reason,
  )
  console.log(said)
}
`

test('upstreams are verified against the system’s roots and the operator’s, and against no others', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-roots-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const signedBy = async () => {
    const { certificatePem, keyPem } = await generateAuthority(Date.now())
    const authority = await importAuthority(certificatePem, keyPem)
    const leaves = await createLeaves({ authority, now: () => Date.now(), cacheSize: 5 })
    const up = await startUpstream(
      (_req, res) => res.end(),
      'https',
      (name) => leaves.contextFor(name),
    )
    return { root: certificatePem, port: stack.use(up).port }
  }
  const [system, other] = [await signedBy(), await signedBy()]
  const file = join(folder, 'roots.pem')
  await writeFile(file, system.root)
  const asked = [
    { port: system.port, systemRoots: true, trustedCas: [] },
    { port: system.port, systemRoots: false, trustedCas: [] },
    { port: other.port, systemRoots: true, trustedCas: [] },
    { port: other.port, systemRoots: true, trustedCas: [other.root] },
  ]
  const args = ['--input-type=module', '-e', program, JSON.stringify(asked)]
  // OpenSSL's own names for where the system keeps them; no NODE_OPTIONS of whoever runs this.
  const env = { SSL_CERT_FILE: file, SSL_CERT_DIR: join(folder, 'none'), PATH: process.env['PATH'] }
  const { stdout } = await promisify(execFile)(process.execPath, args, { env })
  expect(stdout.trim().split('\n')).toEqual([
    'connected',
    'upstream_untrusted',
    'upstream_untrusted',
    'connected',
  ])
})
