import { LRUCache } from 'lru-cache'
import type { Sought } from './live-forms.ts'
import { bytesOf, compileSecrets, type ScrubForms } from './scrub.ts'

/** Each token that is minted makes a search of its own, which nobody asks for once there is another. */
const unusedMs = 10 * 60_000

interface Prepared {
  forms: ScrubForms
  bytes: number
  usedAt: number
}

/**
 * Searches made ready, the same for everybody whose answers are searched for the same. Those that were asked for last
 * are kept, `maxBytes` of them, and none for long that nobody asks for; whoever searches by others meanwhile holds them.
 */
export function createPrepared(
  maxBytes: number,
  now = () => performance.now(),
): (sought: readonly Sought[]) => ScrubForms {
  const prepared = new LRUCache<string, Prepared>({
    maxSize: maxBytes,
    sizeCalculation: ({ bytes }) => bytes,
  })
  const forgetUnused = () => {
    for (const name of prepared.rkeys()) {
      const oldest = prepared.peek(name)
      if (oldest !== undefined && now() - oldest.usedAt < unusedMs) return
      prepared.delete(name)
    }
  }
  const names = new WeakMap<readonly Sought[], string>()
  return (sought) => {
    const name = names.get(sought) ?? nameOf(sought)
    names.set(sought, name)
    const kept = prepared.get(name)
    if (kept === undefined) forgetUnused()
    else kept.usedAt = now()
    const forms = kept?.forms ?? compileSecrets(sought.flatMap(({ texts }) => texts))
    // It grows with the texts that are searched.
    const bytes = bytesOf(forms)
    if (kept?.bytes !== bytes) prepared.set(name, { forms, bytes, usedAt: now() })
    return forms
  }
}

function nameOf(sought: readonly Sought[]): string {
  return sought
    .map((each) => `${each.of} ${each.key}`)
    .sort()
    .join('\n')
}
