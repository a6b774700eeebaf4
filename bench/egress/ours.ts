import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createLog, newId, Secret, sha256 } from '../../src/core/index.ts'
import {
  egressCas,
  migrate,
  openStore,
  removeEmbeddedPostgres,
  type Store,
  startEmbeddedPostgres,
} from '../../src/store/index.ts'
import { createVault } from '../../src/vault/index.ts'
import { freshHosts, host, secret } from './names.ts'
import type { UpstreamPorts } from './upstream.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))
const log = createLog({ level: 'warn', name: 'bench' })
const source = 'bench'
/** More than one, because one person may have 256 tunnels only. */
const people = 8

/** A database with people, their runners, leases and a credential, for any number of proxies one after the other. */
export interface Ours extends AsyncDisposable {
  start: (
    nodeOptions?: string[],
  ) => Promise<{ proxy: string; ca: string; identities: string[]; pid: number; stop: () => Promise<void> }>
}

/**
 * `toolcrib egress` as it is shipped, its log in a file, on a PostgreSQL of its own with `fsync` on; rules pin the names
 * to loopback.
 */
export async function prepareOurs(ports: UpstreamPorts, upstreamCa: string): Promise<Ours> {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'toolcrib-bench-egress-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o711) // The database runs as another user when this is root.
  const postgres = join(folder, 'postgres')
  const database = await startEmbeddedPostgres({ folder: postgres })
  stack.defer(async () => {
    await database[Symbol.asyncDispose]()
    await removeEmbeddedPostgres(postgres)
  })
  const databaseUrl = database.url('postgres')
  const store = stack.use(openStore({ url: databaseUrl, poolSize: 2, log }))
  await migrate(store.db)
  const config = join(folder, 'toolcrib.yaml')
  const caFile = join(folder, 'upstream-ca.pem')
  const logFile = join(folder, 'egress.log')
  writeFileSync(caFile, upstreamCa)
  writeFileSync(
    config,
    JSON.stringify({
      state_dir: join(folder, 'state'),
      egress: { upstream_ca_files: [caFile] },
      sources: { [source]: { kind: 'stdio', command: 'true', egress: rules(ports) } },
    }),
  )
  const environment = { PATH: process.env.PATH, TOOLCRIB_CONFIG: config, DATABASE_URL: databaseUrl }
  const applied = spawn(process.execPath, [entry, 'apply'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: environment,
  })
  if ((await once(applied, 'exit'))[0] !== 0) throw new Error('the rules were not applied')
  const identities = await Promise.all(
    Array.from({ length: people }, async (_, n) => await addPerson(store, n)),
  )

  const start: Ours['start'] = async (nodeOptions = []) => {
    const lines = openSync(logFile, 'a')
    const child = spawn(process.execPath, [...nodeOptions, entry, 'egress'], {
      stdio: ['ignore', 'pipe', lines],
      env: environment,
    })
    closeSync(lines)
    if (child.stdout === null) throw new Error('the proxy has no standard output')
    const ready = once(createInterface({ input: child.stdout }), 'line')
    const ended = once(child, 'exit').then(() => {
      throw new Error(`the proxy did not start: ${readFileSync(logFile, 'utf8').slice(-2_000)}`)
    })
    await Promise.race([ready, ended])
    // The first proxy made the keys that a credential is sealed to.
    await createVault({ store, log }).setCredential({
      name: 'BENCH_KEY',
      scope: 'global',
      scopeId: '',
      value: new Secret(secret),
      by: 'bench',
    })
    return {
      proxy: join(folder, 'state/egress/proxy.sock'),
      ca: (await egressCas(store.db)).map(({ certificate }) => certificate).join('\n'),
      identities,
      pid: child.pid ?? 0,
      async stop() {
        const gone = once(child, 'exit')
        child.kill('SIGTERM')
        await gone
      },
    }
  }
  const resources = stack.move()
  return { start, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}

function rules(ports: UpstreamPorts): object[] {
  const inject = [{ credential: 'BENCH_KEY', into: 'header:authorization', format: 'Bearer {value}' }]
  const rule = { methods: ['GET', 'POST'], paths: ['/'], address: '127.0.0.1' }
  return [
    { ...rule, host: host.api, port: ports.fast, inject },
    { ...rule, host: host.api, port: ports.full, inject },
    { ...rule, host: host.other, port: ports.full },
    ...freshHosts.map((name) => ({ ...rule, host: name, port: ports.fast, inject })),
  ]
}

/** A person whose runner is ready, and a lease in it: the value of `Proxy-Authorization`. */
async function addPerson(store: Store, n: number): Promise<string> {
  const principal = newId('prn')
  const runner = newId('run')
  const lease = `${newId('lse')}${newId('lse')}`
  const name = `bench-${n}`
  await store.db
    .insertInto('principals')
    .values({ id: principal, kind: 'person', slack_team: 'T0BENCH', slack_user: `U${n}`, name })
    .execute()
  await store.db
    .insertInto('runners')
    .values({
      id: runner,
      principal_id: principal,
      name,
      home_name: name,
      state: 'ready',
      generation: 1,
      sandbox_uid: name,
      address: name,
    })
    .execute()
  await store.db
    .insertInto('leases')
    .values({
      id: newId('lse'),
      secret_sha256: sha256(lease),
      principal_id: principal,
      runner_id: runner,
      generation: 1,
      source_id: source,
    })
    .execute()
  return `Basic ${Buffer.from(`${source}:${lease}`).toString('base64')}`
}
