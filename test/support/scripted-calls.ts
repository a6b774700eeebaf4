import type { CallHooks, CallRequest, Calls, VisibleTool } from '../../src/calls/index.ts'
import { AppError, newId } from '../../src/core/index.ts'

/*
 * The rooms below the endpoint, as a script. Where it lies: there is no policy, no database and no sandbox; a
 * tool is a function of this file, `list` knows every toolkit but `gone`, and nothing is recorded.
 */

export type ScriptedTool = (
  args: Record<string, unknown>,
  hooks: CallHooks,
  request: CallRequest,
) => Record<string, unknown> | Promise<Record<string, unknown>>

export interface ScriptedCalls extends Calls {
  /** Every request that arrived, in order. */
  readonly requests: CallRequest[]
  /** Aliases of calls whose signal aborted while they ran, in order. */
  readonly aborted: string[]
  /** Replaces or adds a tool. */
  set(alias: string, tool: ScriptedTool, definition?: Record<string, unknown>): void
}

export const text = (value: string) => ({ content: [{ type: 'text', text: value }] })

/** A `Calls` that runs `tools`, each defined with an open schema unless `definitions` says otherwise. */
export function scriptedCalls(
  tools: Record<string, ScriptedTool>,
  definitions: Record<string, Record<string, unknown>> = {},
): ScriptedCalls {
  const scripts = new Map(Object.entries(tools))
  const described = new Map(Object.entries(definitions))
  const requests: CallRequest[] = []
  const aborted: string[] = []
  return {
    requests,
    aborted,
    set(alias, tool, definition) {
      scripts.set(alias, tool)
      if (definition !== undefined) described.set(alias, definition)
    },
    list(_caller, toolkit) {
      if (toolkit === 'gone')
        return Promise.reject(new AppError('not_found', 'the toolkit "gone" does not exist any more'))
      const visible: VisibleTool[] = [...scripts.keys()].sort().map((alias) => ({
        alias,
        definition: described.get(alias) ?? {
          name: `remote.${alias}`,
          description: `does ${alias}`,
          inputSchema: { type: 'object' },
        },
      }))
      return Promise.resolve(visible)
    },
    async call(request, hooks) {
      requests.push(request)
      const script = scripts.get(request.alias)
      if (script === undefined)
        throw new AppError('tool_unknown', `There is no tool "${request.alias}" here; tools/list names them.`)
      const onAbort = () => aborted.push(request.alias)
      hooks.signal.addEventListener('abort', onAbort, { once: true })
      try {
        return { callId: newId('call'), result: await script(request.arguments, hooks, request) }
      } finally {
        hooks.signal.removeEventListener('abort', onAbort)
      }
    },
  }
}

/** Resolves after `ms`, or at once when the call is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    const end = () => {
      clearTimeout(timer)
      resolve()
    }
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
  })
}
