import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, type Log } from '../core/index.ts'
import type { Cancelled, SourceLaunch, SourceState, ToolhostSettings } from '../wire/index.ts'
import { createRespawn } from './respawn.ts'
import { type LiveCall, openSession, type Session, type SourceEnd } from './session.ts'
import { createTail } from './tail.ts'

/**
 * A source over all its lives. Its process is started when it is put or called, and again after it ended. One that
 * ends again and again without an answer is held back for a while.
 *
 * A life is *retired* when its launch was replaced, or when a cancelled call was not answered (MCP lets a source
 * stay silent then, so that nobody can tell whether the work goes on). A retired life gets no new call and its
 * process group is ended when the last call on it is through: no call ends because another one was cancelled,
 * unless the source has become deaf. New calls meanwhile go to a new life.
 */
export interface Source {
  readonly launch: SourceLaunch
  state(options?: { stderr: boolean }): SourceState
  /** Takes a new launch; the same digest again changes nothing. */
  relaunch(launch: SourceLaunch): void
  /** Starts the source in the background if it does not run and may be started. */
  prewarm(): void
  /** The running life, started when there is none; throws `source_failed` when it cannot be. */
  session(): Promise<Session>
  /**
   * Tells the source to stop `live`, and ends its process group (TERM, KILL, proven empty) when it has not answered
   * within the grace and no other call runs in it.
   */
  cancel(session: Session, live: LiveCall, reason: string): Promise<Cancelled['how']>
  /** Processes of every life that has not ended. */
  members(): number[]
  /** Ends every life; calls are answered with `cause`. The next call starts it again. */
  end(cause: SourceEnd): Promise<void>
  /** Ends every life and starts no other. */
  close(): Promise<void>
}

export interface SourceOptions {
  launch: SourceLaunch
  environment: (launch: SourceLaunch) => Record<string, string>
  settings: Pick<ToolhostSettings, 'home' | 'limits' | 'times'>
  log: Log
}

const stderrBytes = 16 * 1024
/** How long an idle source may take to end once its standard input was closed. */
const finishMs = 250

export function createSource(options: SourceOptions): Source {
  const { times, limits } = options.settings
  const stderr = createTail(stderrBytes)
  const respawn = createRespawn()
  const lives = new Set<Session>()
  const retired = new WeakSet<Session>()
  let launch = options.launch
  let current: Session | undefined
  let starting = false
  let closed = false
  let starts = 0
  let message: string | null = null

  function start(): Session {
    starts += 1
    starting = true
    const session = openSession({
      launch,
      environment: options.environment(launch),
      folder: options.settings.home,
      startMs: times.start,
      termGraceMs: times.termGrace,
      lineBytes: limits.lineBytes,
      resultBytes: limits.resultBytes,
      stderr,
      becameIdle: () => endIfThrough(session),
    })
    current = session
    lives.add(session)
    session.ready.then(
      () => {
        if (current === session) starting = false
        message = null
      },
      () => undefined,
    )
    void session.ended.then((end) => forgetLife(session, end))
    return session
  }

  async function forgetLife(session: Session, end: SourceEnd): Promise<void> {
    const expected = retired.has(session)
    if (current === session) current = undefined
    if (current === undefined) starting = false
    if (!expected) {
      message = end.message
      respawn.ended(Date.now(), session.useful)
      options.log.warn({ sourceId: launch.id, code: end.code, reason: end.message }, 'source ended')
    }
    if (!(await session.end(end))) options.log.error({ sourceId: launch.id }, 'process group is not empty')
    lives.delete(session)
  }

  function retire(session: Session): void {
    retired.add(session)
    if (current === session) current = undefined
    endIfThrough(session)
  }

  /** Lets a life that does nothing end by itself: only then does Node keep what it compiled for the next one. */
  async function finish(life: Session): Promise<void> {
    if (life.running > 0) return
    retired.add(life)
    await life.finish(finishMs)
  }

  function endIfThrough(session: Session): void {
    if (retired.has(session) && session.running === 0) void session.end(ended('was restarted'))
  }

  function ended(how: string): SourceEnd {
    return { code: 'source_failed', message: `source "${launch.id}" ${how}` }
  }

  async function session(): Promise<Session> {
    if (closed) throw new AppError('source_failed', 'the sandbox is stopping')
    if (current === undefined) {
      const wait = respawn.waitMs(Date.now())
      if (wait > 0) {
        const lately = message === null ? '' : `; lately: ${message}`
        throw new AppError(
          'source_failed',
          `source "${launch.id}" ended ${respawn.failures} times in a row without an answer${lately}; it may be started again in ${Math.ceil(wait / 1000)} s`,
        )
      }
    }
    const chosen = current ?? start()
    await chosen.ready
    return chosen
  }

  function prewarm(): void {
    if (!closed && current === undefined && respawn.waitMs(Date.now()) === 0) start()
  }

  async function cancel(life: Session, live: LiveCall, reason: string): Promise<Cancelled['how']> {
    live.cancel(reason)
    const answered = live.settled.then(() => true)
    if (await Promise.race([answered, sleep(times.cancelGrace, false)])) return 'source_answered'
    retire(life)
    live.forget()
    if (life.running > 0) {
      void endIfDeaf(life)
      return 'left_to_source'
    }
    const empty = await life.end(ended('was ended to stop a cancelled call'))
    prewarm()
    return empty ? 'group_ended' : 'left_to_source'
  }

  async function endIfDeaf(life: Session): Promise<void> {
    if (await life.ping(times.unresponsive)) return
    await life.end(ended('was ended: it answered nothing after a call on it was cancelled'))
  }

  async function end(cause: SourceEnd): Promise<void> {
    current = undefined
    await Promise.all([...lives].map((life) => life.end(cause)))
  }

  return {
    get launch() {
      return launch
    },
    state: (how) => ({
      id: launch.id,
      state:
        current !== undefined ? (starting ? 'starting' : 'running') : message === null ? 'idle' : 'failed',
      message,
      starts,
      strayLines: current?.strayLines ?? 0,
      stderr: how?.stderr === true ? stderr.text() : '',
    }),
    relaunch(next) {
      if (next.digest === launch.digest) return
      launch = next
      message = null
      respawn.ended(0, true) // what failed was the old launch
      if (current !== undefined) retire(current)
    },
    prewarm,
    session,
    cancel,
    members: () => [...lives].flatMap((life) => life.members()),
    end,
    async close() {
      closed = true
      await Promise.all([...lives].map(finish))
      await end({ code: 'source_failed', message: 'the sandbox is stopping' })
    },
  }
}
