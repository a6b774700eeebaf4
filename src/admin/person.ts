import type { Principal } from '../access/index.ts'
import { AppError, editDistance } from '../core/index.ts'

/**
 * The one principal that `text` names: a principal id, a Slack user id, or a name with or without `@`, without
 * regard to case. Throws `not_found` with names that come close, or `conflict` with all that fit.
 */
export function findPerson(principals: readonly Principal[], text: string): Principal {
  const fits = matching(principals, text)
  const [only] = fits
  if (only !== undefined && fits.length === 1) return only
  const shown = JSON.stringify(text.slice(0, 60))
  if (fits.length > 1) {
    throw new AppError(
      'conflict',
      `${shown} could be ${fits.map(describe).join(' or ')}; use the principal id.`,
      { details: { matches: fits.map(({ id, name, slackUser }) => ({ id, name, slackUser })) } },
    )
  }
  const close = closeTo(principals, text)
  const hint =
    close.length === 0
      ? 'Somebody is known here once they have written to the Slack app, or an admin has added them.'
      : `Did you mean ${close.map((name) => JSON.stringify(name)).join(' or ')}?`
  throw new AppError('not_found', `Nobody here is called ${shown}. ${hint}`, { details: { close } })
}

function matching(principals: readonly Principal[], text: string): Principal[] {
  if (text.startsWith('prn_')) return principals.filter((principal) => principal.id === text)
  const bySlack = principals.filter((principal) => principal.slackUser === text)
  if (bySlack.length > 0) return bySlack
  const wanted = plain(text)
  return principals.filter((principal) => plain(principal.name) === wanted)
}

function plain(name: string): string {
  return name.normalize('NFKC').trim().replace(/^@/, '').toLowerCase()
}

function describe(principal: Principal): string {
  return `${principal.name} (${[principal.id, principal.slackTeam, principal.slackUser].filter((part) => part !== null).join(', ')})`
}

/** Up to five names that contain it, are contained in it, or are at most two letters away. */
function closeTo(principals: readonly Principal[], text: string): string[] {
  const wanted = plain(text)
  const scored = principals
    .filter((principal) => principal.kind === 'person')
    .map(({ name }) => {
      const own = plain(name)
      const contains = own.includes(wanted) || (own.length > 2 && wanted.includes(own))
      return { name, score: contains ? 1 : lettersAway(own, wanted) }
    })
    .filter(({ score }) => score <= 2)
    .toSorted((a, b) => a.score - b.score || (a.name < b.name ? -1 : 1))
  return [...new Set(scored.map(({ name }) => name))].slice(0, 5)
}

/** More than 2 is told as 3, and not looked for where the lengths say it. */
function lettersAway(a: string, b: string): number {
  return Math.abs(a.length - b.length) > 2 ? 3 : Math.min(editDistance(a, b), 3)
}
