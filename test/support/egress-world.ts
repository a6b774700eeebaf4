// oxlint-disable max-lines -- one world, used whole
/**
 * A proxy, a person with a runner and leases, and upstreams to reach. Where it lies: names are resolved by a table
 * instead of DNS, and upstreams stand on loopback, reached by rules with a pinned `address` or, for addresses that
 * only the guard's verdict is about, by a dialer that writes down what it is asked for and connects to loopback.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectionOptions, connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls'
import { sql } from 'kysely'
import {
  type CallId,
  type Clock,
  createLog,
  type Log,
  newId,
  type PrincipalId,
  Secret,
  sha256,
} from '../../src/core/index.ts'
import {
  createEgress,
  type Dial,
  type Egress,
  type EgressLimits,
  generateEgressKeys,
} from '../../src/egress/index.ts'
import { createLeaves, generateAuthority, importAuthority } from '../../src/egress/keys/certificates.ts'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { notify, type Store } from '../../src/store/index.ts'
import { createVault, type Vault } from '../../src/vault/index.ts'
import { testStore } from './database.ts'
import { connectRequest, sayAndRead } from './raw-http.ts'
import { startUpstream, type Upstream } from './upstream.ts'

export { basic, connectRequest, request, sayAndRead } from './raw-http.ts'

/** No look of a proxy is older, notice or not. */
const unheardMs = 600

export const theSecret = 'S3cr3t+Value/for=orders&"quoted"-0123456789'

/** A rule with what most tests want: https at `host`, pinned to loopback. */
export function rule(
  host: string,
  port: number,
  extra: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    scheme: 'https',
    host,
    port,
    methods: ['GET', 'POST'],
    paths: ['/'],
    address: '127.0.0.1',
    ...extra,
  }
}

export const injectBearer = [
  { credential: 'ORDERS_KEY', into: 'header:authorization', format: 'Bearer {value}' },
]

/** Where a proxy listens, in whatever process it is. */
export type Door = Pick<Egress, 'socketPath'>

export interface World extends AsyncDisposable {
  store: Store
  egress: Egress
  vault: Vault
  principalId: PrincipalId
  lease: string
  /** The folder of the proxies' keys. */
  keyFolder: string
  /** The CA that sandboxes trust. */
  ca: string
  /** The CA of the upstreams. */
  upstreamCa: string
  dialled: { address: string; port: number }[]
  /** Everything that was logged, as text. */
  logged(): string
  names: Map<string, string[]>
  upstream(handle: RequestListener, scheme?: 'http' | 'https'): Promise<Upstream>
  /** What an upstream shows for this name; the proxy trusts it. */
  upstreamContext: (host: string) => Promise<SecureContext>
  setRules(rules: Record<string, unknown>[], source?: string, more?: object): Promise<void>
  /** The same without a notice: a proxy finds out when it looks by itself. */
  setRulesUnheard: World['setRules']
  /** Another proxy of the same deployment. */
  replica(): Promise<Egress>
  addLease(options: {
    principalId?: PrincipalId
    source?: string
    /** The address that the sandbox's requests come from; left out, they come through the proxy's socket. */
    from?: string
  }): Promise<{ lease: string; principalId: PrincipalId }>
  addCall(source?: string): Promise<CallId>
  connect(egress?: Door): Promise<Socket>
  tunnel(
    host: string,
    port: number,
    options?: {
      lease?: string
      source?: string
      servername?: string
      protocols?: string[]
      egress?: Door | undefined
      /** What the client offers in the handshake. */
      tls?: ConnectionOptions
    },
  ): Promise<TLSSocket>
  events(
    kind?: string,
    atLeast?: number,
  ): Promise<{ kind: string; callId: string | null; data: Record<string, unknown> }[]>
  /** How the last request that was let out ended, from whichever record says so. */
  outcome(): Promise<Record<string, unknown>>
  /** How the last so many ended, the last one last. */
  outcomes(count: number): Promise<Record<string, unknown>[]>
  log: Log
}

export async function makeWorld(
  options: {
    limits?: Partial<EgressLimits>
    metrics?: { host: string; port: number }
    watchMs?: number
    dial?: Dial
    systemRoots?: boolean
    trustedCas?: string[]
    refusedRanges?: string[]
    /** Instead of an empty database of its own; the caller's to close. */
    store?: Store
    /** Instead of this machine's. */
    clock?: Clock
    /** Instead of the table of names. */
    resolve?: (host: string) => Promise<string[]>
  } = {},
): Promise<World> {
  const stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-egress-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const store = options.store ?? stack.use(await testStore())
  const lines: string[] = []
  /** How often a proxy has heard that the catalog changed. */
  let heard = 0
  const write = (line: string) => {
    lines.push(line)
    if (line.includes('"kind":"catalog"') && line.includes('a notice came')) heard += 1
  }
  const log = createLog({ level: 'trace', name: 'test' }, { write })

  const upstreamCa = await generateAuthority(Date.now())
  const upstreamLeaves = await createLeaves({
    authority: await importAuthority(upstreamCa.certificatePem, upstreamCa.keyPem),
    now: () => Date.now(),
    cacheSize: 50,
  })
  const names = new Map<string, string[]>()
  const dialled: World['dialled'] = []
  const keyFolder = join(folder, 'keys')
  const keys = await generateEgressKeys(keyFolder, Date.now())
  const living = new Set<Egress>()
  const startProxy = async (socketDir: string) => {
    const made = await createEgress({
      store,
      keys,
      listen: { unixSocketDir: socketDir, tcpHost: '127.0.0.1', tcpPort: 0 },
      trustedCas: [upstreamCa.certificatePem, ...(options.trustedCas ?? [])],
      systemRoots: options.systemRoots ?? false,
      log,
      refusedRanges: options.refusedRanges,
      resolve: options.resolve ?? (async (host) => names.get(host) ?? []),
      dial: (to) => {
        dialled.push({ address: to.address, port: to.port })
        return (options.dial ?? systemDial)(to)
      },
      limits: options.limits,
      metrics: options.metrics,
      watchMs: options.watchMs,
      clock: options.clock,
    })
    living.add(made)
    const end = made[Symbol.asyncDispose].bind(made)
    made[Symbol.asyncDispose] = async () => {
      living.delete(made)
      await end()
    }
    return made
  }
  const egress = stack.use(await startProxy(join(folder, 'socket')))

  const addPrincipal = async (sourceAddress: string | null): Promise<PrincipalId> => {
    const id = newId('prn')
    await store.db
      .insertInto('principals')
      .values({ id, kind: 'person', slack_team: 'T1', slack_user: id, name: 'alice' })
      .execute()
    const name = `r-${id.slice(-8)}`
    await store.db
      .insertInto('runners')
      .values({
        id: newId('run'),
        principal_id: id,
        name,
        home_name: name,
        state: 'ready',
        generation: 1,
        sandbox_uid: id,
        address: 'a',
        source_address: sourceAddress,
      })
      .execute()
    return id
  }
  const addLease: World['addLease'] = async (asked) => {
    const principalId = asked.principalId ?? (await addPrincipal(asked.from ?? null))
    const lease = `lease-${newId('lse')}-${newId('lse')}`
    const runner = await store.db
      .selectFrom('runners')
      .select('id')
      .where('principal_id', '=', principalId)
      .executeTakeFirstOrThrow()
    await store.db
      .insertInto('leases')
      .values({
        id: newId('lse'),
        secret_sha256: sha256(lease),
        principal_id: principalId,
        runner_id: runner.id,
        generation: 1,
        source_id: asked.source ?? 'orders',
      })
      .execute()
    return { lease, principalId }
  }
  const setRulesUnheard: World['setRules'] = async (rules, source = 'orders', more = {}) => {
    const spec = JSON.stringify({ kind: 'stdio', command: 'true', egress: rules, ...more })
    await store.db
      .insertInto('sources')
      .values({ id: source, spec, spec_digest: 'd' })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ spec }))
      .execute()
    await store.db.updateTable('catalog_state').set({ version: sql<number>`version + 1` }).execute()
  }
  const setRules: World['setRules'] = async (rules, source, more) => {
    await setRulesUnheard(rules, source, more)
    // A notice travels on a connection of the proxy's own; what no notice reaches looks again by itself.
    const enough = heard + living.size
    const deadline = performance.now() + unheardMs
    await notify(store.db, { kind: 'catalog' })
    while (heard < enough && performance.now() < deadline) await sleep(2)
  }
  await setRules([])
  const first = await addLease({})
  const vault = createVault({ store, log })
  await vault.setCredential({
    name: 'ORDERS_KEY',
    scope: 'global',
    scopeId: '',
    value: new Secret(theSecret),
    by: 'test',
  })

  const connect: World['connect'] = async (proxy = egress) => {
    const socket = connectTcp(proxy.socketPath ?? '')
    socket.on('error', () => undefined)
    stack.defer(() => void socket.destroy())
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    return socket
  }
  const world: World = {
    store,
    egress,
    vault,
    principalId: first.principalId,
    lease: first.lease,
    keyFolder,
    ca: keys.newest().caCertificate,
    upstreamCa: upstreamCa.certificatePem,
    dialled,
    logged: () => lines.join(''),
    names,
    log,
    setRules,
    setRulesUnheard,
    addLease,
    connect,
    upstreamContext: (host) => upstreamLeaves.contextFor(host),
    async replica() {
      const made = await startProxy(await mkdtemp(join(folder, 'socket-')))
      stack.use(made)
      return made
    },
    async upstream(handle, scheme = 'https') {
      const made = await startUpstream(handle, scheme, (host) => upstreamLeaves.contextFor(host))
      stack.use(made)
      return made
    },
    async addCall(source = 'orders') {
      const id = newId('call')
      const token = newId('tok')
      await store.db
        .insertInto('tokens')
        .values({
          id: token,
          principal_id: first.principalId,
          secret_hash: 'x',
          pepper_id: 'p',
          expires_at: new Date(),
        })
        .execute()
      await store.db
        .insertInto('calls')
        .values({
          id,
          principal_id: first.principalId,
          token_id: token,
          alias: 'a',
          source_id: source,
          arguments_digest: 'd',
          rule: 'r',
          replica_id: newId('rep'),
          state: 'running',
        })
        .execute()
      return id
    },
    async tunnel(host, port, asked = {}) {
      const socket = await connect(asked.egress)
      const head = await sayAndRead(
        socket,
        connectRequest(host, port, asked.source ?? 'orders', asked.lease ?? first.lease),
      )
      if (!head.startsWith('HTTP/1.1 200')) throw new Error(head)
      const secured = connectTls({
        socket,
        servername: asked.servername ?? host,
        ca: world.ca,
        ALPNProtocols: asked.protocols ?? ['http/1.1'],
        ...asked.tls,
      })
      await new Promise<void>((resolve, reject) => {
        secured.once('secureConnect', resolve)
        secured.once('error', reject)
        secured.once('close', () => reject(new Error('closed')))
      })
      secured.on('error', () => undefined)
      return secured
    },
    async events(kind, atLeast = 1) {
      const deadline = Date.now() + 15_000
      for (;;) {
        let query = store.db.selectFrom('events').select(['kind', 'call_id as callId', 'data']).orderBy('id')
        query = kind === undefined ? query.where('kind', 'like', 'egress.%') : query.where('kind', '=', kind)
        const rows = await query.execute()
        if (rows.length >= atLeast || Date.now() > deadline) return rows
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    },
    async outcome() {
      const [last = {}] = await world.outcomes(1)
      return last
    },
    async outcomes(count) {
      const deadline = Date.now() + 15_000
      for (;;) {
        const events = await world.events()
        const allowed = events.filter(({ kind }) => kind === 'egress.allowed').slice(-count)
        const ended = allowed.map(({ data }) => outcomeIn(events, data)).filter((each) => each !== undefined)
        if (ended.length === count) return ended
        if (Date.now() > deadline) throw new Error(`${ended.length} of ${count} requests have ended`)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
  return world
}

/** How the request of this record ended, by it or by a later one, which also says whose end it is. */
function outcomeIn(
  events: readonly { kind: string; data: Record<string, unknown> }[],
  { outcome, requestId }: Record<string, unknown>,
): Record<string, unknown> | undefined {
  if (outcome !== null && outcome !== undefined) return outcome as Record<string, unknown>
  const after = events.find(({ kind, data }) => kind === 'egress.finished' && data['requestId'] === requestId)
  if (after === undefined) return undefined
  const { requestId: _request, sourceId: _source, ...told } = after.data
  return told
}
