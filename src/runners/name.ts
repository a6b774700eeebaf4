import { sha256 } from '../core/index.ts'

/** Who a runner is named after; `name` only makes it readable, the Slack ids make it unique. */
export type RunnerOwner =
  | { kind: 'system' }
  | { kind: 'person'; slackTeam: string; slackUser: string; name: string }

/**
 * The name of a principal's runner: a valid RFC 1123 label of at most 39 characters, different for different
 * (team, user), whatever these contain. Ids themselves never appear in it: names are seen by everyone who can
 * list sandboxes. It is made once and then stored; nothing computes it again for an existing runner.
 */
export function runnerName(owner: RunnerOwner): string {
  // No person's name can be this one: theirs end in sixteen hex digits after a hyphen.
  if (owner.kind === 'system') return 'r-system'
  const hash = sha256(`${owner.slackTeam}\u0000${owner.slackUser}`).slice(0, 16)
  const slug = slugOf(owner.name)
  return slug === '' ? `r-${hash}` : `r-${slug}-${hash}`
}

/** Lower-case letters, digits and single inner hyphens, at most 20; empty when nothing of the name fits. */
function slugOf(name: string): string {
  return name
    .slice(0, 200)
    .normalize('NFKD')
    .toLowerCase()
    .replace(/\p{Mark}/gu, '')
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 20)
    .replace(/^-+|-+$/g, '')
}
