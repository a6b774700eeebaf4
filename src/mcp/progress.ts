import type { CallHooks } from '../calls/index.ts'

export interface ProgressParams extends Record<string, unknown> {
  progressToken: string | number
  progress: number
  total?: number
  message?: string
}

export interface Progress extends Pick<CallHooks, 'progress' | 'waiting'> {
  /** Nothing is sent after this. */
  stop(): void
}

/** The least that makes one progress larger than another; small, so that it does not overtake a tool's own. */
const step = 0.001

/**
 * Signs of life for one running call. With a token: what the tool reports, what the call waits for, and, when
 * both are silent for `heartbeatMs`, how long it has been running. Without: only `pulse`, at the same pace.
 * Values strictly increase, whatever the tool says.
 */
export function createProgress(request: {
  token: string | number | undefined
  heartbeatMs: number
  send(params: ProgressParams): void
  pulse?: () => void
}): Progress {
  const { token } = request
  const startedAt = Date.now()
  let stopped = false
  let last = -1
  let told: string | undefined
  let wait: string | undefined

  const send = (wanted: number, rest: { total?: number; message?: string }) => {
    if (token === undefined || stopped) return
    const next = wanted > last ? Math.max(wanted, 0) : after(last)
    if (!Number.isFinite(next)) return
    last = next
    request.send({ progressToken: token, progress: last, ...rest })
  }
  const beat = () => {
    if (token === undefined) {
      request.pulse?.()
      return
    }
    const seconds = Math.round((Date.now() - startedAt) / 1000)
    send(after(last), { message: `${wait ?? told ?? 'Still running.'} (${seconds} s)` })
  }
  const timer =
    token === undefined && request.pulse === undefined ? undefined : setInterval(beat, request.heartbeatMs)

  return {
    progress(progress, total, message) {
      wait = undefined
      if (message !== undefined) told = message
      if (!Number.isFinite(progress)) return
      timer?.refresh()
      send(progress, {
        ...(total === undefined || !Number.isFinite(total) ? {} : { total }),
        ...(message === undefined ? {} : { message }),
      })
    },
    waiting(sentence) {
      wait = sentence === '' ? undefined : sentence
      if (wait === undefined) return
      timer?.refresh()
      send(after(last), { message: wait })
    },
    stop() {
      stopped = true
      clearInterval(timer)
    },
  }
}

/** The next larger value; thousandths are rounded so that no binary noise shows. */
function after(last: number): number {
  if (last < 0) return 0
  return last < 1e9 ? Math.round((last + step) * 1e6) / 1e6 : last * (1 + 4 * Number.EPSILON)
}
