import { delimiter, dirname } from 'node:path'
import type { Log } from '../core/index.ts'
import type { ToolhostSettings } from '../wire/index.ts'
import { createCalls } from './calls.ts'
import { guardMemory } from './memory-guard.ts'
import { dialTcp, type ProbeDial, type ProbeVerdict, probeEgress, probeTargets } from './probe.ts'
import { type Relay, startRelay } from './relay.ts'
import { startServer } from './server.ts'
import { sourceEnvironment, type WayOut } from './source-environment.ts'
import { createSources } from './sources.ts'
import { writeTrust } from './trust.ts'

export interface Toolhost {
  /** Refuses what is new, lets calls end for a while, ends every source, stops listening. Again: the same promise. */
  drain(): Promise<void>
  /** Settles when a drain, whoever asked for it, is through. */
  readonly drained: Promise<void>
}

/** Starts the program inside the sandbox; it listens when the promise settles. */
export async function startToolhost(options: {
  settings: ToolhostSettings
  kubernetesApi: { host: string; port: number } | undefined
  log: Log
  /** How the boot probe dials; tests give their own. */
  dial?: ProbeDial
}): Promise<Toolhost> {
  const { settings, log } = options
  const probe: Promise<ProbeVerdict> = settings.probe
    ? probeEgress(probeTargets(options.kubernetesApi), options.dial ?? dialTcp)
    : Promise.resolve({ egress: 'not_probed' })
  const { relay, way } = await openWayOut(settings)
  const sources = createSources({
    environment: (launch) => sourceEnvironment(launch, settings, way),
    settings,
    log,
  })
  const calls = createCalls(settings.limits)
  const guard =
    (settings.ownPidNamespace ?? settings.probe)
      ? guardMemory({ limitBytes: settings.limits.memoryBytes, sources: () => sources.list(), log })
      : undefined
  const drained = Promise.withResolvers<void>()
  let draining = false
  const server = await startServer({
    settings,
    sources,
    calls,
    probe,
    log,
    draining: () => draining,
    drain: () => void drain(),
  })

  function drain(): Promise<void> {
    if (!draining) {
      draining = true
      end().then(drained.resolve, drained.reject)
    }
    return drained.promise
  }

  async function end(): Promise<void> {
    await calls.drain(settings.times.drain)
    await sources.close()
    guard?.[Symbol.dispose]()
    relay?.close()
    await server.close()
  }

  return { drain, drained: drained.promise }
}

async function openWayOut(settings: ToolhostSettings): Promise<{ relay: Relay | null; way: WayOut }> {
  const { caFile, temporaryFolder: folder, path } = settings
  const [relay, trust] = await Promise.all([
    settings.egressSocketPath === null ? null : startRelay(settings.egressSocketPath),
    caFile === null
      ? { bundleFile: null, javaTrustFile: null, wgetFile: null, phpFolder: null }
      : writeTrust({ caFile, folder, path: `${dirname(process.execPath)}${delimiter}${path}` }),
  ])
  return { relay, way: { relayPort: relay?.port ?? null, caFile, ...trust } }
}
