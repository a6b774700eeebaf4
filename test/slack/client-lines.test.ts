import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { clientLines, connectionName, endpointUrl } from '../../src/slack/index.ts'

const connection = { name: 'toolcrib', url: 'https://tools.example.com/mcp', token: 'tcb_abc_SECRET' }
const lineOf = (client: string, of = connection) => {
  const line = clientLines(of).find((candidate) => candidate.client === client)
  if (line === undefined) throw new Error(`no line for ${client}`)
  return line
}

test('each shell line is the form its client documents', () => {
  expect(lineOf('Claude Code').text).toBe(
    'claude mcp add --transport http --scope user toolcrib https://tools.example.com/mcp --header "Authorization: Bearer tcb_abc_SECRET"',
  )
  expect(lineOf('Amp').text).toBe(
    'amp mcp add toolcrib --header "Authorization=Bearer tcb_abc_SECRET" https://tools.example.com/mcp',
  )
  expect(lineOf('Codex').text).toBe(
    'export TOOLCRIB_TOKEN=tcb_abc_SECRET\ncodex mcp add toolcrib --url https://tools.example.com/mcp --bearer-token-env-var TOOLCRIB_TOKEN',
  )
  expect(lineOf('Gemini CLI').text).toBe(
    'gemini mcp add --scope user --transport http --header "Authorization: Bearer tcb_abc_SECRET" toolcrib https://tools.example.com/mcp',
  )
})

test('the files of VS Code and Cursor are JSON of the documented shape, and VS Code’s holds no token', () => {
  expect(JSON.parse(lineOf('VS Code').text)).toEqual({
    inputs: [{ type: 'promptString', id: 'toolcrib-token', description: 'toolcrib token', password: true }],
    servers: {
      toolcrib: {
        type: 'http',
        url: connection.url,
        headers: { Authorization: 'Bearer ${input:toolcrib-token}' },
      },
    },
  })
  expect(JSON.parse(lineOf('Cursor').text)).toEqual({
    mcpServers: { toolcrib: { url: connection.url, headers: { Authorization: 'Bearer tcb_abc_SECRET' } } },
  })
})

test('a shell passes the address on as it is, whatever is in it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.webUrl({ withQueryParameters: true }), async (url) => {
      const { text } = lineOf('Claude Code', { ...connection, url })
      const { stdout } = await promisify(execFile)('sh', ['-c', text.replace(/^claude /, `printf '%s\\n' `)])
      expect(stdout.split('\n')).toContain(url)
    }),
    { numRuns: 30 },
  )
})

test('a connection’s name leaves forty characters for a tool, whatever the toolkit is called', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z][a-z0-9-]{0,38}[a-z0-9]$/), (toolkit) => {
      const name = connectionName('toolcrib', toolkit)
      expect(`mcp__${name}__`.length + 40).toBeLessThanOrEqual(64)
      expect(name).toMatch(/^[a-z][a-z0-9-]*[a-z0-9]$|^[a-z]$/)
    }),
  )
  expect(connectionName('toolcrib', 'orders')).toBe('toolcrib-orders')
  expect(endpointUrl('https://h.example/', 'orders')).toBe('https://h.example/mcp/toolkits/orders')
})
