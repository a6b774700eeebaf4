import type { Caller } from '../access/index.ts'
import type { Catalog, Source, Tool } from '../catalog/index.ts'
import { AppError, type ErrorCode } from '../core/index.ts'
import { type Decision, decide } from '../policy/index.ts'

/** Which tool a call means at one version of the catalog, and whether it may run. */
export interface Resolution {
  catalog: Catalog
  tool: Tool | undefined
  source: Source | undefined
  decision: Decision
}

export function resolve(
  catalog: Catalog,
  request: { caller: Pick<Caller, 'toolkit'>; toolkit: string | null; alias: string },
): Resolution {
  const tool = catalog.tools.get(request.alias)
  const source = tool === undefined ? undefined : catalog.sources.get(tool.sourceId)
  const toolkit = request.toolkit === null ? null : catalog.toolkits.get(request.toolkit)
  const decision = decide({ tool, source, toolkit, rules: catalog.rules, caller: request.caller })
  return { catalog, tool, source, decision }
}

const codes: Record<string, ErrorCode> = {
  unknown: 'tool_unknown',
  unreviewed: 'tool_unreviewed',
  changed: 'tool_unreviewed',
  'toolkit-unknown': 'not_found',
  'token-toolkit': 'forbidden',
}

/** Throws the refusal of a decision that is not `allow`; the message says why and who can change it. */
export function demandAllowed(alias: string, decision: Decision): void {
  if (decision.effect === 'allow') return
  if (decision.effect === 'ask')
    // Asking a human is `approvals/`, which parks the call here and consumes the approval before it is sent.
    throw new AppError(
      'tool_blocked',
      `"${alias}" needs a person's approval for every call, and approvals are not available yet; ask an admin to allow or replace it.`,
      { details: { rule: decision.rule } },
    )
  throw new AppError(
    codes[decision.rule] ?? 'tool_blocked',
    `"${alias}" may not be called: ${decision.reason}. Ask an admin if you need it.`,
    { details: { rule: decision.rule } },
  )
}
