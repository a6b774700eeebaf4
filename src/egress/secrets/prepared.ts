import { LRUCache } from 'lru-cache'
import type { Sought } from './live-forms.ts'
import { bytesOf, compileSecrets, type ScrubForms } from './scrub.ts'

/**
 * Searches made ready, the same for everybody whose answers are searched for the same. Those that were asked for last
 * are kept, `maxBytes` of them; whoever searches by others meanwhile holds them.
 */
export function createPrepared(maxBytes: number): (sought: readonly Sought[]) => ScrubForms {
  const prepared = new LRUCache<string, { forms: ScrubForms; bytes: number }>({
    maxSize: maxBytes,
    sizeCalculation: ({ bytes }) => bytes,
  })
  const names = new WeakMap<readonly Sought[], string>()
  return (sought) => {
    const name = names.get(sought) ?? nameOf(sought)
    names.set(sought, name)
    const kept = prepared.get(name)
    const forms = kept?.forms ?? compileSecrets(sought.flatMap(({ texts }) => texts))
    // It grows with the texts that are searched.
    const bytes = bytesOf(forms)
    if (kept?.bytes !== bytes) prepared.set(name, { forms, bytes })
    return forms
  }
}

function nameOf(sought: readonly Sought[]): string {
  return sought
    .map((each) => `${each.of} ${each.key}`)
    .sort()
    .join('\n')
}
