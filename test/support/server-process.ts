import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))

/** One command of `toolcrib` that runs until it is told to stop, and that a test can kill, pause and start again. */
export class ServerProcess<Ready> {
  readonly #args: string[]
  readonly #environment: Record<string, string>
  readonly #read: (line: string) => Ready
  readonly #said: string[] = []
  #child: ChildProcess | undefined
  #ready: Ready | undefined
  #paused = false
  #ending = false
  /** Ends that nobody here caused, each with the last words. */
  readonly crashes: string[] = []

  /** `read` makes what is known of it from the first line that it prints. */
  constructor(args: string[], environment: Record<string, string>, read: (line: string) => Ready) {
    this.#args = args
    this.#environment = environment
    this.#read = read
  }

  get ready(): Ready {
    if (this.#ready === undefined) throw new Error(`toolcrib ${this.#args.join(' ')} is not ready`)
    return this.#ready
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  get state(): 'running' | 'paused' | 'down' {
    if (this.#ready === undefined || this.#child?.exitCode !== null || this.#child.signalCode !== null)
      return 'down'
    return this.#paused ? 'paused' : 'running'
  }

  async start(): Promise<Ready> {
    const child = spawn(process.execPath, [entry, ...this.#args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], ...this.#environment },
    })
    this.#child = child
    this.#ready = undefined
    this.#paused = false
    child.stderr.setEncoding('utf8').on('data', (text: string) => this.#said.push(text))
    child.once('exit', (code, signal) => {
      if (!this.#ending) this.crashes.push(`exit ${code ?? signal}: ${this.log().slice(-3_000)}`)
    })
    this.#ending = false
    const lines = createInterface({ input: child.stdout })
    const first = await Promise.race([once(lines, 'line'), once(child, 'exit')])
    if (typeof first[0] !== 'string' || child.exitCode !== null)
      throw new Error(`toolcrib ${this.#args.join(' ')} ended: ${this.log().slice(-4_000)}`)
    lines.on('line', (line) => this.#said.push(line))
    this.#ready = this.#read(first[0])
    return this.#ready
  }

  pause(): void {
    if (this.state !== 'running') return
    this.#child?.kill('SIGSTOP')
    this.#paused = true
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
    this.#paused = false
  }

  /** `kill -9`; returns when it is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Asks it to stop and waits until it has. */
  async stop(): Promise<void> {
    this.resume()
    await this.#end('SIGTERM')
  }

  log(): string {
    return this.#said.join('')
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    this.#ending = true
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }
}
