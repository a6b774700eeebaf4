/** A JSON-RPC message, or what a server made of one. */
export interface Message {
  id?: string | number | null
  method?: string
  params?: Record<string, unknown>
  result?: Record<string, unknown>
  error?: { code: number; message: string; data?: Record<string, unknown> }
}

export interface Answer {
  status: number
  headers: Headers
  messages: Message[]
  /** The answer as it came. */
  body: string
}

export const modernHeaders = (method: string, name?: string) => ({
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': method,
  ...(name === undefined ? {} : { 'mcp-name': name }),
})

export const envelope = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
  'io.modelcontextprotocol/clientInfo': { name: 'wire', version: '1' },
}

/** Posts `body` as a client would and reads the whole answer, JSON or event stream. */
export async function post(
  url: string,
  body: unknown,
  init: { token?: string; headers?: Record<string, string>; method?: string; signal?: AbortSignal } = {},
): Promise<Answer> {
  const response = await send(url, body, init)
  const raw = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    messages: messagesIn(response, raw),
    body: raw,
  }
}

/** The same without reading the answer. */
export function send(
  url: string,
  body: unknown,
  init: { token?: string; headers?: Record<string, string>; method?: string; signal?: AbortSignal } = {},
): Promise<Response> {
  const { token = 'alice', headers = {}, method = 'POST', signal } = init
  return fetch(url, {
    method,
    headers: {
      accept: 'application/json, text/event-stream',
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  })
}

function messagesIn(response: Response, raw: string): Message[] {
  const type = response.headers.get('content-type') ?? ''
  if (type.startsWith('text/event-stream'))
    return raw
      .split('\n')
      .filter((line) => line.startsWith('data: '))
      .map((line) => JSON.parse(line.slice(6)) as Message)
  return type.startsWith('application/json') && raw !== '' ? [JSON.parse(raw) as Message] : []
}

export const call = (
  name: string,
  args?: unknown,
  id: string | number = 1,
  progressToken?: string | number,
) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: {
    name,
    ...(args === undefined ? {} : { arguments: args }),
    ...(progressToken === undefined ? {} : { _meta: { progressToken } }),
  },
})

export const modernCall = (
  name: string,
  args?: unknown,
  id: string | number = 1,
  progressToken?: string | number,
) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: {
    name,
    ...(args === undefined ? {} : { arguments: args }),
    _meta: { ...envelope, ...(progressToken === undefined ? {} : { progressToken }) },
  },
})

export const initialize = (version = '2025-11-25', id: string | number = 0) => ({
  jsonrpc: '2.0',
  id,
  method: 'initialize',
  params: { protocolVersion: version, capabilities: {}, clientInfo: { name: 'wire', version: '1.2' } },
})
