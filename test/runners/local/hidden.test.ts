import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { needing } from '../../support/needs.ts'
import { canary, sandboxSpec, World } from './gateway.ts'
import { kinds } from './kinds.ts'

/** A folder that every sandbox sees, as many a container has its checkout in /usr/src/app. */
const shown = '/usr/local/lib'

describe('below /usr', needing('root'), () => {
  for (const { title, isolation, userId, options } of kinds)
    test(`${title}: a checkout and a state directory there stay hidden`, options, async () => {
      await using world = new World(isolation, userId, shown)
      // What modes protect from another user, they do not protect from the same one.
      for (const folder of [world.appDir, world.stateDir])
        writeFileSync(join(folder, 'key'), canary, { mode: 0o644 })
      const gateway = await world.gateway()
      const facts = await gateway.start(sandboxSpec())
      const { stdout, stderr } = await gateway.run(
        facts,
        `ls -A ${world.appDir} ${world.stateDir}; cat ${world.appDir}/key ${world.stateDir}/key; ls /opt/toolcrib`,
      )
      expect(stdout).not.toContain(canary)
      expect(stdout).toMatch(/app:\n\n.*state:\n/)
      expect(stdout).toContain('package.json')
      expect(stderr.match(/No such file/g)).toHaveLength(2)
    })
})

describe('below /tmp', () => {
  for (const { title, isolation, userId, options } of kinds)
    test(
      `${title}: what an admin shows is there, nothing beside it, and the rest is the sandbox's own`,
      options,
      async () => {
        const folder = mkdtempSync(join(tmpdir(), 'shown-'))
        try {
          chmodSync(folder, 0o755)
          writeFileSync(join(folder, 'program'), 'shown')
          await using world = new World(isolation, userId)
          const gateway = await world.gateway({ readOnlyPaths: [join(folder, 'program')] })
          const facts = await gateway.start(sandboxSpec())
          const { stdout } = await gateway.run(
            facts,
            `cat ${folder}/program; ls /tmp; touch /tmp/mine && echo writable; echo x 2>&1 >${folder}/program`,
          )
          expect(stdout).toMatch(/^shownshown-\w+\nwritable\n.*(Read-only|denied)/)
        } finally {
          rmSync(folder, { recursive: true })
        }
      },
    )
})
