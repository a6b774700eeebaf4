import { describe, expect, test } from 'vitest'
import { refusals, startGateway } from '../support/mcp-gateway.ts'
import { call, envelope, initialize, modernCall, modernHeaders, post } from '../support/mcp-wire.ts'
import { scriptedCalls, text } from '../support/scripted-calls.ts'

const calls = () => scriptedCalls({ echo: () => text('hello') })
const list = { jsonrpc: '2.0', id: 'l-1', method: 'tools/list' }

test('a request without a token gets a 401 that says how to get one and names no OAuth metadata', async () => {
  await using gateway = await startGateway(calls())
  for (const [token, headers] of [
    ['', {}],
    ['', { authorization: 'Basic YTpi' }],
    ['', { authorization: 'Bearer ' }],
  ] as const) {
    const answer = await post(gateway.url, initialize(), { token, headers })
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="toolcrib"')
    expect(answer.messages[0]?.error).toMatchObject({ code: -32001, data: { code: 'unauthenticated' } })
    expect(answer.messages[0]?.error?.message).toContain('/mcp-token')
  }
  expect(gateway.seen).toEqual([])
})

test('a rejected token gets a 403 with a JSON-RPC error that echoes the id of the request', async () => {
  await using gateway = await startGateway(calls())
  const discover = { jsonrpc: '2.0', id: 'd', method: 'server/discover', params: { _meta: envelope } }
  for (const token of ['bad-malformed', 'bad-unknown', 'bad-expired', 'bad-revoked', 'bad-deactivated']) {
    for (const [message, headers] of [
      [initialize('2025-06-18', 7), {}],
      [discover, modernHeaders('server/discover')],
      [list, {}],
    ] as const) {
      const answer = await post(gateway.url, message, { token, headers })
      expect(answer.status).toBe(403)
      expect(answer.headers.get('www-authenticate')).toBeNull()
      const [error] = answer.messages
      expect(error).toMatchObject({
        id: message.id,
        error: { code: -32001, data: { code: refusals[token] } },
      })
      expect(error?.error?.message).toContain('/mcp-token')
    }
  }
})

test('a token that ended answers tools/call with a result that the model can relay, in both generations', async () => {
  await using gateway = await startGateway(calls())
  for (const token of ['bad-expired', 'bad-revoked', 'bad-deactivated']) {
    const old = await post(gateway.url, call('echo', {}, 3), { token })
    expect(old.status).toBe(200)
    expect(old.messages[0]).toMatchObject({ id: 3, result: { isError: true } })
    expect(old.messages[0]?.result?.['resultType']).toBeUndefined()
    expect(old.body).toContain('/mcp-token')
    const now = await post(gateway.url, modernCall('echo'), {
      token,
      headers: modernHeaders('tools/call', 'echo'),
    })
    expect(now.messages[0]?.result).toMatchObject({ isError: true, resultType: 'complete' })
  }
  const forged = await post(gateway.url, call('echo', {}, 3), { token: 'bad-unknown' })
  expect(forged.status).toBe(403)
})

test('who calls is settled before the method, the body and the session', async () => {
  await using gateway = await startGateway(calls())
  for (const method of ['GET', 'DELETE', 'PUT', 'PATCH', 'OPTIONS']) {
    expect((await post(gateway.url, undefined, { method, token: '' })).status).toBe(401)
    expect((await post(gateway.url, undefined, { method, token: 'bad-expired' })).status).toBe(403)
  }
  expect((await post(gateway.url, '{not json', { token: '' })).status).toBe(401)
  const huge = 'x'.repeat(200_000)
  const answer = await post(gateway.url, call('echo', { huge }, 9), { token: 'bad-unknown' })
  expect([answer.status, answer.messages[0]?.id]).toEqual([403, null])
})

test('a database that is down gives 503 and a rate limit 429, both with Retry-After', async () => {
  await using gateway = await startGateway(calls())
  for (const [token, status, code] of [
    ['bad-database', 503, -32005],
    ['bad-crash', 503, -32005],
    ['bad-limited', 429, -32004],
  ] as const) {
    const answer = await post(gateway.url, call('echo'), { token })
    expect(answer.status).toBe(status)
    expect(answer.headers.get('retry-after')).toBe('5')
    expect(answer.messages[0]?.error?.code).toBe(code)
    expect(answer.body).not.toContain('10.1.2.3')
  }
})

test('the status for rejected tokens can be set', async () => {
  await using gateway = await startGateway(calls(), { rejectedTokenStatus: 401 })
  const answer = await post(gateway.url, initialize(), { token: 'bad-expired' })
  expect(answer.status).toBe(401)
  expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="toolcrib", error="invalid_token"')
})

test('a token opens its own endpoint only', async () => {
  const script = calls()
  await using gateway = await startGateway(script)
  const ops = `${gateway.url}/toolkits/ops`
  const open = [
    [gateway.url, 'alice'],
    [ops, 'aliceOps'],
  ] as const
  for (const [url, token] of open) expect((await post(url, call('echo'), { token })).status).toBe(200)
  expect(script.requests.map((request) => request.toolkit)).toEqual([null, 'ops'])
  const shut = [
    [gateway.url, 'aliceOps', '/mcp/toolkits/ops'],
    [ops, 'alice', '/mcp'],
    [`${gateway.url}/toolkits/other`, 'aliceOps', '/mcp/toolkits/ops'],
  ] as const
  for (const [url, token, opens] of shut) {
    const answer = await post(url, call('echo', {}, 5), { token })
    expect([answer.status, answer.messages[0]?.id]).toEqual([403, 5])
    expect(answer.messages[0]?.error?.message).toContain(`opens ${opens} `)
  }
  expect(script.requests.length).toBe(2)
})

test('a toolkit that was removed is an error of the list, never a 404', async () => {
  await using gateway = await startGateway(calls())
  const answer = await post(`${gateway.url}/toolkits/gone`, list, { token: 'aliceGone' })
  expect(answer.status).toBe(200)
  expect(answer.messages[0]?.error).toMatchObject({ code: -32602, data: { code: 'not_found' } })
})

test('the paths of OAuth answer a JSON 404 to everybody', async () => {
  await using gateway = await startGateway(calls())
  const origin = gateway.url.replace('/mcp', '')
  for (const path of [
    '/.well-known/oauth-protected-resource',
    '/.well-known/oauth-protected-resource/mcp',
    '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration',
    '/register',
  ]) {
    for (const [method, body] of [
      ['GET', undefined],
      ['POST', '{"client_name":"x"}'],
    ] as const) {
      const answer = await post(origin + path, body, { method, token: '' })
      expect(answer.status).toBe(404)
      expect(answer.headers.get('content-type')).toContain('application/json')
      expect(JSON.parse(answer.body)).toMatchObject({ error: 'not_found' })
    }
  }
  const form = await post(`${origin}/register`, 'a=b', {
    token: '',
    headers: { 'content-type': 'text/plain' },
  })
  expect(form.status).toBe(404)
})

describe('Host and Origin', () => {
  test('a foreign Origin is refused, loopback and none pass', async () => {
    await using gateway = await startGateway(calls())
    const from = async (origin: string) =>
      (await post(gateway.url, call('echo'), { headers: { origin } })).status
    expect(await from('https://evil.example')).toBe(403)
    expect(await from('null')).toBe(403)
    expect(await from('http://localhost:6274')).toBe(200)
    expect((await post(gateway.url, call('echo'))).status).toBe(200)
  })

  test('a page and a host can be allowed for a reverse proxy', async () => {
    await using gateway = await startGateway(calls(), {
      allowedOrigins: ['console.example'],
      allowedHosts: ['tools.example'],
    })
    const answer = await post(gateway.url, call('echo'), { headers: { origin: 'https://console.example' } })
    expect(answer.status).toBe(200)
    expect(await statusForHost(gateway.port, 'tools.example')).toBe(200)
    expect(await statusForHost(gateway.port, 'rebound.example')).toBe(403)
    await using behind = await startGateway(calls(), { allowedHosts: ['*'] })
    expect(await statusForHost(behind.port, 'anything.example:8443')).toBe(200)
  })
})

test('what is not a JSON-RPC message is refused as one', async () => {
  await using gateway = await startGateway(calls(), { bodyLimit: 2000 })
  const bad = async (body: string, headers = {}) => {
    const answer = await post(gateway.url, body, { headers })
    return [answer.status, answer.messages[0]?.error?.code]
  }
  expect(await bad('{"jsonrpc":')).toEqual([400, -32700])
  expect(await bad('')).toEqual([400, -32700])
  expect(await bad('{"a":1}')).toEqual([400, -32600])
  expect(await bad('x=1', { 'content-type': 'application/x-www-form-urlencoded' })).toEqual([415, -32000])
  expect(await bad(JSON.stringify(call('echo', { a: 'x'.repeat(3000) })))).toEqual([413, -32000])
  expect(await bad(JSON.stringify(call('echo')), { accept: 'application/json' })).toEqual([406, -32000])
  expect((await post(gateway.url, undefined, { method: 'GET' })).headers.get('allow')).toBe('POST, DELETE')
})

async function statusForHost(port: number, host: string): Promise<number | undefined> {
  const { request } = await import('node:http')
  const body = JSON.stringify(call('echo'))
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        port,
        host: '127.0.0.1',
        path: '/mcp',
        method: 'POST',
        headers: {
          host,
          authorization: 'Bearer alice',
          accept: 'application/json, text/event-stream',
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
        },
      },
      (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}
