import type { Readable, Writable } from 'node:stream'
import { isRecord } from '../core/index.ts'
import { lineCutter } from './lines.ts'

export type Reply =
  | { kind: 'result'; result: Record<string, unknown>; bytes: number }
  | { kind: 'error'; code: number; message: string }
  /** The peer answered this request with something that is neither. */
  | { kind: 'invalid' }

export interface Progress {
  progress: number
  total?: number
  message?: string
}

/** Our end of JSON-RPC over lines, as stdio MCP servers speak it. Only requests that wait for an answer are kept. */
export interface Peer {
  /** Sends a request; exactly one of `answered` and `forget` ends it. Its id doubles as its progress token. */
  request(
    method: string,
    params: (id: number) => object,
    answered: (reply: Reply) => void,
    progressed?: (progress: Progress) => void,
  ): number
  /** Drops a request: an answer that comes later is ignored. */
  forget(id: number): void
  notify(method: string, params?: object): void
  readonly strayLines: number
}

const strayLimit = { lines: 10_000, bytes: 16 * 1024 * 1024 }

/**
 * Speaks to the program behind `output` and `input`. `broken` is called once when what it prints cannot be lived
 * with: a line over `maxLineBytes`, or stray output (lines that are no JSON-RPC) without end. A few stray lines,
 * such as a library's banner, are counted and passed over.
 */
export function createPeer(options: {
  input: Readable
  output: Writable
  maxLineBytes: number
  broken: (why: string) => void
}): Peer {
  const waiting = new Map<number, (reply: Reply) => void>()
  const progress = new Map<number, (progress: Progress) => void>()
  let lastId = 0
  let strayLines = 0
  let strayBytes = 0
  let broken = false

  function send(message: object): void {
    // A program that ended is noticed by its exit; writing to it is no error of its own.
    if (options.output.writable) options.output.write(`${JSON.stringify(message)}\n`)
  }

  function breakOff(why: string): void {
    if (broken) return
    broken = true
    options.broken(why)
  }

  function stray(bytes: number): void {
    strayLines += 1
    strayBytes += bytes
    if (strayLines > strayLimit.lines || strayBytes > strayLimit.bytes)
      breakOff(`printed more than ${strayLimit.lines} lines that are not JSON-RPC to its standard output`)
  }

  function line(text: string, bytes: number): void {
    if (broken) return
    const message = parse(text)
    if (message === undefined) return stray(bytes)
    if (typeof message['method'] === 'string') {
      if (message['id'] === undefined) notified(message['method'], message['params'])
      else answer(message['id'], message['method'])
      return
    }
    if (typeof message['id'] !== 'number') return stray(bytes)
    const answered = waiting.get(message['id'])
    if (answered === undefined) return // the late answer to something cancelled
    forget(message['id'])
    answered(toReply(message, bytes))
  }

  function notified(method: string, params: unknown): void {
    if (method !== 'notifications/progress' || !isRecord(params)) return
    const token = params['progressToken']
    if (typeof token !== 'number' || typeof params['progress'] !== 'number') return
    progress.get(token)?.({
      progress: params['progress'],
      ...(typeof params['total'] === 'number' && { total: params['total'] }),
      ...(typeof params['message'] === 'string' && { message: params['message'] }),
    })
  }

  /** We offered no capabilities, so all that may be asked of us is whether we are there. */
  function answer(id: unknown, method: string): void {
    if (method === 'ping') return send({ jsonrpc: '2.0', id, result: {} })
    send({ jsonrpc: '2.0', id, error: { code: -32601, message: 'this client offers no such method' } })
  }

  function forget(id: number): void {
    waiting.delete(id)
    progress.delete(id)
  }

  const cut = lineCutter({
    maxBytes: options.maxLineBytes,
    line,
    tooLong: () =>
      breakOff(`printed a line longer than ${options.maxLineBytes} bytes to its standard output`),
  })
  options.input.on('data', cut)
  options.input.on('error', () => undefined)
  options.output.on('error', () => undefined)

  return {
    request(method, params, answered, progressed) {
      lastId += 1
      const id = lastId
      waiting.set(id, answered)
      if (progressed !== undefined) progress.set(id, progressed)
      send({ jsonrpc: '2.0', id, method, params: params(id) })
      return id
    },
    forget,
    notify: (method, params) => send({ jsonrpc: '2.0', method, ...(params && { params }) }),
    get strayLines() {
      return strayLines
    },
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const message: unknown = JSON.parse(text)
    return isRecord(message) && message['jsonrpc'] === '2.0' ? message : undefined
  } catch {
    return undefined
  }
}

function toReply(message: Record<string, unknown>, bytes: number): Reply {
  const { result, error } = message
  if (isRecord(result)) return { kind: 'result', result, bytes }
  if (isRecord(error) && typeof error['code'] === 'number' && typeof error['message'] === 'string')
    return { kind: 'error', code: error['code'], message: error['message'] }
  return { kind: 'invalid' }
}
