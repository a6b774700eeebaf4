import { sayDuration, type TokenId, understandDuration } from '../core/index.ts'

/** What a person asks for, in our words. */
export type Ask =
  | { verb: 'issue'; lifetimeMs?: number | undefined; toolkit?: string | undefined }
  | { verb: 'list' }
  | { verb: 'revoke'; tokenId: TokenId }
  | { verb: 'rotate'; tokenId: TokenId }
  | { verb: 'help' }
  | { verb: 'invalid'; given: string; problem: string }

export interface Limits {
  /** The longest lifetime a person may ask for, in ms. */
  maxLifetimeMs: number
}

/** What access asks as well; said here so that the answer comes at once. */
const shortestLifetimeMs = 5 * 60_000
const slug = /^[a-z0-9-]{1,40}$/

/**
 * Reads what was typed. After a slash command the words follow bare (`7d orders`); in a conversation an
 * issue must start with `mcp-token`, so that small talk makes no token. Never throws; the `given` of an
 * invalid ask is cut short and holds no token, whatever was pasted.
 */
export function parseAsk(text: string, where: 'command' | 'conversation', limits: Limits): Ask {
  const words = splitWords(text)
  let named = where === 'command'
  if (/^\/?mcp[-_ ]?token$/.test(words[0] ?? '')) {
    words.shift()
    named = true
  }
  const invalid = (problem: string): Ask => ({ verb: 'invalid', given: mask(words.join(' ')), problem })
  const [first, ...rest] = words
  switch (first) {
    case undefined:
      return named ? { verb: 'issue' } : { verb: 'help' }
    case 'help':
    case '?':
      return { verb: 'help' }
    case 'list':
      return rest.length === 0 ? { verb: 'list' } : invalid('`list` takes nothing after it.')
    case 'revoke':
    case 'rotate':
      return parseTarget(first, rest, invalid)
    default:
      if (!named) return invalid('That is none of my words.')
      return parseIssue(words, limits, invalid)
  }
}

function parseTarget(verb: 'revoke' | 'rotate', rest: string[], invalid: (problem: string) => Ask): Ask {
  const [target, ...more] = rest
  if (target === undefined) return invalid(`\`${verb}\` needs the id of a token; \`list\` shows yours.`)
  if (target.startsWith('tcb_')) {
    return invalid(
      `That is a token itself, not its id. Whoever saw it can use it: find its id with \`list\` and ${verb} it.`,
    )
  }
  const id = /^(?:tok_)?([0-9a-z]{4,40})$/.exec(target)?.[1]
  if (id === undefined || more.length > 0)
    return invalid(`\`${verb}\` takes one token id, like \`tok_…\`; \`list\` shows yours.`)
  return { verb, tokenId: `tok_${id}` as TokenId }
}

function parseIssue(words: string[], limits: Limits, invalid: (problem: string) => Ask): Ask {
  const rest = [...words]
  // "7 days" is two words.
  const spaced = rest.length > 1 ? understandDuration(`${rest[0]} ${rest[1]}`) : undefined
  const lifetimeMs = spaced ?? understandDuration(rest[0] ?? '')
  if (lifetimeMs !== undefined) rest.splice(0, spaced === undefined ? 1 : 2)
  const [toolkit, ...more] = rest
  if (more.length > 0)
    return invalid('After `mcp-token` come at most a duration and a toolkit, in this order.')
  if (toolkit !== undefined && (!slug.test(toolkit) || /^\d/.test(toolkit) || toolkit.startsWith('-')))
    return invalid('That is neither a duration (like `7d`, `12h`, `30 min`) nor the name of a toolkit.')
  if (lifetimeMs !== undefined && lifetimeMs > limits.maxLifetimeMs)
    return invalid(`The longest lifetime allowed is ${sayDuration(limits.maxLifetimeMs)}.`)
  if (lifetimeMs !== undefined && lifetimeMs < shortestLifetimeMs)
    return invalid('The shortest lifetime is 5 minutes.')
  return {
    verb: 'issue',
    ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
    ...(toolkit === undefined ? {} : { toolkit }),
  }
}

/** Lower-case words of a Slack text: entities decoded, the leading mention and stray quotes taken off. */
function splitWords(text: string): string[] {
  return text
    .slice(0, 2_000)
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
    .replace(/^\s*<@[A-Z0-9]+(\|[^>]*)?>[\s,:]*/, '')
    .toLowerCase()
    .split(/[\s\u00a0]+/)
    .map((word) => word.replace(/^[`'"“”‘’*_]+|[`'"“”‘’*_.,!]+$/g, ''))
    .filter((word) => word !== '')
}

/** What may be said back: short, and without a token. */
function mask(text: string): string {
  const masked = text.replace(/tcb_\S+/g, 'tcb_…')
  return masked.length > 80 ? `${masked.slice(0, 79)}…` : masked
}
