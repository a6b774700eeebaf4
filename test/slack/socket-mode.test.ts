import { expect, test } from 'vitest'
import { Secret } from '../../src/core/index.ts'
import { home } from '../support/access.ts'
import { publicUrl, signingSecret, startSlackHouse, tokenIn } from '../support/slack.ts'
import { startSocketMode } from '../support/socket-mode.ts'

test('over Socket Mode a delivery is acknowledged when its work is written down, and not before', async () => {
  await using house = await startSlackHouse()
  await house.app[Symbol.asyncDispose]()
  await using socket = await startSocketMode(house.slack.apiUrl)
  await using _replica = await house.replica({
    options: {
      botToken: new Secret('xoxb-emulated-toolcrib'),
      signingSecret: new Secret(signingSecret),
      appToken: new Secret('xapp-emulated'),
      apiUrl: socket.apiUrl,
      publicUrl,
      serverName: 'toolcrib',
    },
  })
  await socket.connected
  const { alice } = house.slack.people
  const event = {
    type: 'event_callback',
    team_id: house.slack.teamId,
    api_app_id: house.slack.appId,
    event_id: 'Ev0SOCKET',
    event_time: 1,
    event: {
      type: 'message',
      channel_type: 'im',
      channel: 'D1',
      user: alice.id,
      text: 'mcp-token',
      ts: '1.1',
    },
  }
  await house.store.pool.query('ALTER TABLE slack_jobs RENAME TO slack_jobs_away')
  expect(await socket.deliver('events_api', event, 1_500)).toBeUndefined()
  await house.store.pool.query('ALTER TABLE slack_jobs_away RENAME TO slack_jobs')

  expect(await socket.deliver('events_api', event)).toBeDefined()
  expect(await socket.deliver('events_api', event)).toBeDefined()
  const messages = await house.answers(alice.id, 1)
  expect(messages).toHaveLength(1)
  await expect(house.access.verify(tokenIn(messages), home)).resolves.toMatchObject({
    principalName: 'Alice',
  })

  const said = await socket.deliver('slash_commands', {
    command: '/mcp-token',
    text: 'help',
    user_id: alice.id,
    team_id: house.slack.teamId,
    channel_id: house.slack.generalChannel,
    trigger_id: '1.2.3',
    api_app_id: house.slack.appId,
  })
  expect(said).toMatchObject({ response_type: 'ephemeral', text: expect.stringContaining('/mcp-token') })
})
