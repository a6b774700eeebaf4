import type { CatalogKeeper } from '../catalog/index.ts'
import { AppError, type Log, type PrincipalId } from '../core/index.ts'
import type { Runners } from '../runners/index.ts'
import type { Notices } from '../store/index.ts'
import { sourceToRun } from './source-to-run.ts'

/** Looks for what sources offer, in the background. */
export interface Discovery {
  /** Looks now; settles when every source that waited was looked at, whether it answered or not. */
  run(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const longestRetryMs = 5 * 60_000

/**
 * Discovers every source that was never discovered as it is configured now: at once, on every change of the
 * catalog, and again while one fails (after 5 s, doubling to 5 min) or its sandbox cannot start yet (at once). The
 * sources run in the sandbox of `principalId`, who is nobody's person, so that nobody's home or session is touched.
 * Replicas that look at the same time find the same.
 */
export function startDiscovery(deps: {
  catalog: Pick<CatalogKeeper, 'undiscovered' | 'discover'>
  runners: Pick<Runners, 'listTools'>
  notices: Notices
  principalId: PrincipalId
  log: Log
}): Discovery {
  const { catalog, runners, principalId, log } = deps
  const closing = new AbortController()
  let retry: NodeJS.Timeout | undefined
  let delay = 5_000
  let running: Promise<void> | undefined

  const discoverOne = async (sourceId: string): Promise<'found' | 'failed' | 'waits'> => {
    try {
      const found = await catalog.discover(
        sourceId,
        async (source) => await runners.listTools(principalId, sourceToRun(source), closing.signal),
      )
      log.info(
        { sourceId, tools: found.tools, added: found.added.length, changed: found.changed.length },
        'source discovered',
      )
      return 'found'
    } catch (err) {
      // Not the source's fault, and what it waits for has said so.
      if (err instanceof AppError && err.code === 'runner_starting') return 'waits'
      if (!closing.signal.aborted) log.warn({ sourceId, err }, 'source discovery failed')
      return 'failed'
    }
  }

  const look = async () => {
    clearTimeout(retry)
    const waiting = await catalog.undiscovered().catch((err: unknown) => {
      log.warn({ err }, 'source discovery could not start')
      return undefined
    })
    const found = waiting === undefined ? ['failed'] : await Promise.all(waiting.map(discoverOne))
    if (found.every((end) => end === 'found')) {
      delay = 5_000
      return
    }
    if (closing.signal.aborted) return
    if (!found.includes('failed')) {
      retry = setTimeout(() => void run(), 1_000)
      return
    }
    retry = setTimeout(() => void run(), delay)
    delay = Math.min(delay * 2, longestRetryMs)
  }

  const run = async (): Promise<void> => {
    running ??= look().finally(() => {
      running = undefined
    })
    await running
  }

  const stop = deps.notices.on((notice) => {
    if (notice.kind === 'catalog') void run()
  })
  void run()
  return {
    run,
    async [Symbol.asyncDispose]() {
      stop()
      closing.abort()
      clearTimeout(retry)
      await running
    },
  }
}
