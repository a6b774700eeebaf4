import { type ChildProcess, type IOType, spawn } from 'node:child_process'
import { openSync, readdirSync, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { AppError } from '../../core/index.ts'
import { bootScript, headScript, portableHeadScript, toolPath } from './chain.ts'
import { heldCode, perlLock } from './lock.ts'
import { findProcess, type ProcessRef } from './processes.ts'

export interface LaunchRequest {
  marker: string
  lock: string
  log: string
  /** From `composeCommand`. */
  command: string[]
  /**
   * Runs while the lock is ours and nothing else runs yet; if it throws, nothing ever will. Returns the control
   * groups to enter.
   */
  prepare(head: ProcessRef): Promise<string[]>
  signal: AbortSignal
  /** Whether this process may end before it; otherwise it is waited for. */
  outlives: boolean
  /** How long from the start to the first step inside, in milliseconds. */
  timeoutMs: number
}

/** `held`: somebody else has the name. `up`: the sandbox is made and what it is to run is about to begin. */
export type Launched = { kind: 'held' } | { kind: 'up'; head: ProcessRef; ended: Promise<number | null> }

/** Starts a chain (`chain.ts`) that outlives this process. Throws, with nothing left, when it could not be made. */
export async function launch(request: LaunchRequest): Promise<Launched> {
  request.signal.throwIfAborted()
  const child = spawnHead(request)
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const talk = listen(child)
  const failure = Promise.withResolvers<never>()
  // A rejection that comes after the race was won is nobody's business.
  failure.promise.catch(() => undefined)
  const onAbort = () => failure.reject(request.signal.reason)
  request.signal.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(
    () => failure.reject(new Error(`not under way after ${request.timeoutMs} ms`)),
    request.timeoutMs,
  )
  child.once('error', failure.reject)
  try {
    const first = await Promise.race([talk.heard('locked'), ended, failure.promise])
    if (first === heldCode) return { kind: 'held' }
    if (first !== 'heard') throw new Error(`the lock could not be taken (exit ${first}): ${talk.complaint()}`)
    const head = await findProcess(child.pid ?? -1)
    if (head === undefined) throw new Error('the process that holds the lock ended')
    const ref = { pid: head.pid, start: head.start }
    const groups = await Promise.race([request.prepare(ref), failure.promise])
    child.stdin?.end(`go ${groups.join(' ')}\n`)
    const second = await Promise.race([talk.heard('inside'), ended, failure.promise])
    if (second !== 'heard') {
      throw new Error(`it ended with exit ${second} while being made: ${await tail(request.log)}`)
    }
    return { kind: 'up', head: ref, ended }
  } catch (error) {
    if (child.pid !== undefined && child.exitCode === null) child.kill('SIGKILL')
    if (child.pid !== undefined) await ended
    if (error instanceof AppError || request.signal.aborted) throw error
    throw new AppError(
      'runner_failed',
      'The sandbox could not be made; an admin finds the cause in the log.',
      {
        cause: error,
      },
    )
  } finally {
    clearTimeout(timer)
    request.signal.removeEventListener('abort', onAbort)
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
    if (request.outlives) child.unref()
  }
}

function spawnHead(request: LaunchRequest): ChildProcess {
  const linux = process.platform === 'linux'
  const head = linux
    ? ['-c', headScript, request.marker, bootScript, request.lock]
    : ['-c', portableHeadScript, request.marker, bootScript, request.lock, perlLock]
  const child = spawn('/bin/sh', [...head, request.log, ...request.command], {
    cwd: '/',
    detached: true,
    env: { PATH: toolPath },
    stdio: ['pipe', 'pipe', 'pipe', ...shields()],
  })
  // A chain that ends early closes its end of the pipe; its exit says all there is to say.
  child.stdin?.on('error', () => undefined)
  return child
}

function listen(child: ChildProcess) {
  let said = ''
  let complained = ''
  const waiting = new Map<string, () => void>()
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text
    for (const [word, resolve] of waiting) if (said.includes(`${word}\n`)) resolve()
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complained = (complained + text).slice(-2000)
  })
  return {
    heard: (word: string) =>
      new Promise<'heard'>((resolve) => {
        if (said.includes(`${word}\n`)) resolve('heard')
        else waiting.set(word, () => resolve('heard'))
      }),
    complaint: () => complained.trim(),
  }
}

/** The end of a log, for an error's cause; what a sandbox wrote is never shown to people. */
export async function tail(log: string, bytes = 2000): Promise<string> {
  const file = await open(log).catch(() => undefined)
  if (file === undefined) return ''
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, Math.max(0, size - bytes))
    return buffer.toString('utf8', 0, bytesRead).trim()
  } finally {
    await file.close()
  }
}

let shielded: (IOType | number)[] | undefined

/**
 * Descriptors that this process was born with and that would slip through to every child (Node closes its own on
 * exec, not those above a gap): an open directory among them would be a way out of the sandbox. Each is covered
 * with /dev/null. They cannot change later, so this looks once.
 */
function shields(): (IOType | number)[] {
  if (shielded !== undefined) return shielded
  shielded = []
  if (process.platform !== 'linux') return shielded
  const inherited = readdirSync('/proc/self/fdinfo')
    .map(Number)
    .filter((fd) => fd > 2 && stays(fd))
  if (inherited.length === 0) return shielded
  const nothing = openSync('/dev/null', 'r')
  for (let fd = 3; fd <= Math.max(...inherited); fd++)
    shielded.push(inherited.includes(fd) ? nothing : 'ignore')
  return shielded
}

function stays(fd: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0'
    const closeOnExec = 0o2000000
    return (Number.parseInt(flags, 8) & closeOnExec) === 0
  } catch {
    return false // the one that listed the directory
  }
}
