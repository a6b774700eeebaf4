import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { silentLog } from '../../../src/core/index.ts'
import {
  createLocalDriver,
  type Isolation,
  type RunnerDriver,
  type SandboxSpec,
} from '../../../src/runners/index.ts'
import { sandboxSpec, World } from './gateway.ts'

/**
 * What `test/runners/driver-contract.ts` asks of a driver's tests:
 * `driverContract('local bubblewrap', () => localHarness('bubblewrap'))`.
 */
export interface LocalHarness extends AsyncDisposable {
  driver: RunnerDriver
  spec(change?: Partial<SandboxSpec>): SandboxSpec
  /** `kill -9` of the sandbox, behind the driver's back. */
  kill(name: string): Promise<void>
  /** What is left of a sandbox besides its home: records, sockets, processes. */
  leftovers(name: string): Promise<string[]>
}

/** A driver in this process, with a state directory of its own and the fixture toolhost. */
export async function localHarness(isolation: Isolation): Promise<LocalHarness> {
  const world = new World(isolation)
  const { stateDir, appDir, egressSocketDir } = world
  const driver = await createLocalDriver({
    stateDir,
    appDir,
    egressSocketDir,
    nodePath: process.execPath,
    isolation: isolation === 'kubernetes' ? 'auto' : isolation,
    compileCache: false,
    log: silentLog,
  })
  const folder = (name: string) => join(stateDir, 'runners', name)
  const files = (name: string) => readdirSync(folder(name)).filter((entry) => /^g\d/.test(entry))
  return {
    driver,
    spec: sandboxSpec,
    async kill(name) {
      const record = files(name).find((entry) => entry.endsWith('.json')) ?? ''
      process.kill(JSON.parse(readFileSync(join(folder(name), record), 'utf8')).head.pid, 'SIGKILL')
    },
    async leftovers(name) {
      const processes = readdirSync('/proc').filter(
        (pid) => /^\d+$/.test(pid) && commandOf(pid).includes(`${folder(name)}/`),
      )
      return [...files(name), ...processes]
    },
    async [Symbol.asyncDispose]() {
      const signal = AbortSignal.timeout(60_000)
      for (const facts of await driver.list(signal)) await driver.delete(facts.name, facts.uid, 0, signal)
      await world[Symbol.asyncDispose]()
    },
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}
