import { mkdtempSync, writeFileSync } from 'node:fs'
import { chmod, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { type DemoOrders, startDemoOrders } from '../../src/dev/index.ts'
import {
  type EmbeddedPostgres,
  removeEmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/store/index.ts'
import { processes, readRow, sandboxesOf } from './sandbox-processes.ts'
import { ServerProcess } from './server-process.ts'
import { until } from './until.ts'

/** What `toolcrib serve --json` prints when it is ready. */
interface GatewayReady {
  mcp: string
  admin: string
  adminKey: string | null
}
export type GatewayProcess = ServerProcess<GatewayReady>

export interface DeploymentOptions {
  gateways?: number
  /** Added to the written toolcrib.yaml; top-level keys replace. */
  config?: Record<string, unknown>
}

/**
 * A whole deployment on one host, as an operator would run it: a database, `toolcrib egress`, and any number of
 * `toolcrib serve` on one state folder and one database, all real processes that a test can kill, pause and start
 * again. Sources: `workspace` and `orders`, with the demo API behind it.
 */
export class Deployment implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'toolcrib-system-'))
  readonly gateways: GatewayProcess[] = []
  readonly database: DatabaseProcess
  readonly orders: DemoOrders
  egress!: ServerProcess<string>
  adminKey = ''

  private constructor(database: DatabaseProcess, orders: DemoOrders) {
    this.database = database
    this.orders = orders
  }

  static async start(options: DeploymentOptions = {}): Promise<Deployment> {
    const orders = await startDemoOrders({ port: 0 })
    const database = new DatabaseProcess()
    const deployment = new Deployment(database, orders)
    try {
      await deployment.#start(options)
      return deployment
    } catch (error) {
      await deployment[Symbol.asyncDispose]()
      throw new Error(`the deployment did not start: ${deployment.log()}`, { cause: error })
    }
  }

  async #start({ gateways = 2, config = {} }: DeploymentOptions): Promise<void> {
    await chmod(this.folder, 0o711) // The database runs as another user when this is root.
    await this.database.start(join(this.folder, 'postgres'))
    const configFile = join(this.folder, 'toolcrib.yaml')
    const caFile = join(this.folder, 'demo-ca.pem')
    writeFileSync(caFile, this.orders.ca)
    writeFileSync(configFile, JSON.stringify({ ...defaultConfig(this.orders.port, caFile), ...config }))
    const environment = { DATABASE_URL: this.database.url, TOOLCRIB_CONFIG: configFile }
    for (let n = 0; n < gateways; n++) {
      this.gateways.push(
        new ServerProcess(['serve', '--json'], environment, (line) => JSON.parse(line) as GatewayReady),
      )
    }
    this.egress = new ServerProcess(['egress'], environment, (line) => line)
    const [first, ...others] = this.gateways
    if (first === undefined) throw new Error('a deployment has a gateway')
    // The first migrates, applies the configuration and makes the admin key.
    this.adminKey = (await first.start()).adminKey ?? ''
    await Promise.all([this.egress.start(), ...others.map((gateway) => gateway.start())])
    await this.admin('PUT', '/credentials/ORDERS_KEY', { value: this.orders.key.reveal() })
  }

  /** A gateway that can be spoken to now. */
  get anyGateway(): GatewayProcess {
    const found = this.gateways.find((gateway) => gateway.state === 'running')
    if (found === undefined) throw new Error('no gateway runs')
    return found
  }

  async admin<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${this.anyGateway.ready.admin}/admin/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.adminKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const answer = (await response.json()) as T
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`)
    return answer
  }

  /** A person made known and given a token, both by the admin API. */
  async person(name: string): Promise<Person> {
    const slackUser = `U${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '')}`
    const { id } = await this.admin<{ id: string }>('POST', '/people', { slackTeam: 'T1', slackUser, name })
    const issued = await this.admin<{ id: string; token: string }>('POST', '/tokens', { for: id })
    return { id, name, tokenId: issued.id, token: issued.token }
  }

  /** Waits until every tool of these sources is there to be called. */
  async discovered(sources: string[]): Promise<void> {
    await until(async () => {
      const { tools } = await this.admin<{ tools: { sourceId: string; callable: boolean }[] }>(
        'GET',
        '/tools',
      )
      return sources.every((source) => tools.some((tool) => tool.sourceId === source && tool.callable))
    }, 60_000)
  }

  async runnerOf(person: Person): Promise<Runner> {
    const { runners } = await this.admin<{ runners: Runner[] }>('GET', '/runners')
    const found = runners.find((runner) => runner.principalId === person.id)
    if (found === undefined) throw new Error(`${person.name} has no runner`)
    return found
  }

  /** Every sandbox with a living process, by the name of its runner, from the process table itself. */
  async sandboxes() {
    return await sandboxesOf(join(this.folder, 'state', 'sandboxes'))
  }

  /** A person's home as it lies on disk. */
  async home(person: Person): Promise<string> {
    const { rows } = await this.database.query<{ home_name: string }>(
      `SELECT home_name FROM runners WHERE principal_id = '${person.id}'`,
    )
    return join(this.folder, 'state', 'sandboxes', 'homes', rows[0]?.home_name ?? 'none')
  }

  /** Everything that any process of this deployment wrote to standard output or error after it was ready. */
  log(): string {
    return [...this.gateways, ...(this.egress === undefined ? [] : [this.egress])]
      .map((process) => process.log())
      .join('\n')
  }

  /** Whatever still runs that belongs to this deployment. */
  async leftovers(): Promise<string[]> {
    const found: string[] = []
    for (const { pid } of processes()) {
      if (pid === process.pid) continue
      const facts = await Promise.all(
        ['cmdline', 'environ'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
      )
      if (facts.some((text) => text.includes(this.folder))) found.push(`${pid} ${facts[0]?.slice(0, 200)}`)
    }
    const sandboxes = await this.sandboxes()
    return [...found, ...sandboxes.map(({ name, pids }) => `${name}: ${pids.join(' ')}`)]
  }

  /** Ends the sandboxes through the admin API and then every server, as an operator who leaves would. */
  async shutDown(): Promise<void> {
    const { runners } = await this.admin<{ runners: Runner[] }>('GET', '/runners')
    const live = runners.filter(({ state }) => state !== 'stopped')
    await Promise.all(live.map(({ id }) => this.admin('POST', `/runners/${id}/stop`, {})))
    await Promise.all([...this.gateways, this.egress].map((process) => process.stop()))
    await this.database.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of [...this.gateways, ...(this.egress === undefined ? [] : [this.egress])])
      await process.kill()
    for (const { pids } of await this.sandboxes().catch(() => [])) for (const pid of pids) endProcess(pid)
    await this.database.stop()
    await this.orders[Symbol.asyncDispose]()
    await until(async () => (await this.sandboxes().catch(() => [])).length === 0)
    await removeEmbeddedPostgres(join(this.folder, 'postgres'))
    await rm(this.folder, { recursive: true, force: true })
  }
}

export interface Person {
  id: string
  name: string
  tokenId: string
  token: string
}

export interface Runner {
  id: string
  principalId: string
  state: string
  generation: number
  message: string | null
}

/** PostgreSQL at one address, which dies and comes back. */
class DatabaseProcess {
  #folder = ''
  #server: EmbeddedPostgres | undefined

  get url(): string {
    if (this.#server === undefined) throw new Error('the database was never started')
    return this.#server.url('toolcrib')
  }

  async start(folder: string): Promise<void> {
    this.#folder = folder
    const port = this.#server?.port
    this.#server = await startEmbeddedPostgres({
      folder,
      flags: ['max_connections=200'],
      ...(port === undefined ? {} : { port }),
    })
    if (port === undefined) await onServer(this.#server.url('postgres'), 'CREATE DATABASE toolcrib')
  }

  /** `kill -9` of the server; its guardian starts it again. */
  async killServer(): Promise<void> {
    endProcess(await this.#postmaster())
  }

  /** `kill -9` of guardian and server; nobody starts it until `start`. */
  async killAll(): Promise<void> {
    endProcess(this.#server?.guardianPid ?? 0)
    endProcess(await this.#postmaster())
  }

  async startAgain(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
    await this.start(this.#folder)
  }

  async query<Row extends object>(text: string): Promise<{ rows: Row[] }> {
    return { rows: await onServer<Row>(this.url, text) }
  }

  /** Waits until it takes sessions: whoever starts while it recovers ends, and says so. */
  async ready(): Promise<void> {
    await until(
      () =>
        this.query('SELECT 1').then(
          () => true,
          () => false,
        ),
      60_000,
    )
  }

  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
  }

  async #postmaster(): Promise<number> {
    const text = await readFile(join(this.#folder, 'data', 'postmaster.pid'), 'utf8').catch(() => '0')
    return Number(text.split('\n')[0])
  }
}

async function onServer<Row extends object>(url: string, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query<Row>(text)).rows
  } finally {
    await client.end()
  }
}

/** `kill -9`, when it is there. */
export function endProcess(pid: number): void {
  if (pid > 1 && readRow(pid) !== undefined) process.kill(pid, 'SIGKILL')
}

function defaultConfig(ordersPort: number, caFile: string) {
  return {
    listen: { port: 0 },
    state_dir: 'state',
    // Seconds, so that a test can wait for it.
    replicas: { dead_after_seconds: 6 },
    egress: { upstream_ca_files: [caFile] },
    sources: {
      workspace: {
        kind: 'stdio',
        command: 'node',
        args: ['{app}/sources/workspace/server.ts'],
        review: 'on_first_sight',
      },
      orders: {
        kind: 'stdio',
        command: 'node',
        args: ['{app}/sources/orders/server.ts'],
        environment: { ORDERS_URL: `https://orders.crib.test:${ordersPort}` },
        review: 'on_first_sight',
        egress: [
          {
            host: 'orders.crib.test',
            port: ordersPort,
            methods: ['GET', 'POST'],
            paths: ['/v1/orders'],
            address: '127.0.0.1',
            inject: [{ credential: 'ORDERS_KEY', into: 'header:authorization', format: 'Bearer {value}' }],
          },
        ],
      },
    },
  }
}
