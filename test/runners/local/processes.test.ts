import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { headScript } from '../../../src/runners/local/chain.ts'
import { findProcess, markedProcesses } from '../../../src/runners/local/processes.ts'

test('who becomes the next of its chain at the lock is at no moment taken for one past it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-lock-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const marker = `toolcrib-test-${process.pid}`
  let taken = 0
  for (let times = 0; times < 200; times += 1) {
    // It waits for a word that never comes, as one does whose creator writes its record.
    const child = spawn(
      '/bin/sh',
      ['-c', headScript, marker, 'read -r word', join(folder, `lock-${times}`)],
      {
        stdio: ['pipe', 'ignore', 'ignore'],
      },
    )
    const head = await findProcess(child.pid ?? -1)
    if (head === undefined) throw new Error('it did not begin')
    for (const until = performance.now() + 8; performance.now() < until; )
      taken += markedProcesses([head], marker).length
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  expect(taken).toBe(0)
})
