import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { endUnrecorded, type SandboxSpec } from '../../../src/runners/index.ts'
import { layoutOf } from '../../../src/runners/local/layout.ts'
import { needing } from '../../support/needs.ts'
import { until } from '../../support/until.ts'
import { sandboxSpec, World } from './gateway.ts'
import { type Kind, kinds } from './kinds.ts'

const bare: Kind = { title: 'no isolation', isolation: 'none', userId: undefined, options: needing() }

for (const { title, isolation, userId, options } of [...kinds, bare]) {
  describe(`the life of a sandbox made by ${title}`, options, () => {
    test('the home stays from one generation to the next, private, and nothing else does', async () => {
      await using world = new World(isolation, userId)
      const gateway = await world.gateway()
      const spec = sandboxSpec()
      const facts = await gateway.start(spec)
      await gateway.run(facts, 'echo kept > ~/file; chmod 600 ~/file')
      await gateway.delete(spec.name, spec.uid, 1000)
      expect(await gateway.observe(spec.name)).toBeUndefined()
      expect(leftovers(world, spec)).toEqual([])
      const next = { ...spec, generation: 2, uid: `${spec.uid}-next` }
      const again = await gateway.start(next)
      expect((await gateway.run(again, 'cat ~/file; stat -c %a ~')).stdout).toBe('kept\n700\n')
    })

    test('invariant 6: twenty racing creators make one sandbox', async () => {
      await using world = new World(isolation, userId)
      const gateways = await Promise.all([world.gateway(), world.gateway(), world.gateway()])
      const spec = sandboxSpec()
      const specs = Array.from({ length: 20 }, (_, i) => ({
        ...spec,
        uid: `racer-${i % 10}`,
        generation: i % 10,
      }))
      const answers = await Promise.all(specs.map(async (one, i) => await gateways[i % 3]?.ensure(one)))
      const winners = new Set(answers.map((answer) => answer?.facts.uid))
      expect(winners.size).toBe(1)
      const [winner] = winners
      for (const [i, answer] of answers.entries()) {
        expect(answer?.kind).toBe(specs[i]?.uid === winner ? 'ours' : 'taken')
      }
      await until(() => heads(world).length === 1)
      expect(await gateways[1]?.list()).toHaveLength(1)
    })

    test('it survives kill -9 of the gateway that made it, and another gateway adopts and ends it', async () => {
      await using world = new World(isolation, userId)
      const first = await world.gateway()
      const spec = sandboxSpec()
      await first.start(spec)
      await first.kill()
      const second = await world.gateway()
      const facts = await second.observe(spec.name)
      expect(facts).toMatchObject({ uid: spec.uid, phase: 'running' })
      expect(await second.ensure(spec)).toMatchObject({ kind: 'ours' })
      expect((await second.run(facts as never, 'echo well')).stdout).toBe('well\n')
      await second.delete(spec.name, spec.uid, 1000)
      expect(leftovers(world, spec)).toEqual([])
    })

    test('killing any link of the chain ends all of it', { timeout: 60_000 }, async () => {
      await using world = new World(isolation, userId)
      const gateway = await world.gateway()
      const spec = sandboxSpec()
      const links = isolation === 'none' ? 2 : 4
      for (let link = 0; link < links; link++) {
        const life = { ...spec, generation: link + 1, uid: `${spec.uid}-${link}` }
        const facts = await gateway.start(life)
        if (isolation !== 'none') await gateway.run(facts, 'setsid sleep 300 >/dev/null 2>&1 &')
        const chain = chainOf(world, life)
        expect(chain).toHaveLength(links)
        process.kill(chain[link] ?? -1, 'SIGKILL')
        await until(async () => (await gateway.observe(spec.name)) === undefined)
        expect(processesOf(world, life)).toEqual([])
      }
    })

    test('a sandbox whose folder was removed under it is ended, and its name is free again', async () => {
      await using world = new World(isolation, userId)
      const gateway = await world.gateway()
      const spec = sandboxSpec()
      await gateway.start(spec)
      rmSync(join(world.stateDir, 'runners', spec.name), { recursive: true })
      expect(await gateway.observe(spec.name)).toBeUndefined()
      // Without isolation what carries the marker has become the toolhost by then.
      expect(isolation === 'none' ? [] : processesOf(world, spec)).toEqual([])
      await endUnrecorded(world.stateDir)
      expect(processesOf(world, spec)).toEqual([])
      const next = { ...spec, generation: 2, uid: `${spec.uid}-next` }
      expect((await gateway.run(await gateway.start(next), 'echo well')).stdout).toBe('well\n')
    })

    test('a creator killed at any moment leaves a sandbox or nothing, and never doubt', {
      timeout: 120_000,
    }, async () => {
      await using world = new World(isolation, userId)
      const heir = await world.gateway()
      for (const afterMs of [0, 8, 16, 32, 64, 128]) {
        const spec = sandboxSpec()
        const doomed = await world.gateway()
        doomed.ensure(spec).catch(() => undefined)
        await new Promise((resolve) => setTimeout(resolve, afterMs))
        await doomed.kill()
        const seen = await heir.observe(spec.name)
        expect([undefined, spec.uid]).toContain(seen?.uid)
        expect((await heir.ensure(spec)).kind).toBe('ours')
        // The doomed one's attempt may still be on its way to be refused.
        await until(() => heads(world).length === 1)
        await heir.delete(spec.name, spec.uid, 0)
        expect(heads(world)).toEqual([])
      }
    })

    test('delete asks first, and kills what does not listen', async () => {
      await using world = new World(isolation, userId)
      const gateway = await world.gateway()
      const polite = sandboxSpec()
      await gateway.start(polite)
      const before = performance.now()
      await gateway.delete(polite.name, polite.uid, 10_000)
      expect(performance.now() - before).toBeLessThan(9000)

      const deaf = sandboxSpec()
      await gateway.start(deaf)
      process.kill(chainOf(world, deaf).at(-1) ?? -1, 'SIGSTOP')
      await gateway.delete(deaf.name, deaf.uid, 200)
      expect(processesOf(world, deaf)).toEqual([])
      expect(leftovers(world, deaf)).toEqual([])
    })

    test('invariant 12: another uid, an absent name or a recycled process number deletes nothing', async () => {
      await using world = new World(isolation, userId)
      const gateway = await world.gateway()
      const spec = sandboxSpec()
      await gateway.delete('never-made', 'x', 0)
      const facts = await gateway.start(spec)
      await gateway.delete(spec.name, 'somebody-else', 0)
      expect(await gateway.observe(spec.name)).toEqual(facts)

      const path = join(world.stateDir, 'runners', spec.name, 'g1.json')
      const text = readFileSync(path, 'utf8')
      const record = JSON.parse(text)
      // As after a reboot: the number is taken by another process, which began at another time.
      writeFileSync(path, JSON.stringify({ ...record, head: { pid: process.pid, start: record.head.start } }))
      await Promise.all([
        expect(gateway.observe(spec.name)).rejects.toThrow('which'),
        expect(gateway.delete(spec.name, spec.uid, 0)).rejects.toThrow('which'),
      ])
      writeFileSync(path, text)
      expect(await gateway.observe(spec.name)).toEqual(facts)
    })

    test('invariant 13: a socket that was exchanged for a link to another is refused', async () => {
      await using world = new World(isolation, userId)
      const gateway = await world.gateway()
      const [victim, thief] = [sandboxSpec(), sandboxSpec()]
      const victimFacts = await gateway.start(victim)
      const facts = await gateway.start(thief)
      const socket = socketOf(world, thief)
      renameSync(socket, `${socket}.aside`)
      symlinkSync(socketOf(world, victim), socket)
      expect((await gateway.observe(thief.name))?.address).toBeNull()
      await expect(gateway.dial(facts)).rejects.toThrow('not its socket')

      const host = createServer().listen(join(world.folder, 'host.sock'))
      execFileSync('ln', ['-sfn', join(world.folder, 'host.sock'), socket])
      await expect(gateway.dial(facts)).rejects.toThrow('not its socket')
      execFileSync('sh', ['-c', 'rm "$0"; echo text > "$0"', socket])
      await expect(gateway.dial(facts)).rejects.toThrow('not its socket')
      host.close()
      expect((await gateway.run(victimFacts, 'echo well')).stdout).toBe('well\n')
    })
  })
}

for (const isolation of ['bubblewrap', 'unshare'] as const)
  test(
    `two sandboxes made by ${isolation} have different users, where the gateway is root`,
    needing(isolation, 'root'),
    async () => {
      await using world = new World(isolation)
      const gateway = await world.gateway()
      const specs = [sandboxSpec(), sandboxSpec()]
      for (const spec of specs) await gateway.start(spec)
      const owners = specs.map((spec) => recordOf(world, spec).owner)
      expect(new Set(owners).size).toBe(2)
      for (const owner of owners) expect(owner).toBeGreaterThanOrEqual(200_000)
    },
  )

test('names that are more than names are refused', async () => {
  await using world = new World('none')
  const gateway = await world.gateway()
  for (const name of ['', '..', '../x', 'a/b', '-rf', 'a\0b', 'A', 'a..b', 'x'.repeat(64)]) {
    await expect(gateway.ensure(sandboxSpec({ name }))).rejects.toThrow('name is')
    await expect(gateway.ensure(sandboxSpec({ homeName: name }))).rejects.toThrow('name is')
    await expect(gateway.observe(name)).rejects.toThrow('name is')
  }
})

function recordOf(world: World, spec: SandboxSpec) {
  return JSON.parse(
    readFileSync(join(world.stateDir, 'runners', spec.name, `g${spec.generation}.json`), 'utf8'),
  )
}

function socketOf(world: World, spec: SandboxSpec): string {
  return recordOf(world, spec).socketPath
}

/** What lies in a runner's folder of any life. */
function leftovers(world: World, spec: SandboxSpec): string[] {
  mkdirSync(join(world.stateDir, 'runners', spec.name), { recursive: true })
  return readdirSync(join(world.stateDir, 'runners', spec.name)).filter((entry) => /^g\d/.test(entry))
}

/** Every process of this life's chain, outermost first, down to the toolhost. */
function chainOf(world: World, spec: SandboxSpec): number[] {
  const { head } = recordOf(world, spec)
  const rows = table()
  const chain = [head.pid as number]
  for (;;) {
    const child = rows.filter((row) => row.ppid === chain.at(-1)).toSorted((a, b) => a.pid - b.pid)[0]
    if (child === undefined) return chain
    chain.push(child.pid)
    if (child.command.startsWith(process.execPath) || child.command.startsWith('/opt/node/bin/node'))
      return chain
  }
}

/** Processes of this sandbox that the machine shows, supervisors and sleepers alike. */
function processesOf(world: World, spec: SandboxSpec): string[] {
  const { marker, folder } = layoutOf(world.stateDir).of(spec.name)
  return table()
    .map((row) => row.command)
    .filter((command) => command.includes(marker) || command.includes(`${folder}/`))
}

/** The heads of this world's chains: one for each sandbox, and one for each attempt that is about to be refused. */
function heads(world: World): string[] {
  const locks = readdirSync(join(world.stateDir, 'runners')).map((name) =>
    join(world.stateDir, 'runners', name, 'lock'),
  )
  return table()
    .map((row) => row.command)
    .filter((command) => command.startsWith('flock ') && locks.some((lock) => command.includes(lock)))
}

/** What lives, as /proc tells: `ps` is not on every machine. */
function table(): { pid: number; ppid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
        const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ')
        return state === 'Z' ? [] : [{ pid: Number(entry), ppid: Number(ppid), command }]
      } catch {
        return []
      }
    })
}
