import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, type SuiteOptions, test } from 'vitest'
import type { RunnerDriver, SandboxFacts, SandboxSpec } from '../../src/runners/index.ts'
import { until } from '../support/until.ts'

/** A driver with what a test needs around it: the power to break things behind its back. */
export interface DriverHarness extends AsyncDisposable {
  driver: RunnerDriver
  /** A spec with a fresh name, home and uid; `change` overrides. */
  spec(change?: Partial<SandboxSpec>): SandboxSpec
  /** `kill -9` of everything in the sandbox, behind the driver's back. */
  kill(name: string): Promise<void>
  /** What is left of a sandbox besides its home: processes, sockets, folders. */
  leftovers(name: string): Promise<string[]>
}

const signal = AbortSignal.timeout(600_000)

/** What every driver promises in `driver.ts`; call it at the top level of a test file. */
export function driverContract(
  name: string,
  makeHarness: () => Promise<DriverHarness>,
  /** What `needing` says of this driver. */
  options: SuiteOptions = {},
): void {
  /** A harness with one sandbox that runs. */
  async function withSandbox(): Promise<{ harness: DriverHarness; spec: SandboxSpec; facts: SandboxFacts }> {
    const harness = await makeHarness()
    const spec = harness.spec()
    await harness.driver.ensure(spec, signal)
    return { harness, spec, facts: await untilRunning(harness.driver, spec.name) }
  }

  describe(`driver contract: ${name}`, options, () => {
    test('a sandbox that was never made is observed as gone and not listed', async () => {
      await using harness = await makeHarness()
      expect(await harness.driver.observe(harness.spec().name, signal)).toBeUndefined()
      expect(await harness.driver.list(signal)).toEqual([])
    })

    test('a made sandbox comes to run, with the uid and generation of its spec and a way to dial it', async () => {
      const { harness, spec, facts } = await withSandbox()
      await using _ = harness
      expect(facts).toMatchObject({
        name: spec.name,
        uid: spec.uid,
        generation: spec.generation,
        message: null,
      })
      const dial = await harness.driver.dial(facts)
      expect(dial.socketPath).not.toBe('')
      dial.release()
    })

    test('ensure again for the same uid finds the same sandbox and makes no second one', async () => {
      const { harness, spec, facts } = await withSandbox()
      await using _ = harness
      const again = await Promise.all([1, 2, 3].map(() => harness.driver.ensure(spec, signal)))
      expect(again.map((one) => one.kind)).toEqual(['ours', 'ours', 'ours'])
      expect(again[0]?.facts).toMatchObject({ uid: facts.uid, address: facts.address })
      expect(await harness.driver.list(signal)).toHaveLength(1)
    })

    test('racing ensures for one uid make one sandbox', async () => {
      await using harness = await makeHarness()
      const spec = harness.spec()
      const made = await Promise.all(Array.from({ length: 8 }, () => harness.driver.ensure(spec, signal)))
      expect(new Set(made.map((one) => one.facts.uid))).toEqual(new Set([spec.uid]))
      expect(await harness.driver.list(signal)).toHaveLength(1)
    })

    test('ensure of another generation under a taken name says so and touches nothing', async () => {
      const { harness, spec, facts } = await withSandbox()
      await using _ = harness
      const next = harness.spec({ name: spec.name, homeName: spec.homeName, generation: spec.generation + 1 })
      const answer = await harness.driver.ensure(next, signal)
      expect(answer).toMatchObject({ kind: 'taken', facts: { uid: spec.uid, generation: spec.generation } })
      expect(await harness.driver.observe(spec.name, signal)).toEqual(facts)
    })

    test('invariant 12: delete with another uid does nothing', async () => {
      const { harness, spec, facts } = await withSandbox()
      await using _ = harness
      await harness.driver.delete(spec.name, harness.spec().uid, 0, signal)
      expect(await harness.driver.observe(spec.name, signal)).toEqual(facts)
    })

    test('delete leaves nothing but the home, again does no harm, and the name is free for the next generation', async () => {
      const { harness, spec } = await withSandbox()
      await using _ = harness
      await harness.driver.delete(spec.name, spec.uid, 500, signal)
      await untilGone(harness.driver, spec.name)
      expect(await harness.leftovers(spec.name)).toEqual([])
      await harness.driver.delete(spec.name, spec.uid, 0, signal)
      const next = harness.spec({ name: spec.name, homeName: spec.homeName, generation: spec.generation + 1 })
      expect((await harness.driver.ensure(next, signal)).kind).toBe('ours')
      expect(await untilRunning(harness.driver, spec.name)).toMatchObject({ uid: next.uid })
    })

    test('list shows every sandbox', async () => {
      await using harness = await makeHarness()
      const specs = [harness.spec(), harness.spec(), harness.spec()]
      for (const spec of specs) await harness.driver.ensure(spec, signal)
      const names = (await harness.driver.list(signal)).map((facts) => facts.name)
      expect(names.toSorted()).toEqual(specs.map((spec) => spec.name).toSorted())
    })

    test('a killed sandbox is hinted at, observed as gone or failed, and refuses to be dialled', async () => {
      const { harness, spec, facts } = await withSandbox()
      await using _ = harness
      const hints: string[] = []
      await using _watch = harness.driver.watch((changed) => hints.push(changed))
      await harness.kill(spec.name)
      await until(async () => {
        const now = await harness.driver.observe(spec.name, signal)
        return now === undefined || now.phase === 'failed'
      })
      await until(async () => hints.includes(spec.name))
      await expect(harness.driver.dial(facts)).rejects.toBeInstanceOf(Error)
      // Whatever a kill leaves, a delete takes away.
      await harness.driver.delete(spec.name, spec.uid, 0, signal)
      await untilGone(harness.driver, spec.name)
      expect(await harness.leftovers(spec.name)).toEqual([])
    })

    test('invariant 13: facts of an earlier generation cannot be dialled once the name has a new one', async () => {
      const { harness, spec, facts } = await withSandbox()
      await using _ = harness
      await harness.driver.delete(spec.name, spec.uid, 0, signal)
      await untilGone(harness.driver, spec.name)
      const next = harness.spec({ name: spec.name, homeName: spec.homeName, generation: spec.generation + 1 })
      await harness.driver.ensure(next, signal)
      await untilRunning(harness.driver, spec.name)
      await expect(harness.driver.dial(facts)).rejects.toBeInstanceOf(Error)
    })

    test('a watch hints when a sandbox appears and is silent once closed', async () => {
      await using harness = await makeHarness()
      const hints: string[] = []
      const watch = harness.driver.watch((changed) => hints.push(changed))
      const spec = harness.spec()
      await harness.driver.ensure(spec, signal)
      await until(async () => hints.includes(spec.name))
      await untilRunning(harness.driver, spec.name)
      await watch[Symbol.asyncDispose]()
      hints.length = 0
      await harness.driver.delete(spec.name, spec.uid, 0, signal)
      await untilGone(harness.driver, spec.name)
      await sleep(100)
      expect(hints).toEqual([])
    })

    test('an aborted signal throws and decides nothing', async () => {
      await using harness = await makeHarness()
      const spec = harness.spec()
      await expect(harness.driver.observe(spec.name, AbortSignal.abort())).rejects.toBeInstanceOf(Error)
      await expect(harness.driver.list(AbortSignal.abort())).rejects.toBeInstanceOf(Error)
    })
  })
}

/** What a driver promises besides where others can hold a name: `squat` puts something there that is not ours. */
export function strangersContract(
  name: string,
  makeHarness: () => Promise<DriverHarness & { squat(name: string): Promise<void> }>,
): void {
  test(`driver contract: ${name}: a name held by what is not ours is taken, left alone and not listed`, async () => {
    await using harness = await makeHarness()
    const spec = harness.spec()
    await harness.squat(spec.name)
    expect((await harness.driver.ensure(spec, signal)).kind).toBe('taken')
    expect(await harness.driver.list(signal)).toEqual([])
  })
}

async function untilRunning(driver: RunnerDriver, name: string): Promise<SandboxFacts> {
  let facts: SandboxFacts | undefined
  await until(async () => {
    facts = await driver.observe(name, signal)
    return facts?.phase === 'running' && facts.address !== null
  })
  if (facts === undefined) throw new Error('unreachable')
  return facts
}

async function untilGone(driver: RunnerDriver, name: string): Promise<void> {
  await until(async () => (await driver.observe(name, signal)) === undefined)
}
