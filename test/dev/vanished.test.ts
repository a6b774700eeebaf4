import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { type DevProcess, orders, startDev } from '../support/dev-process.ts'
import { sandboxesOf } from '../support/sandbox-processes.ts'
import { until } from '../support/until.ts'

test('a start whose folder vanishes says so and ends, its sandboxes with it, and leaves alone what another made there', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-gone-'))
  // What runs there may write meanwhile.
  const remove = () => rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 20 })
  onTestFinished(remove)
  const vanish = async ({ ready }: DevProcess) => {
    await remove()
    try {
      process.kill(ready.pids.database, 'SIGKILL')
    } catch {
      // PostgreSQL notices by itself, within a minute.
    }
  }
  await using first = await startDev({ folder })
  expect(await orders(first, await first.token('alice'))).toContain('brass token')
  await vanish(first)
  await using second = await startDev({ folder })
  const token = await second.token('alice')
  expect(await orders(second, token)).toContain('brass token')
  await until(() => first.process.exitCode !== null, 30_000)
  expect(first.process.exitCode).toBe(1)
  expect(first.log()).toMatch(/removed or moved .* while this ran\. Put the folder back/)
  expect(first.log().match(/embedded database ended/g)).toHaveLength(1)
  expect(existsSync(join(folder, 'pid')) && existsSync(join(folder, 'database-url'))).toBe(true)
  expect(await orders(second, token)).toContain('brass token')

  await vanish(second)
  await until(() => second.process.exitCode !== null, 30_000)
  expect(await sandboxesOf(join(folder, 'sandboxes'))).toEqual([])
}, 300_000)
