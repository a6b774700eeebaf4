import { randomBytes } from 'node:crypto'
import { AppError, digestJson, newId, sha256 } from '../core/index.ts'
import { insertLease } from '../store/index.ts'
import { fillPlaceholders } from '../vault/index.ts'
import type { ToolhostDial } from './driver.ts'
import type { Held } from './held.ts'
import type { Context } from './options.ts'
import { databaseAway } from './sentences.ts'
import type { SourceToRun } from './types.ts'
import { Unsent } from './unsent.ts'

const putMs = 10_000

/**
 * Makes the source known inside: nothing when this replica has put the same before, in this generation.
 *
 * Leases: each replica that puts a source makes a lease of its own first, 256 random bits of which only the hash
 * is stored. The digest covers the command, not the lease, so a source that already runs the same is not
 * restarted and keeps the lease that it was started with. Every lease of a generation is valid until the
 * generation ends, so it does not matter whose put came first; one that no process ever received dies unused.
 */
export async function putSource(
  context: Context,
  held: Held,
  dial: ToolhostDial,
  source: SourceToRun,
): Promise<void> {
  const digest = digestOf(source)
  const known = held.puts.get(source.id)
  if (known?.digest === digest) return await known.done
  const done = put(context, held, dial, { ...source, digest })
  const entry = { digest, done }
  held.puts.set(source.id, entry)
  done.catch(() => {
    if (held.puts.get(source.id) === entry) held.puts.delete(source.id)
  })
  await done
}

/** Digests of sources by object; whoever hands the same one over again hands over the same content. */
const digests = new WeakMap<SourceToRun, string>()

function digestOf(source: SourceToRun): string {
  let digest = digests.get(source)
  if (digest === undefined) {
    digest = digestJson([source.id, source.command, source.args, source.environment, source.prefixes ?? {}])
    digests.set(source, digest)
  }
  return digest
}

/** Shared by every caller of this replica, so no single caller's cancellation ends it; the generation's end does. */
async function put(
  context: Context,
  held: Held,
  dial: ToolhostDial,
  source: SourceToRun & { digest: string },
): Promise<void> {
  const secret = randomBytes(32).toString('base64url')
  const live = await insertLease(context.store.db, {
    id: newId('lse'),
    secretSha256: sha256(secret),
    runnerId: held.runnerId,
    generation: held.generation,
    sourceId: source.id,
    profile: null,
  }).catch((cause: unknown) => {
    throw databaseAway(cause)
  })
  if (!live) throw new Unsent(new Error('the generation ended before its source was put'))
  const { id, command, args, digest } = source
  const environment = fillPlaceholders(source.environment, source.prefixes ?? {}, held.principalId)
  const launch = { id, command, args, environment, digest, lease: secret }
  const signal = AbortSignal.any([held.ended, AbortSignal.timeout(putMs)])
  let answer: Awaited<ReturnType<typeof context.toolhost.putSource>>
  try {
    answer = await context.toolhost.putSource(dial, launch, { signal, expect: held.expect })
  } catch (error) {
    // Putting twice does no harm, so it does not matter whether this one arrived.
    throw new Unsent(error)
  }
  if (answer.type === 'ok') return
  if (answer.code === 'draining' || answer.code === 'not_found') throw new Unsent(new Error(answer.message))
  throw new AppError('source_failed', `the source ${id} could not be started: ${answer.message}`)
}
