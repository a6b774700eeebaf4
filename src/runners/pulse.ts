import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../core/index.ts'
import { listRunners, type RunnerRow } from '../store/index.ts'
import { checkReady, loseRunner } from './facts.ts'
import type { Context } from './options.ts'

type Subject = Pick<RunnerRow, 'id' | 'name' | 'generation'> & { sandboxUid: string; address: string }

/** What a question to a toolhost came to; `in doubt` may be the fault of this process. */
type Answer = 'answers' | 'silent' | 'in doubt'

/** A question is counted out in so many ticks. */
const ticks = 20
const askAgainMs = 1_000
/** What the kernel says of a socket that nobody reads any more; everything else is doubt. */
const silence = new Set(['ECONNREFUSED', 'ENOENT', 'EAGAIN', 'ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

/**
 * Notices toolhosts that are there and do not answer: stopped by a signal, in an endless loop, cut off from their
 * own socket. Such a sandbox looks alive to the driver, and a call on it would wait for ever.
 */
export class Pulse {
  readonly #context: Context
  readonly #nudge: () => void
  /** Runners that are being asked, so that one that hangs does not hold up the others. */
  readonly #asking = new Map<string, Promise<void>>()

  constructor(context: Context, nudge: () => void) {
    this.#context = context
    this.#nudge = nudge
  }

  /** Begins to ask every ready runner, spread over a part of the time until the next round. */
  async round(): Promise<void> {
    const { store, timings, closing } = this.#context
    const rows = await listRunners(store.db, 'ready')
    for (const row of rows) {
      if (closing.aborted) return
      const { id, name, generation, sandboxUid, address } = row
      if (sandboxUid === null || address === null || this.#asking.has(name)) continue
      const asking = this.#check({ id, name, generation, sandboxUid, address })
        .catch((err: unknown) => {
          if (!closing.aborted)
            this.#context.log.warn({ runner: name, err }, 'a toolhost cannot be asked; nothing is changed')
        })
        .finally(() => this.#asking.delete(name))
      this.#asking.set(name, asking)
      await sleep(timings.healthEveryMs / (4 * rows.length), undefined, { signal: closing }).catch(
        () => undefined,
      )
    }
  }

  async settle(): Promise<void> {
    await Promise.allSettled(this.#asking.values())
  }

  async #check(runner: Subject): Promise<void> {
    const { timings, closing } = this.#context
    const since = performance.now()
    for (let missed = 1; ; missed++) {
      const answer = await this.#ask(runner)
      if (answer !== 'silent' || closing.aborted) return
      if (missed >= timings.healthMisses) break
      await sleep(Math.min(askAgainMs, timings.healthLimitMs), undefined, { signal: closing })
    }
    // One that is gone altogether has a better reason to tell, and what the driver cannot tell decides nothing.
    if ((await checkReady(this.#context, runner, closing)) === 'alive') {
      const seconds = Math.round((performance.now() - since) / 1_000)
      await loseRunner(
        this.#context,
        runner,
        'unresponsive',
        `its toolhost did not answer for ${seconds} s: it hung or was stopped`,
      )
    }
    this.#nudge()
  }

  async #ask(runner: Subject): Promise<Answer> {
    const { driver, toolhost, timings, closing } = this.#context
    const limit = new AbortController()
    const stopTicking = tickAway(timings.healthLimitMs, () => limit.abort())
    const signal = AbortSignal.any([limit.signal, closing])
    const late = new Promise<'late'>((resolve) =>
      signal.addEventListener('abort', () => resolve('late'), { once: true }),
    )
    const health = async () => {
      const { name, generation, sandboxUid: uid, address } = runner
      const dial = await driver.dial({ name, uid, generation, address, phase: 'running', message: null })
      try {
        return await toolhost.health(dial, { signal })
      } finally {
        dial.release()
      }
    }
    const asked = health()
    asked.catch(() => undefined)
    try {
      const said = await Promise.race([asked, late])
      if (said === 'late') return limit.signal.aborted ? 'silent' : 'in doubt'
      const isSame = said.sandboxUid === runner.sandboxUid && said.generation === runner.generation
      return isSame ? 'answers' : 'silent'
    } catch (error) {
      if (limit.signal.aborted) return 'silent'
      this.#context.log.debug({ runner: runner.name, err: error }, 'a toolhost was asked in vain')
      return saysNobodyIsThere(error) ? 'silent' : 'in doubt'
    } finally {
      stopTicking()
    }
  }
}

/**
 * Calls `over` after `ms` that this process lived through. A process that was stopped, or starved, misses ticks, and
 * what came for it meanwhile is read before the next one: it never takes its own pause for somebody else's.
 */
function tickAway(ms: number, over: () => void): () => void {
  let left = ticks
  const timer = setInterval(() => {
    if (--left > 0) return
    clearInterval(timer)
    over()
  }, ms / ticks)
  return () => clearInterval(timer)
}

/** Out of descriptors or memory, it is this process that cannot ask. */
function saysNobodyIsThere(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException
    if (silence.has(code ?? '')) return true
    // A driver's own sentence, with nothing behind it, is certain.
    if (at instanceof AppError && at.cause === undefined && at.code === 'unavailable') return true
  }
  return false
}
