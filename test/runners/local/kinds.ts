import { execFileSync } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { detectIsolation, type Isolation } from '../../../src/runners/index.ts'

/** An unprivileged user that owns nothing on this machine. */
const ordinaryUser = 54_321

export interface Kind {
  title: string
  isolation: Isolation
  userId: number | undefined
}

/**
 * What this machine can show: each isolation that works, as root and as an ordinary user when the tests run as
 * root. What it cannot is named on standard error, with the command that runs it.
 */
export async function testableKinds(): Promise<Kind[]> {
  const { works, refused } = await detectIsolation()
  for (const { isolation, reason, cure } of refused) {
    leftOut(`${isolation} sandboxes: ${reason} ${cure} Then run: npx vitest run test/runners/local`)
  }
  const asRoot = process.getuid?.() === 0
  if (!asRoot) leftOut('sandboxes made by root: run as root: npx vitest run test/runners/local')
  if (asRoot && !reachable())
    leftOut('sandboxes made by an ordinary user: put the checkout where others may read')
  return works.flatMap((isolation) => [
    {
      title: `${isolation}, gateway as ${asRoot ? 'root' : 'an ordinary user'}`,
      isolation,
      userId: undefined,
    },
    ...(asRoot && reachable()
      ? [{ title: `${isolation}, gateway as an ordinary user`, isolation, userId: ordinaryUser }]
      : []),
  ])
}

function leftOut(what: string): void {
  process.stderr.write(`left out here: ${what}\n`)
}

/** Whether another user can run this checkout's Node. */
function reachable(): boolean {
  try {
    accessSync(process.execPath, constants.X_OK)
    for (let at = dirname(process.execPath); at !== dirname(at); at = dirname(at)) {
      if ((statSync(at).mode & 0o001) === 0) return false
    }
    execFileSync('setpriv', ['--version'])
    return true
  } catch {
    return false
  }
}
