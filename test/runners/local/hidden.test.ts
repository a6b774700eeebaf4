import { accessSync, constants, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { canary, sandboxSpec, World } from './gateway.ts'
import { testableKinds } from './kinds.ts'

/** A folder that every sandbox sees, as many a container has its checkout in /usr/src/app. */
const shown = '/usr/local/lib'

for (const { title, isolation, userId } of writable() ? await testableKinds() : []) {
  test(`${title}: a checkout and a state directory below /usr stay hidden`, async () => {
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
}

if (!writable())
  process.stderr.write('left out here, run as root: npx vitest run test/runners/local/hidden.test.ts\n')

function writable(): boolean {
  try {
    accessSync(shown, constants.W_OK)
    return true
  } catch {
    return false
  }
}
