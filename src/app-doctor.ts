import { constants } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import { bad, type Check, check, good } from './app-doctor-check.ts'
import { keyChecks } from './app-doctor-keys.ts'
import { type CatalogKeeper, mintUrl } from './catalog/index.ts'
import type { Config } from './config.ts'
import { detectIsolation, type RunnerDriver } from './runners/index.ts'
import {
  clockFoundOff,
  clocksOff,
  egressKeys,
  findRunner,
  liveReplicas,
  pendingMigrations,
  type Store,
  systemPrincipal,
} from './store/index.ts'

/** From where on a clock is wrong. */
const clockOffMs = 5_000

/** What a person would check by hand, in the order in which it breaks. Each answers, whatever is broken. */
export function doctorChecks(parts: {
  store: Store
  config: Config
  driver: RunnerDriver
  catalog: CatalogKeeper
}): (() => Promise<Check>)[] {
  const { store, config, driver, catalog } = parts
  return [
    check('database', 'is DATABASE_URL right, and does PostgreSQL run?', async () => {
      const started = performance.now()
      await store.pool.query('SELECT 1')
      return good(`answers in ${(performance.now() - started).toFixed(1)} ms`)
    }),
    check('migrations', 'run `toolcrib migrate`', async () => {
      const pending = await pendingMigrations(store.db)
      return pending.length === 0 ? good('none pending') : bad(`pending: ${pending.join(', ')}`)
    }),
    check('egress proxy', startEgress(config), async () => {
      const live = await liveReplicas(store.db, 'egress', 30)
      return live.length > 0 ? good(`${live.length} alive`) : bad('none alive in the last 30 s')
    }),
    check(
      'credential key',
      'start `toolcrib egress` once: it makes the key and publishes its public half',
      async () => {
        const [key] = await egressKeys(store.db)
        return key === undefined ? bad('no egress proxy has published a key') : good(`newest key ${key.id}`)
      },
    ),
    ...keyChecks({ store, catalog }),
    check('isolation', 'docs/guides/sandboxes.md says how to get it', async () => {
      const { works, refused } = await detectIsolation()
      const why = refused.map((one) => `${one.isolation} would not: ${one.reason} ${one.cure}`).join(' ')
      if (driver.isolation !== 'none')
        return good(`${driver.isolation}; here would work: ${works.join(', ')}`)
      return bad(`NONE: a tool can read whatever the user who runs Toolcrib can. ${why}`)
    }),
    check('sources', 'see the reason; a source is looked at again by itself', async () => {
      const sources = (await catalog.listSources()).filter((source) => source.enabled)
      const failed = sources.filter(({ discoveryError }) => discoveryError !== null)
      const unseen = sources.filter(
        ({ discoveryError, discoveredAt }) => discoveryError === null && discoveredAt === null,
      )
      const complaints = failed.map(({ id, discoveryError }) => `${id}: ${discoveryError}`)
      if (unseen.length > 0)
        complaints.push(
          `no tool was found yet of ${unseen.map(({ id }) => id).join(', ')}: ${await whyUnseen(store)}`,
        )
      return complaints.length === 0
        ? good(`${sources.length} configured, none failing`)
        : bad(complaints.join('; '))
    }),
    check(
      'tools',
      'look with `toolcrib tools list`, accept with `toolcrib tools accept <alias>`',
      async () => {
        const waiting = (await catalog.listTools()).filter(
          (tool) => tool.acceptedDigest !== tool.definitionDigest,
        )
        return waiting.length === 0
          ? good('none waits for review')
          : bad(
              `${waiting.length} wait for review: ${waiting
                .slice(0, 5)
                .map((tool) => tool.alias)
                .join(', ')}`,
            )
      },
    ),
    check(
      'warn mode',
      '`toolcrib egress suggest <source>` prints its rules; write them down and take `egress_warn_until` out',
      async () => {
        // As stored, and not as this gateway was started with: `toolcrib apply` changes it meanwhile.
        const open = [...(await catalog.latest()).sources.values()].filter(
          ({ enabled, spec }) => enabled && Date.parse(spec.egress_warn_until ?? '') > Date.now(),
        )
        return open.length === 0
          ? good('every source is held to its rules')
          : bad(
              open
                .map(({ id, spec }) => `${id} may reach anything until ${spec.egress_warn_until}`)
                .join('; '),
            )
      },
    ),
    check('disk', 'free some space, or move state_dir', async () => {
      await access(config.stateDir, constants.W_OK)
      const { bavail, bsize } = await statfs(config.stateDir)
      const gib = (bavail * bsize) / 2 ** 30
      return gib > 1 ? good(`${gib.toFixed(0)} GiB free`) : bad(`${gib.toFixed(1)} GiB free`)
    }),
    check('clock', 'let NTP set the clock of this machine, of the database and of the proxies', async () => {
      const before = Date.now()
      const { rows } = await store.pool.query<{ now: Date }>('SELECT now()')
      const off = Math.abs((rows[0]?.now.getTime() ?? 0) - (before + Date.now()) / 2)
      const proxies = (await clocksOff(store.db, clockOffMs)).map(({ host, aheadMs }) => {
        const side = aheadMs < 0 ? 'behind' : 'ahead of'
        return `that of the egress proxy on ${host} is ${Math.round(Math.abs(aheadMs) / 1000)} s ${side} the database's`
      })
      const found = [...proxies, ...(await foundByEndpoints(store, catalog))]
      if (off < clockOffMs && found.length === 0) return good(`${Math.round(off)} ms from the database's`)
      const own = off < clockOffMs ? [] : [`${Math.round(off / 1000)} s from the database's`]
      return bad([...own, ...found].join('; '))
    }),
  ]
}

/** What the endpoints of GitHub Apps' tokens said of a proxy's clock when they were last asked. */
async function foundByEndpoints(
  { db }: Pick<Store, 'db'>,
  catalog: Pick<CatalogKeeper, 'latest'>,
): Promise<string[]> {
  const specs = [...(await catalog.latest()).sources.values()].flatMap(({ enabled, spec }) =>
    enabled ? Object.values(spec.minted) : [],
  )
  const hosts = new Set(
    specs.filter(({ kind }) => kind === 'github_app').map((spec) => mintUrl(spec).hostname),
  )
  const found: string[] = []
  for (const host of hosts) {
    const off = await clockFoundOff(db, host)
    if (off === undefined) continue
    const side = off < 0 ? 'behind' : 'ahead of'
    found.push(`an egress proxy's is ${Math.abs(off)} s ${side} that of ${host}`)
  }
  return found
}

/** What keeps sources from being looked at: they run in a sandbox that is nobody's person. */
async function whyUnseen({ db }: Pick<Store, 'db'>): Promise<string> {
  const row = await findRunner(db, { principalId: systemPrincipal })
  if (row === undefined) return 'nobody has looked; start `toolcrib serve`'
  if (row.state === 'ready') return 'they are being looked at'
  const since = row.stateSince.toISOString().slice(0, 16).replace('T', ' ')
  return `the sandbox that they are looked at in, ${row.name}, is ${row.state} since ${since} UTC${row.message === null ? '' : ` (${row.message})`}`
}

/** One that was started on an embedded database which has since moved would dial its old port for ever. */
function startEgress({ databaseUrl }: Config): string {
  const cure = 'start `toolcrib egress`; without it no tool reaches anything'
  return databaseUrl === undefined
    ? `${cure}. If it runs, restart it: the embedded database may have moved to another port`
    : cure
}
