import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createToolhostClient } from '../../src/runners/client/index.ts'
import { type ToolhostSettingsInput, toolhostSettingsVariable } from '../../src/wire/index.ts'
import { needing } from '../support/needs.ts'
import { checkout, nasty } from './toolhost-process.ts'

test(
  'in its own process table a sandbox over its memory ends the source at fault',
  needing('user namespaces'),
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'toolcrib-memory-'))
    const identity = { sandboxUid: 'memory', generation: 1 }
    const settings: ToolhostSettingsInput = {
      ...identity,
      socketPath: join(folder, 'toolhost.sock'),
      egressSocketPath: null,
      caFile: null,
      home: folder,
      temporaryFolder: folder,
      probe: false,
      ownPidNamespace: true,
      limits: { memoryBytes: 400 * 1024 * 1024, parallelCalls: 4, queuedCalls: 16 },
    }
    const child = spawn(
      'unshare',
      ['-Urpf', '--mount-proc', '--kill-child', process.execPath, join(checkout, 'src/toolhost/main.ts')],
      {
        env: { PATH: process.env['PATH'] ?? '', [toolhostSettingsVariable]: JSON.stringify(settings) },
        stdio: ['ignore', 'inherit', 'pipe'],
      },
    )
    const exited = once(child, 'exit')
    await once(child.stderr, 'data')
    await using client = createToolhostClient()
    const dial = { socketPath: settings.socketPath, release: () => undefined }
    const options = { expect: identity, signal: AbortSignal.timeout(25_000), onFrame: () => undefined }
    for (const id of ['good', 'greedy'])
      await client.putSource(
        dial,
        { id, command: process.execPath, args: [nasty], environment: {}, lease: 'l', digest: 'd' },
        options,
      )
    const call = (sourceId: string, tool: string, args: Record<string, unknown>) =>
      client.call(
        dial,
        { callId: `call_${sourceId}_${tool}`, sourceId, tool, arguments: args, timeoutMs: 20_000 },
        options,
      )
    const good = call('good', 'slow', { ms: 3_000 })
    expect(await call('greedy', 'grow', { mebibytes: 1_000 })).toMatchObject({
      type: 'failed',
      code: 'source_crashed',
      message: expect.stringMatching(/^source "greedy" was ended: the sandbox used \d+ MiB of its 400 MiB/),
    })
    expect(await good).toMatchObject({ type: 'result' })
    expect(await call('greedy', 'echo', { text: 'again' })).toMatchObject({ type: 'result' })
    await client.drain(dial, options)
    await exited
    await rm(folder, { recursive: true, force: true })
  },
)
