import type { Person } from './deployment.ts'
import { type Message, modernCall, modernHeaders, post } from './mcp-wire.ts'

/** What a client saw of one call. `lost`: no whole answer came. */
export type Seen =
  | { kind: 'ok'; callId: string; text: string }
  | { kind: 'error'; callId: string; code: string; text: string }
  | { kind: 'refused'; status: number; text: string }
  | { kind: 'lost'; text: string }

/** One `tools/call` in the 2026 manner, without a session. */
export async function callTool(
  mcp: string,
  person: Pick<Person, 'token'>,
  tool: string,
  args: Record<string, unknown>,
  signal: AbortSignal = AbortSignal.timeout(120_000),
): Promise<Seen> {
  const headers = modernHeaders('tools/call', tool)
  try {
    const answer = await post(mcp, modernCall(tool, args), { token: person.token, headers, signal })
    const last = answer.messages.findLast((message) => message.id === 1)
    if (last?.result === undefined) {
      if (answer.status === 200 && last === undefined) return { kind: 'lost', text: answer.body }
      return { kind: 'refused', status: answer.status, text: last?.error?.message ?? answer.body }
    }
    return seen(last)
  } catch (error) {
    return { kind: 'lost', text: String(error) }
  }
}

function seen({ result }: Message): Seen {
  const content = (result?.['content'] ?? []) as { type: string; text?: string }[]
  const meta = (result?.['_meta'] ?? {}) as Record<string, unknown>
  const text = content.map((block) => block.text ?? '').join('\n')
  const callId = typeof meta['toolcrib/callId'] === 'string' ? meta['toolcrib/callId'] : ''
  const code = typeof meta['toolcrib/code'] === 'string' ? meta['toolcrib/code'] : 'tool'
  return result?.['isError'] === true ? { kind: 'error', callId, code, text } : { kind: 'ok', callId, text }
}
