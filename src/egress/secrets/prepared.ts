import { LRUCache } from 'lru-cache'
import type { Sought } from './live-forms.ts'
import { bytesOf, compileSecrets, type ScrubForms } from './scrub.ts'

/** Each token that is minted makes a search of its own, which nobody asks for once there is another. */
const unusedMs = 10 * 60_000

interface Made {
  forms: ScrubForms
  bytes: number
  usedAt: number
}

export interface Prepared {
  of(sought: readonly Sought[]): ScrubForms
  /** To be called now and then, or what a busy hour made stays for as long as nobody asks for anything. */
  forgetUnused(): void
}

/**
 * Searches made ready, the same for everybody whose answers are searched for the same. Those that were asked for last
 * are kept, `maxBytes` of them, and none that nobody has asked for in ten minutes; whoever searches by others meanwhile
 * holds them.
 */
export function createPrepared(maxBytes: number, now = () => performance.now()): Prepared {
  const prepared = new LRUCache<string, Made>({
    maxSize: maxBytes,
    sizeCalculation: ({ bytes }) => bytes,
  })
  const names = new WeakMap<readonly Sought[], string>()
  return {
    of(sought) {
      const name = names.get(sought) ?? nameOf(sought)
      names.set(sought, name)
      const kept = prepared.get(name)
      if (kept !== undefined) kept.usedAt = now()
      const forms = kept?.forms ?? compileSecrets(sought.flatMap(({ texts }) => texts))
      // It grows with the texts that are searched.
      const bytes = bytesOf(forms)
      if (kept?.bytes !== bytes) prepared.set(name, { forms, bytes, usedAt: now() })
      return forms
    },
    forgetUnused() {
      for (const name of prepared.rkeys()) {
        const oldest = prepared.peek(name)
        if (oldest !== undefined && now() - oldest.usedAt < unusedMs) return
        prepared.delete(name)
      }
    },
  }
}

function nameOf(sought: readonly Sought[]): string {
  return sought
    .map((each) => `${each.of} ${each.key}`)
    .sort()
    .join('\n')
}
