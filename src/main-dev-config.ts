import { existsSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Config, parseConfig, processEnvironment, readConfigText } from './config.ts'
import { demoHost } from './dev/index.ts'

const sample = fileURLToPath(new URL('../toolcrib.dev.yaml', import.meta.url))
const samplePort = 7443

/** The sample configuration, or what stands in its place; throws with every problem in it. */
export function readSample(environment: Record<string, string>): Config {
  const path = processEnvironment.TOOLCRIB_CONFIG ?? sample
  return parseConfig(readConfigText(path, true), { environment, baseDir: process.cwd(), name: path })
}

/** The sample as other commands read it, in a folder where `npm run dev` keeps its data: with the demo's port there. */
export function besideDev(): Config | undefined {
  const folder = resolve('.toolcrib', 'dev')
  if (!existsSync(join(folder, 'postgres'))) return undefined
  const config = readSample({})
  const kept = portsFile(folder)
  if (existsSync(kept)) moveDemo(config, (JSON.parse(readFileSync(kept, 'utf8')) as Ports).orders)
  return { ...config, stateDir: folder }
}

/** The sample configuration with this run's folder and ports, which differ when the usual ones are taken. */
export function devConfig(
  run: { folder: string; ports: Ports; caFile: string },
  environment: Record<string, string>,
): Config {
  const config = readSample(environment)
  moveDemo(config, run.ports.orders)
  Object.assign(config.file.listen, { host: '127.0.0.1', port: run.ports.gateway })
  config.file.egress.upstream_ca_files.push(run.caFile)
  return { ...config, stateDir: run.folder }
}

/** Lets everything in `config` that names the demo API's usual port name `port`. */
function moveDemo(config: Config, port: number): void {
  const { orders } = config.file.sources
  if (orders?.environment.ORDERS_URL !== undefined)
    orders.environment.ORDERS_URL = orders.environment.ORDERS_URL.replace(`:${samplePort}`, `:${port}`)
  const rules = Object.values(config.file.sources).flatMap(({ egress }) => egress)
  for (const rule of rules) if (rule.host === demoHost && rule.port === samplePort) rule.port = port
}

/** The sources that reach the demo API. */
export function demoSources(config: Config): string[] {
  return Object.entries(config.file.sources)
    .filter(([, { egress }]) => egress.some(({ host }) => host === demoHost))
    .map(([id]) => id)
}

/** Writes what the egress process reads: its own settings of this run's configuration, and no source. Returns where. */
export async function writeEgressConfig(config: Config, logLevel: string): Promise<string> {
  const { baseDir, stateDir, file } = config
  const path = join(stateDir, 'egress.yaml')
  // The file lies in another folder than the one that names start from.
  const caFiles = file.egress.upstream_ca_files.map((name) => resolve(baseDir, name))
  const egress = { ...file.egress, upstream_ca_files: caFiles }
  const settings = { state_dir: stateDir, log_level: logLevel, egress }
  await writeFile(path, JSON.stringify(settings))
  return path
}

/** Where gateway and demo API listen. */
export interface Ports {
  gateway: number
  orders: number
}

const portsFile = (folder: string) => join(folder, 'ports.json')

/** The same ports as last time, so that yesterday's pasted lines and accepted tools still fit; 0 is a free one. */
export async function wantedPorts(folder: string, port: number): Promise<Ports> {
  const text = await readFile(portsFile(folder), 'utf8').catch(() => undefined)
  const last = text === undefined ? undefined : (JSON.parse(text) as Ports)
  return {
    gateway: port === 0 ? (last?.gateway ?? 0) : port,
    orders: last?.orders ?? (port === 0 ? 0 : samplePort),
  }
}

export async function keepPorts(folder: string, ports: Ports): Promise<void> {
  await writeFile(portsFile(folder), JSON.stringify(ports))
}
