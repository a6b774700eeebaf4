import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

export type SlackFault =
  /** Answers this status without asking Slack. */
  | { kind: 'status'; status: number; headers?: Record<string, string> }
  /** Breaks the connection; `done` says whether Slack did the work before. */
  | { kind: 'drop'; done: boolean }
  /** Answers never; the work is not done. */
  | { kind: 'hang' }
  /** Does the work and answers, later. */
  | { kind: 'slow'; ms: number }

/**
 * A pass-through before the emulated Slack that fails as the network and Slack do. Where it lies: faults come in
 * the order they were asked for, by method, and never on their own.
 */
export async function startSlackFaults(upstream: string): Promise<{
  apiUrl: string
  /** Every call that arrived, by method name and the time in ms. */
  calls: { method: string; at: number }[]
  /** The next `times` calls of `method` (`*`: any) meet this fault. */
  fail(method: string, fault: SlackFault, times?: number): void
  /** No fault any more. */
  heal(): void
  [Symbol.asyncDispose](): Promise<void>
}> {
  const planned: { method: string; fault: SlackFault; left: number }[] = []
  const calls: { method: string; at: number }[] = []
  const server = createServer((request, response) => {
    const method = (request.url ?? '').split('/').at(-1) ?? ''
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      calls.push({ method, at: Date.now() })
      const plan = planned.find(({ method: name, left }) => left > 0 && (name === '*' || name === method))
      if (plan !== undefined) plan.left -= 1
      const fault = plan?.fault
      if (fault?.kind === 'hang') return
      if (fault?.kind === 'status') return response.writeHead(fault.status, fault.headers ?? {}).end('{}')
      if (fault?.kind === 'drop' && !fault.done) return request.socket.destroy()
      sleep(fault?.kind === 'slow' ? fault.ms : 0)
        .then(
          async () =>
            await fetch(`${upstream}${method}`, {
              method: 'POST',
              headers: {
                authorization: request.headers.authorization ?? '',
                'content-type': request.headers['content-type'] ?? '',
              },
              body: Buffer.concat(chunks),
            }),
        )
        .then(async (answer) => {
          const text = await answer.text()
          if (fault?.kind === 'drop') return request.socket.destroy()
          response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text)
        })
        .catch(() => request.socket.destroy())
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    apiUrl: `http://127.0.0.1:${address.port}/api/`,
    calls,
    fail(method, fault, times = 1) {
      planned.push({ method, fault, left: times })
    },
    heal() {
      planned.length = 0
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
