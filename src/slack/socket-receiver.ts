import { setTimeout as sleep } from 'node:timers/promises'
import { type App, type Receiver, SocketModeReceiver } from '@slack/bolt'
import type { Log, Secret } from '../core/index.ts'
import { boltLog } from './bolt-log.ts'

/**
 * Bolt's way in over Socket Mode. Bolt acknowledges an event before its listeners run; here the envelope is
 * acknowledged after them, so that what we took is in the database. `start` returns at once and connects in
 * the background, for ever: a start without Slack must not stop the server.
 */
export function createSocketReceiver(options: {
  appToken: Secret
  apiUrl?: string | undefined
  log: Log
}): Receiver {
  const inner = new SocketModeReceiver({
    appToken: options.appToken.reveal(),
    logger: boltLog(options.log),
    installerOptions: options.apiUrl === undefined ? {} : { clientOptions: { slackApiUrl: options.apiUrl } },
  })
  const stop = new AbortController()

  const connect = async () => {
    for (let delay = 1_000; !stop.signal.aborted; delay = Math.min(delay * 2, 60_000)) {
      try {
        await inner.start()
        options.log.info({}, 'slack socket connected')
        return
      } catch (error) {
        const name = error instanceof Error ? error.name : 'error'
        options.log.warn({ error: name, retryMs: delay }, 'slack socket not connected')
      }
      await sleep(delay, undefined, { signal: stop.signal }).catch(() => undefined)
    }
  }

  return {
    init(app) {
      const late: Pick<App, 'processEvent'> = {
        async processEvent(event) {
          let answer: unknown
          await app.processEvent({
            ...event,
            ack: async (response?: unknown) => {
              answer ??= response
            },
          })
          await event.ack(answer)
        },
      }
      inner.init(late as App)
    },
    start: async () => void connect(),
    async stop() {
      stop.abort()
      await inner.stop()
    },
  }
}
