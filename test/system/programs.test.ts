/** Programs as people run them inside a real sandbox, each through the real proxy, with a credential they never have. */

import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect } from 'vitest'
import { createLeaves, generateAuthority, importAuthority } from '../../src/egress/keys/certificates.ts'
import { connectV1, textOf } from '../support/clients.ts'
import { Deployment } from '../support/deployment.ts'
import { testNeeding } from '../support/needs.ts'
import { demanding, gitServer, npmRegistry, pythonIndex } from '../support/package-servers.ts'
import { startUpstream } from '../support/upstream.ts'

const host = 'code.crib.test'
const folder = await mkdtemp(join(tmpdir(), 'toolcrib-programs-'))
const closing = new AsyncDisposableStack()
closing.defer(() => rm(folder, { recursive: true, force: true }))
afterAll(async () => await closing.disposeAsync())

const test = testNeeding('sandbox', 'git', 'curl', 'pip')

/** One server for all: the first segment of the path says which. */
function route(places: Record<string, RequestListener>): RequestListener {
  return (req, res) => {
    const [, first = '', rest = ''] = /^\/([^/]+)(\/.*)$/.exec(req.url ?? '') ?? []
    req.url = rest
    const handle = places[first]
    if (handle !== undefined) return handle(req, res)
    req.resume()
    res.writeHead(404).end()
  }
}

async function makeWorkshop() {
  const ca = await generateAuthority(Date.now())
  const caFile = join(folder, 'upstream-ca.pem')
  await writeFile(caFile, ca.certificatePem)
  const authority = await importAuthority(ca.certificatePem, ca.keyPem)
  const leaves = await createLeaves({ authority, now: () => Date.now(), cacheSize: 10 })
  execFileSync('git', ['init', '-q', '--bare', join(folder, 'git', 'demo.git')])
  execFileSync('git', ['-C', join(folder, 'git', 'demo.git'), 'config', 'http.receivepack', 'true'])
  let key = ''
  let url = ''
  const handle = route({
    hello: (req, res) => void req.resume().once('end', () => res.end(`hello ${req.method}`)),
    git: gitServer(join(folder, 'git')),
    npm: npmRegistry(() => `${url}/npm`),
    pip: pythonIndex(folder),
  })
  const upstream = closing.use(
    await startUpstream(
      (req, res) => demanding(`Bearer ${key}`, handle)(req, res),
      'https',
      (name) => leaves.contextFor(name),
    ),
  )
  url = `https://${host}:${upstream.port}`
  const rule = {
    host,
    port: upstream.port,
    methods: ['GET', 'HEAD', 'POST'],
    paths: ['/'],
    address: '127.0.0.1',
    inject: [{ credential: 'ORDERS_KEY', into: 'header:authorization', format: 'Bearer {value}' }],
  }
  const workspace = {
    kind: 'stdio',
    command: 'node',
    args: ['{app}/sources/workspace/server.ts'],
    review: 'on_first_sight',
    egress: [rule],
  }
  const deployment = closing.use(
    await Deployment.start({
      gateways: 1,
      config: { egress: { upstream_ca_files: [caFile] }, sources: { workspace } },
    }),
  )
  key = deployment.orders.key.reveal()
  await deployment.discovered(['workspace'])
  const alice = await deployment.person('alice')
  const client = closing.use(await connectV1(deployment.anyGateway.ready.mcp, alice.token))
  return {
    url,
    run: async (command: string) => textOf(await client.call('workspace_run', { command })),
  }
}

test('curl, git, npm, pip, Node and Python work in a sandbox as anywhere, and none of them has the credential', async () => {
  const { url, run } = await makeWorkshop()
  expect(await run(`curl -sS ${url}/hello/x`)).toBe('exit code 0\n--- stdout\nhello GET')
  expect(
    await run(
      `node -e "fetch('${url}/hello/x', { method: 'POST' }).then(async (r) => console.log(await r.text()))"`,
    ),
  ).toContain('hello POST')
  expect(
    await run(
      `python3 -c "import urllib.request as u; print(u.urlopen('${url}/hello/x', data=b'x').read().decode())"`,
    ),
  ).toContain('hello POST')
  const git = [
    `git clone -q ${url}/git/demo.git work && cd work`,
    'git config user.name Alice && git config user.email alice@example.com',
    'head -c 3000000 /dev/urandom > big && git add big && git commit -qm big && git push -q origin HEAD',
    `cd .. && git clone -q ${url}/git/demo.git again && cmp work/big again/big && echo same`,
  ].join(' && ')
  expect(await run(git)).toContain('same')
  expect(
    await run(
      `mkdir -p js && cd js && echo '{}' > package.json && npm install @crib/demo --registry ${url}/npm --no-audit --no-fund --silent && node -p "require('@crib/demo')"`,
    ),
  ).toContain('from npm')
  expect(
    await run(
      `python3 -m pip install -q --no-cache-dir --disable-pip-version-check --target py --index-url ${url}/pip/simple/ crib-demo && PYTHONPATH=py python3 -c "import crib_demo; print(crib_demo.said)"`,
    ),
  ).toContain('from pip')
  // As a program does that is made with libcurl, or with GnuTLS, and asks no variable.
  expect(await run(`env -u CURL_CA_BUNDLE -u SSL_CERT_FILE curl -sS ${url}/hello/x`)).toContain('hello GET')
  expect(await run('curl -sS https://elsewhere.example')).toContain('403')
  expect(await run('env; git config --list; cat ~/.netrc ~/.npmrc')).not.toMatch(/Bearer|ORDERS_KEY/)
  // The search finds what is there, the toolhost's own CA file among it, and no private key.
  const found = await run(
    `find / '(' -name ca.pem -o -name 'sealing-[0-9]*.json' -o -name 'ca-[0-9]*.key' ')' -not -path '/proc/*' 2>/dev/null`,
  )
  expect(found).toContain('/etc/toolcrib/ca.pem')
  expect(found).not.toMatch(/sealing-|\.key/)
}, 120_000)
