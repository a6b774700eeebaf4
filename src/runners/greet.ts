import type { SandboxFacts } from './driver.ts'
import type { Context } from './options.ts'
import type { StartFailure } from './start-failure.ts'

/** Asks the toolhost who it is and whether its walls hold; no answer means not yet. */
export async function greet(
  context: Context,
  facts: SandboxFacts,
  signal: AbortSignal,
): Promise<'ready' | 'not yet' | StartFailure> {
  const { driver, toolhost, log } = context
  try {
    const dial = await driver.dial(facts)
    try {
      const health = await toolhost.health(dial, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]),
      })
      if (health.sandboxUid !== facts.uid || health.generation !== facts.generation) {
        log.error(
          { runner: facts.name, expected: facts.uid, answered: health.sandboxUid },
          'another sandbox answered',
        )
        return { cause: 'identity_mismatch', message: 'another sandbox answered in its place' }
      }
      if (health.egress === 'open') {
        log.error({ runner: facts.name, leak: health.leak }, 'a sandbox can reach the outside directly')
        return {
          cause: 'egress_not_enforced',
          message:
            'the sandbox can reach the outside without the proxy, so it was ended; an admin must repair its isolation',
          fatal: true,
        }
      }
      // Without isolation there are no walls to probe, and every surface says so. Else the probe is still under way.
      return health.egress === 'enforced' || driver.isolation === 'none' ? 'ready' : 'not yet'
    } finally {
      dial.release()
    }
  } catch (err) {
    log.debug({ runner: facts.name, err }, 'toolhost does not answer yet')
    return 'not yet'
  }
}
