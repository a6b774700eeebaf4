import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { parse } from 'yaml'

test('the manifest asks for what the app listens to, and for no scope more', async () => {
  const root = new URL('../../', import.meta.url)
  const manifest = parse(await readFile(new URL('slack-manifest.yaml', root), 'utf8')) as {
    oauth_config: { scopes: { bot: string[] } }
    settings: { event_subscriptions: { bot_events: string[] } }
    features: { slash_commands: { command: string }[] }
  }
  const listeners = await readFile(new URL('src/slack/listeners.ts', root), 'utf8')
  const heard = [...listeners.matchAll(/app\.event\('(\w+)'/g)].map(([, name]) =>
    name === 'message' ? 'message.im' : name,
  )
  heard.push('tokens_revoked', 'app_uninstalled')
  expect(manifest.settings.event_subscriptions.bot_events).toEqual(
    heard.toSorted((a = '', b = '') => a.localeCompare(b)),
  )
  expect(manifest.features.slash_commands.map(({ command }) => command)).toEqual(['/mcp-token'])
  expect(manifest.oauth_config.scopes.bot).toEqual([
    'app_mentions:read',
    'chat:write',
    'commands',
    'im:history',
    'im:write',
    'users:read',
  ])
})
