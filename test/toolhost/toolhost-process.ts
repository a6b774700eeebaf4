import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createToolhostClient,
  type ToolhostAnswer,
  type ToolhostClient,
} from '../../src/runners/client/index.ts'
import type { CallFrame, SourceLaunch, ToolhostSettingsInput } from '../../src/wire/index.ts'
import { toolhostSettingsVariable } from '../../src/wire/index.ts'

export const nasty = join(import.meta.dirname, 'fixtures/nasty.mjs')
export const checkout = join(import.meta.dirname, '../..')

export interface TestToolhost extends AsyncDisposable {
  pid: number
  home: string
  folder: string
  client: ToolhostClient
  dial: { socketPath: string; release(): void }
  expect: { sandboxUid: string; generation: number }
  /** Settles with the exit code or signal. */
  exited: Promise<number | string>
  log(): string
  put(id: string, args?: string[], more?: Partial<SourceLaunch>): Promise<void>
  /** Calls a tool and returns its ending with every frame that came. */
  call(
    source: string,
    tool: string,
    args?: Record<string, unknown>,
    options?: { signal?: AbortSignal; timeoutMs?: number; callId?: string; onFrame?: (f: CallFrame) => void },
  ): Promise<ToolhostAnswer & { frames: CallFrame[] }>
  text(source: string, tool: string, args?: Record<string, unknown>): Promise<string>
}

let serial = 0

/** The real program as a process of its own on a unix socket, without isolation and, unless told, without probe. */
export async function startTestToolhost(
  settings: Partial<Omit<ToolhostSettingsInput, 'limits'>> & {
    limits?: Partial<ToolhostSettingsInput['limits']>
  } = {},
): Promise<TestToolhost> {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-toolhost-'))
  const expect = { sandboxUid: `uid-${(serial += 1)}`, generation: 7 }
  const full: ToolhostSettingsInput = {
    ...expect,
    socketPath: join(folder, 'toolhost.sock'),
    egressSocketPath: null,
    caFile: null,
    home: folder,
    temporaryFolder: folder,
    probe: false,
    ...settings,
    limits: { memoryBytes: 2 ** 31, parallelCalls: 4, queuedCalls: 16, ...settings.limits },
  }
  const child = spawn(process.execPath, [join(checkout, 'src/toolhost/main.ts')], {
    // Compiled once, as in a sandbox.
    env: {
      [toolhostSettingsVariable]: JSON.stringify(full),
      NODE_COMPILE_CACHE: join(checkout, 'node_modules/.cache/toolcrib'),
    },
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  let log = ''
  const exited = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string)
  const ready = new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString('utf8')
      if (log.includes('toolhost ready')) resolve()
    })
    void exited.then((how) => reject(new Error(`the toolhost ended with ${how}: ${log}`)))
  })
  await ready
  if (child.pid === undefined) throw new Error('no pid')
  const client = createToolhostClient()
  const dial = { socketPath: full.socketPath, release: () => undefined }
  const request = { expect, signal: new AbortController().signal }

  const one: TestToolhost = {
    pid: child.pid,
    home: full.home,
    folder,
    client,
    dial,
    expect,
    exited,
    log: () => log,
    async put(id, args = [nasty], more = {}) {
      const launch = {
        id,
        command: process.execPath,
        args,
        environment: {},
        lease: `lease-${id}`,
        digest: args.join(' '),
        ...more,
      }
      const answer = await client.putSource(dial, launch, request)
      if (answer.type !== 'ok') throw new Error(answer.message)
    },
    async call(source, tool, args = {}, options = {}) {
      const frames: CallFrame[] = []
      const answer = await client.call(
        dial,
        {
          callId: options.callId ?? `call_${(serial += 1)}`,
          sourceId: source,
          tool,
          arguments: args,
          timeoutMs: options.timeoutMs ?? 20_000,
        },
        {
          expect,
          signal: options.signal ?? request.signal,
          onFrame(frame) {
            frames.push(frame)
            options.onFrame?.(frame)
          },
        },
      )
      return { ...answer, frames }
    },
    async text(source, tool, args) {
      const answer = await one.call(source, tool, args)
      if (answer.type !== 'result') throw new Error(JSON.stringify(answer))
      const [block] = answer.result['content'] as { text: string }[]
      return block?.text ?? ''
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      await exited
      await client[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
  return one
}
