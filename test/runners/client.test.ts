import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createToolhostClient } from '../../src/runners/index.ts'

test('invariant 13: who answers is asked anew each time, because an address is given again to the next sandbox', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-client-'))
  const socketPath = join(folder, 'toolhost.sock')
  await using client = createToolhostClient()
  await using servers = new AsyncDisposableStack()
  const answered: string[] = []
  for (const sandboxUid of ['sbx_first', 'sbx_second']) {
    await rm(socketPath, { force: true })
    const server = createServer((_, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(
        JSON.stringify({ sandboxUid, generation: 1, egress: 'enforced', sources: [], running: 0, queued: 0 }),
      )
    })
    await new Promise<void>((listening) => server.listen(socketPath, listening))
    servers.defer(() => {
      server.closeAllConnections()
      server.close()
    })
    // The first server lives on: a connection kept to it would still be answered.
    const health = await client.health({ socketPath, release() {} }, { signal: AbortSignal.timeout(5_000) })
    answered.push(health.sandboxUid)
  }
  expect(answered).toEqual(['sbx_first', 'sbx_second'])
  await rm(folder, { recursive: true })
})
