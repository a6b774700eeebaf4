import type { IssuedToken, TokenRow } from '../access/index.ts'
import { sayDuration } from '../core/index.ts'
import { type Block, context, escapeText, type Message, plain, section, slackDate } from './blocks.ts'
import type { RefusalReason } from './standing.ts'
import type { TokenLifetimes } from './types.ts'

export function helpText(lifetimes: TokenLifetimes): string {
  return [
    'I hand out keys to the company’s tools, for Claude Code, Amp, Codex or any MCP client.',
    '`/mcp-token` – a new key, sent to you alone',
    `\`/mcp-token 12h\` – with a lifetime (${sayDuration(lifetimes.defaultLifetimeMs)} if you say nothing, ${sayDuration(lifetimes.maxLifetimeMs)} at most)`,
    '`/mcp-token 7d orders` – for one toolkit only',
    '`/mcp-token list` – your keys, when they were used, when they expire',
    '`/mcp-token rotate &lt;id&gt;` – a new key for an old one, which dies at once',
    '`/mcp-token revoke &lt;id&gt;` – end a key at once',
    'In a message to me, leave the slash away: `mcp-token 7d`, `list`, `revoke &lt;id&gt;`.',
  ].join('\n')
}

export function invalidText(given: string, problem: string): string {
  const quoted = given === '' ? 'That' : `“${escapeText(given)}”`
  return [
    `${quoted} is nothing I can do. ${problem}`,
    'What works: `/mcp-token`, `/mcp-token 7d`, `/mcp-token 7d &lt;toolkit&gt;`, `/mcp-token list`, `/mcp-token rotate &lt;id&gt;`, `/mcp-token revoke &lt;id&gt;`, `/mcp-token help`.',
  ].join('\n')
}

export function unknownToolkitText(given: string, toolkits: { slug: string; title: string }[]): string {
  const known = toolkits.map((toolkit) => `\`${toolkit.slug}\` (${escapeText(toolkit.title)})`).join(', ')
  const list =
    known === '' ? 'There are none yet; `/mcp-token` opens every tool you may use.' : `There are: ${known}.`
  return `There is no toolkit “${escapeText(given)}”. ${list}`
}

const refusals: Record<RefusalReason, string> = {
  deactivated: 'your account is deactivated. Ask an admin of Toolcrib to reactivate it',
  bot: 'keys are for people, and this account is a bot. The person behind it can ask for one',
  external:
    'your account belongs to another workspace (Slack Connect). Keys are for members of this one; ask your contact here to run the tool for you',
  guest:
    'your account is a guest in this workspace. Keys are for full members; ask a workspace admin to make you one',
}

export function refusalText(reason: RefusalReason): string {
  return `I can give you no key: ${refusals[reason]}.`
}

export function revokedText(tokenId: string): string {
  return `Done: \`${tokenId}\` is revoked. Whoever uses it is refused from now on.`
}

export function notYoursText(tokenId: string): string {
  return `You have no key \`${escapeText(tokenId)}\`. \`/mcp-token list\` shows yours.`
}

export function listMessage(tokens: TokenRow[]): Message {
  if (tokens.length === 0) return plain('You have no keys. `/mcp-token` gets you one.')
  const summary = tokens.length === 1 ? 'You have one key.' : `You have ${tokens.length} keys.`
  return {
    text: summary,
    blocks: [
      section(summary),
      ...tokenBlocks(tokens),
      context('`/mcp-token revoke &lt;id&gt;` ends one at once, `/mcp-token rotate &lt;id&gt;` replaces it.'),
    ],
  }
}

/** One block a token, newest first, twenty at most: Slack takes fifty blocks in all. */
export function tokenBlocks(tokens: TokenRow[]): Block[] {
  const shown = tokens
    .toSorted((a, b) => b.issuedAt.getTime() - a.issuedAt.getTime())
    .slice(0, 20)
    .map((token) =>
      section(
        [
          `*\`${token.id}\`* opens ${opens(token.toolkit)}`,
          `expires ${slackDate(token.expiresAt)} · ${lastUse(token)}`,
        ].join('\n'),
      ),
    )
  const rest = tokens.length - shown.length
  return rest > 0 ? [...shown, context(`and ${rest} older`)] : shown
}

function lastUse(token: TokenRow): string {
  if (token.lastUsedAt === null) return 'never used'
  const client = token.lastUsedClient === null ? '' : ` by ${escapeText(token.lastUsedClient)}`
  const address = token.lastUsedAddress === null ? '' : ` from ${escapeText(token.lastUsedAddress)}`
  return `last used ${slackDate(token.lastUsedAt)}${client}${address}`
}

export function opens(toolkit: IssuedToken['toolkit']): string {
  return toolkit === null ? 'every tool you may use' : `the toolkit \`${toolkit}\``
}

/** Said in a shared place: where the answer is, and nothing of it. */
export function pointerText(teamId: string, appId: string | undefined): string {
  const place =
    appId === undefined
      ? 'direct message'
      : `<slack://app?team=${teamId}&id=${appId}&tab=messages|direct message>`
  return `I answer you by ${place}: what I hand out is for your eyes only.`
}

export const notTakenText =
  'I cannot take this right now: my database does not answer. Nothing was issued or changed; try again in a minute.'
