import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../core/index.ts'
import { listen, type Notice, type Store } from '../store/index.ts'
import type { Announcer } from './keys/announce.ts'
import { watchLeases } from './leases/leases.ts'
import type { Serving } from './serving.ts'

/** Without notices what is withdrawn ends within this and the time of a look: within a second. */
const defaultWatchMs = 400
const beatMs = 10_000
/** Without a word of ours the others find out from our heartbeat: records are waited for, and not this. */
const leaveMs = 2_000
/** Notices after which nothing that was looked at before may be used. */
const concernsEgress = new Set<Notice['kind']>([
  'catalog',
  'credential',
  'egress_keys',
  'principal',
  'runner',
  'token',
])

/**
 * Keeps a proxy at the rights, the credentials and the keys as they are, and others told that it lives, until `stack`
 * ends it. Rejects when they cannot be told the first time.
 */
export async function keepCurrent(options: {
  stack: AsyncDisposableStack
  serving: Pick<Serving, 'leases' | 'credentials' | 'live' | 'upstream'>
  announcer: Announcer
  store: Store
  watchMs?: number | undefined
  log: Log
}): Promise<void> {
  const { stack, announcer, store, log } = options
  const { leases, credentials, live, upstream } = options.serving
  // What fails is told by the announcer, and tried again at the next beat.
  const announceAgain = () => void announcer.announce().catch(() => undefined)
  const watch = watchLeases({
    leases,
    inUse: () => live.digests(),
    seen: (digest, facts) => live.seen(digest, facts),
    intervalMs: options.watchMs ?? defaultWatchMs,
    log,
  })
  stack.defer(() => watch.stop())
  const notices = listen(store, log)
  stack.use(notices)
  notices.on((notice) => {
    if (!concernsEgress.has(notice.kind)) return
    if (notice.kind === 'egress_keys') announceAgain()
    leases.invalidate()
    credentials.invalidate()
    if (notice.kind === 'credential') credentials.changed()
    if (notice.kind === 'catalog') upstream.drop()
    watch.nudge()
    log.debug({ kind: notice.kind }, 'a notice came')
  })

  await announcer.announce()
  const beating = setInterval(announceAgain, beatMs)
  stack.defer(async () => {
    clearInterval(beating)
    const left = announcer
      .leave()
      .catch((err: unknown) => log.warn({ err }, 'the end of this proxy could not be told'))
    await Promise.race([left, sleep(leaveMs, undefined, { ref: false })])
  })
}
