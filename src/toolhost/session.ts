import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../core/index.ts'
import type { CallFrame, SourceLaunch, ToolDefinition } from '../wire/index.ts'
import { createPeer, type Progress, type Reply } from './peer.ts'
import { type Exit, startGroup } from './process-group.ts'
import type { Tail } from './tail.ts'
import { readTools } from './tool-list.ts'

export type FinalFrame = Extract<CallFrame, { type: 'result' | 'rpc_error' | 'failed' }>

/** Why a life of a source ended; what its calls are answered with. */
export interface SourceEnd {
  code: 'source_crashed' | 'source_failed' | 'source_invalid_output'
  message: string
}

export interface LiveCall {
  /** The call's one ending. Never rejects; stays open after `forget`. */
  readonly settled: Promise<FinalFrame>
  /** Tells the source to stop the call, which no longer counts as running; its answer is still waited for. */
  cancel(reason: string): void
  /** Stops waiting for an answer. */
  forget(): void
}

/** One life of a source: a process that was asked `initialize` and answers calls until it ends. */
export interface Session {
  /** Settles when the source answered `initialize`; rejects with an AppError when it will not. */
  readonly ready: Promise<void>
  /** Settles with the first cause of the end, as soon as it is known. Never rejects. */
  readonly ended: Promise<SourceEnd>
  /** False from the first moment of its end on. */
  readonly alive: boolean
  /** Calls that were neither answered nor cancelled. */
  readonly running: number
  /** Whether it has answered a call. */
  readonly useful: boolean
  readonly strayLines: number
  call(tool: string, args: Record<string, unknown>, progressed: (progress: Progress) => void): LiveCall
  listTools(): Promise<ToolDefinition[]>
  /** Whether it answers a ping within `limitMs`. */
  ping(limitMs: number): Promise<boolean>
  /** Closes its standard input, as MCP asks a server to end, and waits up to `limitMs` for its first process to. */
  finish(limitMs: number): Promise<void>
  /** Ends the process group, answering calls with `cause`; true once it is proven empty. Again: the same promise. */
  end(cause: SourceEnd): Promise<boolean>
  /** Processes of the group, for the memory guard. */
  members(): number[]
}

export interface SessionOptions {
  launch: SourceLaunch
  environment: Record<string, string>
  folder: string
  startMs: number
  termGraceMs: number
  lineBytes: number
  resultBytes: number
  stderr: Tail
  /** Called whenever the last running call has ended or was cancelled. */
  becameIdle: () => void
}

const protocolVersion = '2025-11-25'
/** After the process has ended, what it printed last may still be in the pipe. */
const drainMs = 50

export function openSession(options: SessionOptions): Session {
  const name = `source "${options.launch.id}"`
  const group = startGroup({
    command: options.launch.command,
    args: options.launch.args,
    environment: options.environment,
    folder: options.folder,
  })
  const ended = Promise.withResolvers<SourceEnd>()
  const open = new Set<(end: SourceEnd) => void>()
  let cause: SourceEnd | undefined
  let emptied: Promise<boolean> | undefined
  let running = 0
  let useful = false

  // Read without pause: a source that floods standard error must not block on a full pipe.
  group.stderr.on('data', (chunk: Buffer) => options.stderr.add(chunk))
  group.stderr.on('error', () => undefined)
  const printed = once(group.stdout, 'end').catch(() => undefined)
  const peer = createPeer({
    input: group.stdout,
    output: group.stdin,
    maxLineBytes: options.lineBytes,
    broken: (why) => void end({ code: 'source_invalid_output', message: `${name} ${why}` }),
  })
  void group.exited.then(async (exit) => {
    if (exit.error === null) await Promise.race([printed, sleep(drainMs)])
    await end(describeExit(name, options.launch.command, exit))
  })

  function end(why: SourceEnd): Promise<boolean> {
    if (cause === undefined) {
      cause = why
      ended.resolve(why)
      for (const tell of open) tell(why)
      open.clear()
    }
    emptied ??= group.end(options.termGraceMs)
    return emptied
  }

  /** One request with a limit; rejects with an AppError. For everything but calls. */
  function ask(method: string, params: object): Promise<Record<string, unknown>> {
    const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>()
    const refuse = (message: string) => reject(new AppError('source_failed', message))
    if (cause !== undefined) {
      refuse(cause.message)
      return promise
    }
    const tell = (why: SourceEnd) => refuse(why.message)
    open.add(tell)
    const timer = setTimeout(
      () => refuse(`${name} did not answer "${method}" within ${options.startMs / 1000} s`),
      options.startMs,
    )
    const id = peer.request(
      method,
      () => params,
      (reply) => {
        if (reply.kind === 'result') resolve(reply.result)
        else refuse(`${name} answered "${method}" with an error`)
      },
    )
    return promise.finally(() => {
      clearTimeout(timer)
      open.delete(tell)
      peer.forget(id)
    })
  }

  async function initialize(): Promise<void> {
    try {
      await ask('initialize', {
        protocolVersion,
        capabilities: {},
        clientInfo: { name: 'toolcrib', version: '1' },
      })
      peer.notify('notifications/initialized')
    } catch (error) {
      const message = error instanceof AppError ? error.message : `${name} did not start`
      void end({ code: 'source_failed', message })
      throw error
    }
  }
  const ready = initialize()
  // A source that is started ahead of need may fail with nobody waiting.
  ready.catch(() => undefined)

  function call(
    tool: string,
    args: Record<string, unknown>,
    progressed: (progress: Progress) => void,
  ): LiveCall {
    const settled = Promise.withResolvers<FinalFrame>()
    let counted = true
    running += 1
    const uncount = () => {
      if (!counted) return
      counted = false
      running -= 1
      if (running === 0) options.becameIdle()
    }
    const tell = (why: SourceEnd) => settle({ type: 'failed', ...why })
    const settle = (frame: FinalFrame) => {
      open.delete(tell)
      settled.resolve(frame)
      uncount()
    }
    if (cause !== undefined) {
      tell(cause)
      return { settled: settled.promise, cancel: () => undefined, forget: () => undefined }
    }
    open.add(tell)
    const id = peer.request(
      'tools/call',
      (token) => ({ name: tool, arguments: args, _meta: { progressToken: token } }),
      (reply) => {
        useful = true
        settle(toFrame(name, reply, options.resultBytes))
      },
      progressed,
    )
    return {
      settled: settled.promise,
      cancel(reason) {
        peer.notify('notifications/cancelled', { requestId: id, reason })
        uncount()
      },
      forget() {
        open.delete(tell)
        peer.forget(id)
        uncount()
      },
    }
  }

  async function ping(limitMs: number): Promise<boolean> {
    const answer = ask('ping', {}).then(
      () => true,
      // An error is an answer too; only silence and the end are not.
      () => cause === undefined,
    )
    return Promise.race([answer, sleep(limitMs, false)])
  }

  return {
    ready,
    ended: ended.promise,
    get alive() {
      return cause === undefined
    },
    get running() {
      return running
    },
    get useful() {
      return useful
    },
    get strayLines() {
      return peer.strayLines
    },
    call,
    listTools: () => readTools(name, ask),
    ping,
    async finish(limitMs) {
      group.stdin.end()
      await Promise.race([group.exited, sleep(limitMs)])
    },
    end,
    members: () => group.members(),
  }
}

function toFrame(name: string, reply: Reply, resultBytes: number): FinalFrame {
  switch (reply.kind) {
    case 'result':
      if (reply.bytes <= resultBytes) return { type: 'result', result: reply.result }
      return {
        type: 'failed',
        code: 'too_large',
        message: `${name} answered with ${reply.bytes} bytes; at most ${resultBytes} are passed on`,
      }
    case 'error':
      return { type: 'rpc_error', code: reply.code, message: reply.message }
    case 'invalid':
      return {
        type: 'failed',
        code: 'source_invalid_output',
        message: `${name} answered the call with something that is neither a result nor an error`,
      }
  }
}

function describeExit(name: string, command: string, exit: Exit): SourceEnd {
  if (exit.error !== null) {
    const code = (exit.error as NodeJS.ErrnoException).code ?? 'unknown error'
    const why = code === 'ENOENT' ? 'its command was not found in the sandbox' : code
    return { code: 'source_failed', message: `${name} could not be started ("${command}"): ${why}` }
  }
  const how = exit.signal === null ? `exited with code ${exit.code}` : `was ended by ${exit.signal}`
  return { code: 'source_crashed', message: `${name} ${how}` }
}
