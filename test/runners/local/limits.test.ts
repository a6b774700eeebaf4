import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SandboxFacts } from '../../../src/runners/index.ts'
import { until } from '../../support/until.ts'
import { type Gateway, sandboxSpec, World } from './gateway.ts'
import { kinds } from './kinds.ts'

for (const { title, isolation, userId, options } of kinds) {
  describe(`limits of a sandbox made by ${title}`, options, () => {
    let world: World
    let gateway: Gateway
    let facts: SandboxFacts
    const spec = sandboxSpec()
    const inside = async (command: string) => await gateway.run(facts, command)

    beforeAll(async () => {
      world = new World(isolation, userId)
      gateway = await world.gateway()
      facts = await gateway.start(spec)
    })
    afterAll(async () => await world[Symbol.asyncDispose]())

    test('a fork bomb meets the limit on processes and the toolhost answers on', async () => {
      const bomb = await inside(
        'perl -e \'$SIG{CHLD}="IGNORE"; for (1..400) { my $p = fork(); if (!defined $p) { print "refused at $_\\n"; last } if (!$p) { sleep 2; exit } }\'',
      )
      const at = Number(/refused at (\d+)/.exec(bomb.stdout)?.[1])
      expect(at).toBeGreaterThan(20)
      expect(at).toBeLessThan(spec.limits.processes)
      await until(async () => (await inside('echo well')).stdout === 'well\n')
    })

    test('orphans are buried and do not count for ever', async () => {
      await inside('for i in $(seq 1 150); do (sh -c "sleep 0.01 & exit" &) ; done; sleep 0.3')
      await until(
        async () => Number((await inside('grep -l "State:.Z" /proc/[0-9]*/status | wc -l')).stdout) === 0,
      )
      expect((await inside('echo well')).stdout).toBe('well\n')
    })

    test('a process opens no more files than it may', async () => {
      const { stdout } = await inside(
        'perl -e \'my @f; while (open(my $f, "<", "/dev/null")) { push @f, $f } print scalar @f\'',
      )
      expect(Number(stdout)).toBeLessThan(spec.limits.openFiles)
      expect(Number(stdout)).toBeGreaterThan(spec.limits.openFiles - 20)
    })

    test('a process that hogs memory ends, and neither the toolhost nor the machine does', async () => {
      const { stdout, code } = await inside(
        'perl -e \'my @a; for (1..200) { push @a, "x" x (64 * 1048576); print "$_\\n" }\' | tail -1',
      )
      // 64 MiB a step; what one process may set aside bounds it even where no control group does.
      expect(Number(stdout) || 0).toBeLessThan(64)
      expect(code).toBeDefined()
      await until(async () => (await inside('echo well')).stdout === 'well\n')
    })

    test('/tmp and /dev/shm end before the machine’s memory does', async () => {
      for (const place of ['/tmp', '/dev/shm']) {
        const { stdout } = await inside(`df -B1 --output=size ${place} | tail -1`)
        expect(Number(stdout)).toBeLessThanOrEqual(spec.limits.memoryBytes / 2)
      }
      expect((await inside('cat /proc/self/limits')).stdout).toMatch(/Max core file size\s+0\s+0/)
    })

    test('limits cannot be raised from inside', async () => {
      for (const limit of ['--nproc=100000', '--nofile=100000', '--data=unlimited', '--core=unlimited']) {
        expect((await inside(`prlimit ${limit} true`)).code).not.toBe(0)
      }
    })

    test('the machine’s memory killer takes a sandbox before the gateway', () => {
      const record = JSON.parse(readFileSync(`${world.stateDir}/runners/${spec.name}/g1.json`, 'utf8'))
      expect(Number(readFileSync(`/proc/${record.init.pid}/oom_score_adj`, 'utf8'))).toBe(500)
    })
  })
}
