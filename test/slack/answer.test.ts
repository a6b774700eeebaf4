import { afterAll, expect, test } from 'vitest'
import { home } from '../support/access.ts'
import { startSlackHouse, tokenIn } from '../support/slack.ts'

const house = await startSlackHouse()
const { slack, sender, access } = house
const { alice, bob, dana, gary } = slack.people
afterAll(async () => await house[Symbol.asyncDispose]())

const typed = async (user: string, text: string) =>
  await sender.slashCommand({ user, text, channel: await slack.directChannel(user) })
const answerTo = async (user: string, send: () => Promise<unknown>) => {
  const before = (await house.said(user)).length
  await send()
  return (await house.answers(user, before + 1)).slice(before)
}

test('a slash command in the direct message brings one message with a token that works', async () => {
  const [message, ...more] = await answerTo(alice.id, async () => {
    expect(await typed(alice.id, '')).toEqual({ status: 200, body: '' })
  })
  expect(more).toEqual([])
  const token = tokenIn(message === undefined ? [] : [message])
  await expect(access.verify(token, home)).resolves.toMatchObject({ principalName: 'Alice', toolkit: null })
  const shown = JSON.stringify(message?.blocks)
  expect(shown).toContain('in 7 days')
  for (const client of ['Claude Code', 'Amp', 'Codex', 'Gemini CLI', 'VS Code', 'Cursor'])
    expect(shown).toContain(client)
  expect(message?.text).not.toContain('tcb_')
  expect(house.issuedTo).toHaveLength(1)
})

test('invariant 4: a token asked for in a channel goes by direct message, and the channel sees a pointer without it', async () => {
  const before = slack.ephemerals(bob.id).length
  const messages = await answerTo(bob.id, async () => {
    const answer = await sender.slashCommand({
      user: bob.id,
      text: '12h orders',
      channel: slack.generalChannel,
    })
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body)).toMatchObject({ response_type: 'ephemeral' })
    expect(answer.body).toContain('direct message')
    expect(answer.body).not.toContain('tcb_')
  })
  const token = tokenIn(messages)
  await expect(access.verify(token, home)).resolves.toMatchObject({ toolkit: 'orders' })
  expect(JSON.stringify(messages)).toContain('https://crib.example/mcp/toolkits/orders')
  expect(JSON.stringify(messages)).toContain('in 12 hours')
  expect(messages.every((message) => message.channel.startsWith('D'))).toBe(true)
  expect(slack.ephemerals(bob.id)).toHaveLength(before)
})

test('a mention in a channel is answered by direct message, with a pointer that only the asker sees', async () => {
  const messages = await answerTo(dana.id, async () => {
    await sender.mention({ user: dana.id, text: 'mcp-token 2 hours', channel: slack.generalChannel })
    await house.answers(dana.id, 2)
  })
  const pointer = messages.find((message) => message.ephemeral)
  expect(pointer).toMatchObject({ channel: slack.generalChannel, user: dana.id })
  expect(JSON.stringify(pointer)).not.toContain('tcb_')
  const token = tokenIn(messages.filter((message) => !message.ephemeral))
  await expect(access.verify(token, home)).resolves.toMatchObject({ principalName: 'Dana' })
})

test('a mention that says nothing we know is answered to the asker alone, with what works', async () => {
  const [answer] = await answerTo(dana.id, async () => {
    await sender.mention({ user: dana.id, text: 'what a day', channel: slack.generalChannel })
  })
  expect(answer).toMatchObject({ ephemeral: true, channel: slack.generalChannel })
  expect(answer?.text).toContain('“what a day” is nothing I can do.')
  expect(answer?.text).toContain('/mcp-token help')
})

test('the same words work in a direct message, and list shows what there is', async () => {
  const channel = await slack.directChannel(bob.id)
  const [issued] = await answerTo(bob.id, () =>
    sender.directMessage({ user: bob.id, text: 'mcp-token 30 min', channel }),
  )
  expect(JSON.stringify(issued?.blocks)).toContain('in 30 minutes')
  const [list] = await answerTo(bob.id, () => sender.directMessage({ user: bob.id, text: 'List', channel }))
  expect(list?.text).toBe('You have 2 keys.')
  expect(JSON.stringify(list?.blocks)).toContain('`orders`')
  expect(JSON.stringify(list)).not.toContain('tcb_')
})

test('bad input is answered at once with what was given and what works', async () => {
  const answer = await typed(alice.id, '400d')
  expect(answer.body).toContain('“400d” is nothing I can do. The longest lifetime allowed is 30 days.')
  const pasted = await typed(alice.id, `revoke tcb_${'a'.repeat(12)}_${'S'.repeat(49)}`)
  expect(pasted.body).toContain('“revoke tcb_…”')
  expect(pasted.body).not.toContain('SSS')
  expect((await typed(alice.id, 'help')).body).toContain('7 days if you say nothing')
})

test('an unknown toolkit is answered with those that exist', async () => {
  const [answer] = await answerTo(alice.id, () => typed(alice.id, '7d order'))
  expect(answer?.text).toBe('There is no toolkit “order”. There are: `orders` (Orders), `support` (Support).')
})

test('revoke ends a token of one’s own at once, and nobody else’s', async () => {
  const [message] = await answerTo(alice.id, () => typed(alice.id, ''))
  const token = tokenIn(message === undefined ? [] : [message])
  const { tokenId } = await access.verify(token, home)
  const [other] = await answerTo(bob.id, () => typed(bob.id, `revoke ${tokenId}`))
  expect(other?.text).toContain(`You have no key`)
  await expect(access.verify(token, home)).resolves.toMatchObject({ tokenId })
  const [done] = await answerTo(alice.id, () => typed(alice.id, `revoke ${tokenId}`))
  expect(done?.text).toContain(`\`${tokenId}\` is revoked`)
  await expect(access.verify(token, home)).rejects.toMatchObject({ code: 'token_revoked' })
})

test('rotate hands over a new token and the old one is dead', async () => {
  const [first] = await answerTo(alice.id, () => typed(alice.id, '12h orders'))
  const old = tokenIn(first === undefined ? [] : [first])
  const { tokenId } = await access.verify(old, home)
  const [second] = await answerTo(alice.id, () => typed(alice.id, `rotate ${tokenId}`))
  const fresh = tokenIn(second === undefined ? [] : [second])
  await expect(access.verify(old, home)).rejects.toMatchObject({ code: 'token_revoked' })
  await expect(access.verify(fresh, home)).resolves.toMatchObject({ toolkit: 'orders' })
  expect(JSON.stringify(second?.blocks)).toContain('in 12 hours')
})

test('the button deletes the message with the token', async () => {
  const [message] = await answerTo(alice.id, () => typed(alice.id, ''))
  const before = await house.said(alice.id)
  await sender.buttonClick({
    user: alice.id,
    channel: message?.channel ?? '',
    messageTs: message?.ts ?? '',
    actionId: 'delete_message',
  })
  await house.jobsDone()
  expect((await house.said(alice.id)).map(({ ts }) => ts)).toEqual(
    before.map(({ ts }) => ts).filter((ts) => ts !== message?.ts),
  )
})

test('the Home tab lists one’s keys without any secret', async () => {
  await sender.homeOpened({ user: alice.id, channel: await slack.directChannel(alice.id) })
  await house.jobsDone()
  const shown = JSON.stringify(slack.home(alice.id))
  expect(shown).toContain('Your keys')
  expect(shown).toContain('tok_')
  expect(shown).not.toContain('tcb_')
})

test.each([
  ['a guest', gary.id, {}, 'guest', 'your account is a guest'],
  [
    'a member of another workspace',
    alice.id,
    { team_id: 'T0OTHER', is_stranger: true },
    'external',
    'Slack Connect',
  ],
  ['a bot', alice.id, { is_bot: true }, 'bot', 'keys are for people'],
  ['a deactivated user', alice.id, { deleted: true }, 'deactivated', 'your account is deactivated'],
])('%s is refused with the reason, and the refusal is recorded', async (_, user, facts, reason, words) => {
  const clean = { team_id: slack.teamId, is_stranger: false, is_bot: false, deleted: false }
  slack.setFacts(user, facts)
  const tokens = await house.tokenRows()
  const [answer] = await answerTo(user, () => typed(user, ''))
  slack.setFacts(user, clean)
  expect(answer?.text).toContain(words)
  expect(await house.tokenRows()).toHaveLength(tokens.length)
  const events = await house.store.pool.query(
    `SELECT data FROM events WHERE kind = 'slack.refused' AND data->>'reason' = $1`,
    [reason],
  )
  expect(events.rows).toEqual([{ data: { reason, slackTeam: slack.teamId, slackUser: user } }])
})

test('a bot that mentions us is recorded and never answered', async () => {
  await sender.mention({
    user: 'U0OTHERBOT',
    botId: 'B0OTHER',
    text: 'mcp-token',
    channel: slack.generalChannel,
  })
  await house.jobsDone()
  const events = await house.store.pool.query(`SELECT 1 FROM events WHERE data->>'slackUser' = 'U0OTHERBOT'`)
  expect(events.rowCount).toBe(1)
  expect(house.faults.calls.filter(({ method }) => method === 'chat.postEphemeral').length).toBeLessThan(5)
})

test('our own messages in the conversation are no asks', async () => {
  const channel = await slack.directChannel(alice.id)
  await sender.directMessage({ user: slack.botUserId, botId: 'B0CR1B0B0T', text: 'mcp-token', channel })
  await sender.event({
    type: 'message',
    subtype: 'message_changed',
    channel,
    channel_type: 'im',
    message: {},
  })
  const jobs = await house.store.pool.query(`SELECT 1 FROM slack_jobs WHERE payload->>'user' = $1`, [
    slack.botUserId,
  ])
  expect(jobs.rowCount).toBe(0)
})

test('invariant 1: no token is in a log line, a job, an event or any other row', async () => {
  const tokens = new Set<string>()
  for (const person of [alice, bob, dana])
    for (const match of JSON.stringify(await house.said(person.id)).matchAll(/tcb_\w{12}_(\w{49})/g))
      tokens.add(match[1] ?? '')
  expect(tokens.size).toBeGreaterThan(3)
  const rows = await house.store.pool.query<{ row: string }>(
    `SELECT j::text AS row FROM slack_jobs j UNION ALL SELECT e::text FROM events e
     UNION ALL SELECT d::text FROM slack_deliveries d UNION ALL SELECT t::text FROM tokens t`,
  )
  const kept = [...house.logLines, ...rows.rows.map(({ row }) => row)].join('\n')
  for (const token of tokens) expect(kept).not.toContain(token)
})
