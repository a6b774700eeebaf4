/**
 * A gateway process as far as the local driver is concerned: one driver, told what to do by JSON lines on
 * standard input. It can run as another user, and be killed like one.
 */
import { createInterface } from 'node:readline'
import { silentLog } from '../../../src/core/index.ts'
import {
  createLocalDriver,
  type LocalDriverOptions,
  type SandboxFacts,
  type SandboxSpec,
} from '../../../src/runners/index.ts'

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
