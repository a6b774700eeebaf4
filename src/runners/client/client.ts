import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { AppError } from '../../core/index.ts'
import { cancelled, health, sourceState, toolList } from '../../wire/index.ts'
import type { ToolhostDial } from '../driver.ts'
import { sendCall } from './call.ts'
import { createPools } from './pools.ts'
import { request } from './request.ts'
import type { SandboxIdentity, ToolhostClient, ToolhostRequest } from './types.ts'

const cancelLimitMs = 5_000
const cancelAgainMs = 25

/** A client of every toolhost of this process; connections are kept and used again. */
export function createToolhostClient(): ToolhostClient {
  const pools = createPools()

  const at = (dial: ToolhostDial, expect: SandboxIdentity) => ({
    pool: pools.get(dial.socketPath, expect),
    expect,
  })
  const sourcePath = (id: string) => `/sources/${encodeURIComponent(id)}`

  function cancel(dial: ToolhostDial, callId: string, { expect, signal }: ToolhostRequest) {
    const path = `/calls/${encodeURIComponent(callId)}`
    return request({ ...at(dial, expect), method: 'DELETE', path }, cancelled, signal)
  }

  /** Until the call has ended: told before the call itself has arrived, the toolhost does not know it yet. */
  async function cancelUntil(
    settled: Promise<unknown>,
    dial: ToolhostDial,
    callId: string,
    expect: SandboxIdentity,
  ): Promise<void> {
    const over = new AbortController()
    void settled.then(() => over.abort())
    while (!over.signal.aborted) {
      // What goes wrong here shows in the call itself, which ends as `unknown` at its limit.
      await cancel(dial, callId, { expect, signal: over.signal }).catch(() => undefined)
      await sleep(cancelAgainMs, undefined, { signal: over.signal }).catch(() => undefined)
    }
  }

  return {
    async health(dial, { signal }) {
      const pool = pools.once(dial.socketPath)
      const answer = await request(
        { pool, expect: null, method: 'GET', path: '/health' },
        health,
        signal,
      ).finally(() => void pool.destroy())
      if (answer.type === 'ok') return answer.body
      throw new AppError('runner_failed', 'the sandbox refused to tell its health', {
        details: { sent: true, stale: false, code: answer.code },
      })
    },
    async putSource(dial, source, { expect, signal }) {
      const answer = await request(
        { ...at(dial, expect), method: 'PUT', path: sourcePath(source.id), body: JSON.stringify(source) },
        sourceState,
        signal,
      )
      return answer.type === 'ok' ? { type: 'ok' } : answer
    },
    async inspectSource(dial, sourceId, { expect, signal }) {
      const answer = await request(
        { ...at(dial, expect), method: 'GET', path: sourcePath(sourceId) },
        sourceState,
        signal,
      )
      return answer.type === 'ok' ? { type: 'ok', source: answer.body } : answer
    },
    async listTools(dial, sourceId, { expect, signal }) {
      const path = `/tools?source=${encodeURIComponent(sourceId)}`
      const answer = await request({ ...at(dial, expect), method: 'GET', path }, toolList, signal)
      return answer.type === 'ok' ? { type: 'ok', tools: answer.body.tools } : answer
    },
    call: (dial, call, options) =>
      sendCall({
        pools,
        socketPath: dial.socketPath,
        request: call,
        call: options,
        cancelInside: (settled) => void cancelUntil(settled, dial, call.callId, options.expect),
        cancelLimitMs,
      }),
    async cancel(dial, callId, options) {
      const answer = await cancel(dial, callId, options)
      return answer.type === 'ok' ? { type: 'ok', cancelled: answer.body } : answer
    },
    async drain(dial, { expect, signal }) {
      await request({ ...at(dial, expect), method: 'DELETE', path: '/' }, z.object({}), signal)
    },
    [Symbol.asyncDispose]: () => pools[Symbol.asyncDispose](),
  }
}
