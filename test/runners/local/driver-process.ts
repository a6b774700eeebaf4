/**
 * A gateway process as far as the local driver is concerned: one driver, told what to do by JSON lines on
 * standard input. It can run as another user, and be killed like one.
 */
import { enableCompileCache, flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { LocalDriverOptions, SandboxFacts, SandboxSpec } from '../../../src/runners/index.ts'

// Many of these are started: compiled once, as `bin/toolcrib.mjs` is, and past the room's door, behind which is far
// more. Most end by SIGKILL, which writes nothing of what was compiled.
enableCompileCache(join(import.meta.dirname, '../../../node_modules/.cache/toolcrib'))
const { silentLog } = await import('../../../src/core/index.ts')
const { createLocalDriver } = await import('../../../src/runners/local/driver.ts')

type Request = { id: number; method: string; args: unknown[] }

const options = JSON.parse(process.argv[2] ?? '{}') as Omit<LocalDriverOptions, 'log'>
const signal = new AbortController().signal
const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`)

try {
  const driver = await createLocalDriver({ ...options, log: silentLog })
  const answer = async ({ method, args }: Request): Promise<unknown> => {
    const [first, second, third] = args
    switch (method) {
      case 'ensure':
        return await driver.ensure(first as SandboxSpec, signal)
      case 'observe':
        return await driver.observe(first as string, signal)
      case 'delete':
        return await driver.delete(first as string, second as string, third as number, signal)
      case 'list':
        return await driver.list(signal)
      case 'dial': {
        const dial = await driver.dial(first as SandboxFacts)
        return dial.socketPath.replace('/self/', `/${process.pid}/`)
      }
      default:
        throw new Error(`no such method: ${method}`)
    }
  }
  flushCompileCache()
  say({ ready: driver.isolation })
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as Request
    void answer(request).then(
      (result) => say({ id: request.id, result }),
      (error: Error & { code?: string }) =>
        say({
          id: request.id,
          error: { message: error.message, code: error.code, cause: String(error.cause) },
        }),
    )
  }
} catch (error) {
  say({ failed: (error as Error).message })
}
