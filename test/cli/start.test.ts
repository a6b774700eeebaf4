import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))

/**
 * Says at the end of a process how many threads it had and what its children would be given. It prints that, because a
 * process that has ended can be asked no other way.
 */
const spy = `
  import { readdirSync } from 'node:fs'
  process.on('exit', () => {
    const { UV_THREADPOOL_SIZE, MALLOC_MMAP_THRESHOLD_ } = process.env
    const left = [UV_THREADPOOL_SIZE, MALLOC_MMAP_THRESHOLD_].filter((value) => value !== undefined)
    console.log(JSON.stringify({ threads: readdirSync('/proc/self/task').length, left }))
  })`

/** Ends at once: there is no such configuration. */
function start(command: string): Promise<{ threads: number; left: string[] }> {
  const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(spy)}`
  const env = { PATH: process.env['PATH'], TOOLCRIB_CONFIG: '/nowhere/toolcrib.yaml', NODE_OPTIONS }
  return new Promise((resolve) =>
    execFile(process.execPath, [entry, command], { env }, (_error, stdout) =>
      resolve(JSON.parse(stdout) as { threads: number; left: string[] }),
    ),
  )
}

test('the egress proxy has threads to spare for look-ups that hang, and no server hands its settings to children', async () => {
  const [egress, serve] = await Promise.all([start('egress'), start('serve')])
  expect(egress.threads).toBeGreaterThan(64)
  expect(serve.threads).toBeLessThan(egress.threads)
  expect([egress.left, serve.left]).toEqual([[], []])
})
