import type { Caller } from '../access/index.ts'
import type { Isolation, RunnerView } from '../runners/index.ts'

export const whoami = 'whoami'

const text = { type: 'string' }
const maybeText = { type: ['string', 'null'] }

/** Our own tool: needs no sandbox, so that it also answers when nothing else does. */
export const whoamiDefinition: Record<string, unknown> = {
  name: whoami,
  title: 'Who am I',
  description:
    'Tells whose tools these are: the person, when the token expires, the toolkit, how many tools there are, and the state of the sandbox that they run in.',
  inputSchema: { type: 'object', properties: {}, additionalProperties: false },
  outputSchema: {
    type: 'object',
    properties: {
      principal: text,
      principalId: text,
      tokenId: text,
      expiresAt: text,
      toolkit: maybeText,
      tools: { type: 'integer' },
      runner: { type: 'object', properties: { state: text, message: maybeText } },
      isolation: maybeText,
    },
    required: ['principal', 'principalId', 'tokenId', 'expiresAt', 'toolkit', 'tools', 'runner', 'isolation'],
  },
  annotations: { readOnlyHint: true, idempotentHint: true, openWorldHint: false },
}

/** The answer, as text for people and models and structured for programs. */
export function whoamiResult(facts: {
  caller: Caller
  toolkit: string | null
  tools: number
  runner: RunnerView | undefined
  /** Known before a sandbox runs where the whole deployment has one kind. */
  isolation: Isolation | undefined
}): Record<string, unknown> {
  const { caller, toolkit, tools, runner } = facts
  const isolation = runner?.isolation ?? facts.isolation ?? null
  const state = runner?.state ?? 'stopped'
  const message = runner?.message ?? (runner === undefined ? 'it starts with the first call' : null)
  const lines = [
    `You are ${caller.principalName}.`,
    `Token ${caller.tokenId}, valid until ${caller.expiresAt.toISOString()}.`,
    toolkit === null ? 'No toolkit: all your tools.' : `Toolkit: ${toolkit}.`,
    `Tools: ${tools}.`,
    `Sandbox: ${state}${message === null ? '' : ` (${message})`}.`,
    isolation === 'none'
      ? 'WARNING: isolation is none. Tools run without a sandbox on this machine.'
      : `Isolation: ${isolation ?? 'known once the sandbox runs'}.`,
  ]
  return {
    content: [{ type: 'text', text: lines.join('\n') }],
    structuredContent: {
      principal: caller.principalName,
      principalId: caller.principalId,
      tokenId: caller.tokenId,
      expiresAt: caller.expiresAt.toISOString(),
      toolkit,
      tools,
      runner: { state, message },
      isolation,
    },
  }
}
