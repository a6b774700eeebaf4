/** What `users.info` and `user_change` tell about a person, as far as it decides anything. */
export interface SlackUser {
  id: string
  team_id?: string | undefined
  name?: string | undefined
  real_name?: string | undefined
  deleted?: boolean | undefined
  is_bot?: boolean | undefined
  is_app_user?: boolean | undefined
  is_restricted?: boolean | undefined
  is_ultra_restricted?: boolean | undefined
  is_stranger?: boolean | undefined
  enterprise_user?: { teams?: string[] | undefined } | undefined
  profile?: { display_name?: string | undefined; real_name?: string | undefined } | undefined
}

export type RefusalReason = 'deactivated' | 'bot' | 'external' | 'guest'

export type Standing = { ok: true; name: string } | { ok: false; reason: RefusalReason }

/**
 * Whether this user may hold a token: an active, full, human member of the workspace `teamId`. What Slack
 * leaves out counts as no; a user of another team, or of no known team, is external.
 */
export function standingOf(user: SlackUser, teamId: string): Standing {
  if (user.deleted === true) return { ok: false, reason: 'deactivated' }
  if (user.is_bot === true || user.id === 'USLACKBOT') return { ok: false, reason: 'bot' }
  const belongs = user.team_id === teamId || user.enterprise_user?.teams?.includes(teamId) === true
  if (user.is_stranger === true || !belongs) return { ok: false, reason: 'external' }
  if (user.is_restricted === true || user.is_ultra_restricted === true) return { ok: false, reason: 'guest' }
  const name = [user.profile?.display_name, user.profile?.real_name, user.real_name, user.name].find(
    (candidate) => candidate !== undefined && candidate.trim() !== '',
  )
  return { ok: true, name: name ?? user.id }
}
