import { LRUCache } from 'lru-cache'
import { createTrouble, type Log, type Trouble } from '../../../core/index.ts'
import { tokenEndpoint } from './endpoint.ts'
import { type MintOrder, ownerOf } from './recipe.ts'

/** What an operator is told of minting: one story of each credential, whomever it fails for and however often. */
export interface MintTrouble {
  /** `cause`: an error, or its code in words. */
  happened(order: MintOrder, cause: unknown): void
  over(order: MintOrder): void
}

export function createMintTrouble(log: Log): MintTrouble {
  const stories = new LRUCache<string, Trouble>({ max: 500 })
  const whose = (order: MintOrder) => ownerOf(order) ?? 'everybody'
  const storyOf = ({ name, spec }: MintOrder): Trouble => {
    const { host } = tokenEndpoint(spec)
    const key = `${name} ${host}`
    const story =
      stories.get(key) ??
      createTrouble(log.child({ credential: name, host }), {
        fails: 'no token can be minted',
        lasts: 'still no token can be minted',
        over: 'tokens can be minted again',
      })
    stories.set(key, story)
    return story
  }
  return {
    happened: (order, cause) => storyOf(order).happened(whose(order), cause),
    over: (order) => storyOf(order).over(whose(order)),
  }
}
