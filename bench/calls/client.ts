import { Agent, type IncomingMessage, request } from 'node:http'

/** A small MCP client over Streamable HTTP (2025-06-18), the same for every contestant, checking every answer. */
export interface BenchClient {
  open(): Promise<void>
  /** Calls `echo` and throws unless exactly the text comes back. */
  echo(text: string): Promise<void>
  close(): void
}

export interface Target {
  url: string
  tool: string
  headers: Record<string, string>
}

export function createClient(target: Target): BenchClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const url = new URL(target.url)
  const common = {
    ...target.headers,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  }
  let session: Record<string, string> = {}
  let nextId = 1

  const post = async (
    message: object,
  ): Promise<{ status: number; headers: IncomingMessage['headers']; text: string }> =>
    await new Promise((resolve, reject) => {
      const body = JSON.stringify(message)
      const sent = request(
        url,
        {
          method: 'POST',
          agent,
          headers: { ...common, ...session, 'content-length': Buffer.byteLength(body) },
        },
        (answer) => {
          let text = ''
          answer.setEncoding('utf8')
          answer.on('data', (chunk: string) => {
            text += chunk
          })
          answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }))
          answer.on('error', reject)
        },
      )
      sent.on('error', reject)
      sent.setTimeout(90_000, () => sent.destroy(new Error('no answer in 90 s')))
      sent.end(body)
    })

  return {
    async open() {
      session = {}
      const answer = await post({
        jsonrpc: '2.0',
        id: nextId++,
        method: 'initialize',
        params: {
          protocolVersion: '2025-06-18',
          capabilities: {},
          clientInfo: { name: 'bench', version: '1' },
        },
      })
      if (answer.status !== 200)
        throw new Error(`initialize answered ${answer.status}: ${answer.text.slice(0, 200)}`)
      const id = answer.headers['mcp-session-id']
      session = {
        'mcp-protocol-version': '2025-06-18',
        ...(typeof id === 'string' ? { 'mcp-session-id': id } : {}),
      }
      await post({ jsonrpc: '2.0', method: 'notifications/initialized' })
    },
    async echo(text) {
      const id = nextId++
      const answer = await post({
        jsonrpc: '2.0',
        id,
        method: 'tools/call',
        params: { name: target.tool, arguments: { text } },
      })
      const message = readMessage(answer.text, id)
      if (message?.result?.content?.[0]?.text !== text || message.result.isError === true) {
        throw new Error(`wrong answer (${answer.status}): ${answer.text.slice(0, 300)}`)
      }
    },
    close: () => agent.destroy(),
  }
}

interface Message {
  id?: number
  result?: { content?: { text?: string }[]; isError?: boolean }
}

/** The response with this id, from a JSON body or from an event stream. */
function readMessage(text: string, id: number): Message | undefined {
  if (text.startsWith('{')) return JSON.parse(text) as Message
  for (const line of text.split('\n')) {
    if (!line.startsWith('data:') || line.length < 8) continue
    const message = JSON.parse(line.slice(5)) as Message
    if (message.id === id) return message
  }
  return undefined
}
