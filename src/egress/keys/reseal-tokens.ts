import { resealToken, type Store, tokensByKey, tokensSealedTo } from '../../store/index.ts'
import { open, sealTo } from '../../vault/index.ts'
import { tokenContext } from '../secrets/mint/tokens.ts'
import type { SealingKeyFile } from './key-folder.ts'

const batch = 100

/**
 * Seals every minted and former token that a key of `old` opens to `next`: a proxy that starts after those keys are
 * gone searches answers for them, too. One that was renewed or sealed anew meanwhile is left to the next round.
 * `stuck`: keys to which tokens are sealed that do not open, or that are not in `old`.
 */
export async function resealTokens(
  store: Store,
  next: SealingKeyFile,
  old: ReadonlyMap<string, SealingKeyFile>,
): Promise<{ resealed: number; stuck: Set<string> }> {
  const keyIds = [...old.keys()].filter((id) => id !== next.id)
  const others = [...(await tokensByKey(store.db)).keys()].filter((id) => id !== next.id && !old.has(id))
  const stuck = new Set(others)
  let resealed = 0
  for (let after: string | undefined = ''; after !== undefined; ) {
    const tokens = await tokensSealedTo(store.db, keyIds, { after, limit: batch })
    for (const token of tokens) {
      const { id, keyId } = token
      const key = old.get(keyId)
      if (key === undefined) continue
      // Who rotates is told how many there are, and a proxy that comes upon one writes a line.
      const secret = await open(key.opening, token.sealed, tokenContext(id, keyId)).catch(() => undefined)
      if (secret === undefined) {
        stuck.add(keyId)
        continue
      }
      const sealed = await sealTo(next.publicKey, secret, tokenContext(id, next.id))
      if (await resealToken(store.db, token, { keyId: next.id, sealed })) resealed += 1
    }
    after = tokens.at(-1)?.sealed
  }
  return { resealed, stuck }
}
