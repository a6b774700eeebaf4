import { afterAll, expect, test } from 'vitest'
import { home } from '../support/access.ts'
import { startSlackHouse, tokenIn } from '../support/slack.ts'

const house = await startSlackHouse()
const { slack, sender, access } = house
afterAll(async () => await house[Symbol.asyncDispose]())

const tokenOf = async (user: string) => {
  const channel = await slack.directChannel(user)
  const before = (await house.said(user)).length
  await sender.slashCommand({ user, text: '', channel })
  return tokenIn((await house.answers(user, before + 1)).slice(before))
}

test('invariant 5: a deactivation in Slack revokes everything before Slack hears that we took it', async () => {
  const { alice } = slack.people
  const token = await tokenOf(alice.id)
  await access.verify(token, home)
  const answer = await sender.userChange({ user: { id: alice.id, deleted: true }, id: 'Ev0GONE' })
  expect(answer.status).toBe(200)
  await expect(access.verify(token, home)).rejects.toMatchObject({ code: 'principal_deactivated' })
  expect(await access.list({})).toEqual([])

  // Back in Slack, a person may ask again; the old token stays dead, and a late repetition changes nothing.
  await sender.userChange({ user: { id: alice.id } })
  await sender.userChange({ user: { id: alice.id, deleted: true }, id: 'Ev0GONE' })
  const fresh = await tokenOf(alice.id)
  await expect(access.verify(fresh, home)).resolves.toMatchObject({ principalName: 'Alice' })
  await expect(access.verify(token, home)).rejects.toMatchObject({ code: 'token_revoked' })
})

test('a member who becomes a guest loses their tokens', async () => {
  const { bob } = slack.people
  const token = await tokenOf(bob.id)
  await sender.userChange({ user: { id: bob.id, is_restricted: true } })
  await expect(access.verify(token, home)).rejects.toMatchObject({ code: 'principal_deactivated' })
})

test('a person whom an admin deactivated stays so, whatever Slack says, and is told', async () => {
  const { dana } = slack.people
  await tokenOf(dana.id)
  const principal = await access.findBySlack(slack.teamId, dana.id)
  if (principal === undefined) throw new Error('no principal')
  await access.deactivate(principal.id, 'admin', 'left the team')
  await sender.userChange({ user: { id: dana.id } })
  await expect(access.findPrincipal(principal.id)).resolves.toMatchObject({ state: 'deactivated' })
  await sender.slashCommand({ user: dana.id, text: '', channel: await slack.directChannel(dana.id) })
  expect((await house.answers(dana.id, 2)).at(-1)?.text).toContain('your account is deactivated')
})

test('a change of someone we never met is nothing', async () => {
  expect((await sender.userChange({ user: { id: 'U0STRANGER', deleted: true } })).status).toBe(200)
  expect(await access.findBySlack(slack.teamId, 'U0STRANGER')).toBeUndefined()
})
