import type { TokenRow } from '../access/index.ts'
import { type Block, context, divider, header, section } from './blocks.ts'
import type { TokenLifetimes } from './types.ts'
import { helpText, tokenBlocks } from './wording.ts'

/** The Home tab: a person's own keys, and how to get one. */
export function homeBlocks(tokens: TokenRow[], lifetimes: TokenLifetimes): Block[] {
  return [
    header('Your keys'),
    ...(tokens.length === 0
      ? [section('You have none. Send me `mcp-token` in a message, or type `/mcp-token` anywhere.')]
      : tokenBlocks(tokens)),
    divider,
    header('How to get one'),
    section(helpText(lifetimes)),
    context('A key is shown once, and only to you. Nobody can read it back, not even an admin.'),
  ]
}
