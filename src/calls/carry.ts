import { AppError, nearest } from '../core/index.ts'
import { measureArguments } from './arguments.ts'
import type { CallDeps } from './deps.ts'
import { type Ending, refused } from './ending.ts'
import { type Execution, execute, undecided } from './execute.ts'
import { type CallFacts, endOf, openFacts } from './facts.ts'
import { visibleTools } from './list.ts'
import { demandAllowed, resolve } from './resolve.ts'
import type { CallHooks, CallRequest, CallResult } from './types.ts'
import { whoami, whoamiResult } from './whoami.ts'

/** See `Calls.call`. Whatever happens in between, exactly one ending is recorded. */
export async function carryCall(deps: CallDeps, request: CallRequest, hooks: CallHooks): Promise<CallResult> {
  const { recalled, ...proven } = request
  if (recalled !== undefined) {
    const result = await carry(deps, request, hooks)
    if (result !== undefined) return result
    proven.caller = await recalled.confirm()
  }
  const result = await carry(deps, proven, hooks)
  if (result === undefined) throw new Error('a proven call has a result')
  return result
}

/** Undefined for a recalled caller whose call did not begin: then nothing has been done, told or recorded. */
async function carry(
  deps: CallDeps,
  request: CallRequest,
  hooks: CallHooks,
): Promise<CallResult | undefined> {
  const facts = openFacts(request, deps.replicaId, deps.clock.now())
  const callId = facts.call.id
  let unknownTool: AppError | undefined
  const { answer, late } = await run(deps, request, hooks, facts).catch((error: unknown): Execution => {
    const known = undecided(error)
    if (known.code === 'tool_unknown') unknownTool = known
    if (known.code === 'unavailable') deps.log.warn({ callId, err: known.cause ?? known }, 'call not decided')
    return ended(refused(callId, known))
  })
  if (request.recalled !== undefined && facts.row === 'none') return undefined

  const record = async (ending: Ending) =>
    await deps.recorder.finish(facts.call, facts.row, endOf(facts, ending, deps.clock.now()))
  // Answered before its sandbox was done: the truth is recorded when it is known.
  if (late !== undefined) deps.background(late.then(record))
  // The row stands. A replica that dies before the outcome is written leaves it to the reaper, as `unknown`.
  else if (facts.row === 'written') deps.background(record(answer))
  else await record(answer)
  if (unknownTool !== undefined)
    throw new AppError('tool_unknown', `${unknownTool.message} (call ${callId})`, { details: { callId } })
  return { callId, result: answer.result }
}

async function run(
  deps: CallDeps,
  request: CallRequest,
  hooks: CallHooks,
  facts: CallFacts,
): Promise<Execution> {
  const measured = measureArguments(request.arguments)
  facts.call.argumentsDigest = measured.digest
  if (request.recalled !== undefined && !mayBeginAtOnce(deps, request))
    throw new AppError('call_cancelled', 'This call waits for its caller to be proven.')
  const catalog = await deps.catalog.current(request.caller.catalogVersion)
  const decided = resolve(catalog, request)
  if (request.alias === whoami) return ended(await answerWhoami(deps, request, facts, catalog))

  const { tool, decision } = decided
  facts.decision = decision.effect
  facts.call.rule = decision.rule
  if (tool === undefined) throw noSuchTool(request, visibleTools(catalog, request))
  facts.call.sourceId = tool.sourceId
  facts.call.tool = tool.remoteName
  facts.call.definitionDigest = tool.definitionDigest
  demandAllowed(request.alias, decision)
  if (measured.problem !== undefined) throw measured.problem
  deps.demandValid(tool, request.arguments)
  return await execute(deps, request, hooks, facts, decided)
}

/** Nothing is told, and nobody's sandbox woken, for somebody who may not call any more. */
function mayBeginAtOnce({ runners }: CallDeps, { alias, caller }: CallRequest): boolean {
  return alias !== whoami && runners.awake(caller.principalId)
}

/** `whoami` is allowed to everybody who got this far, at the endpoint that the token opens. */
async function answerWhoami(
  deps: CallDeps,
  request: CallRequest,
  facts: CallFacts,
  catalog: Parameters<typeof visibleTools>[0],
): Promise<Ending> {
  const tools = visibleTools(catalog, request)
  facts.decision = 'allow'
  facts.call.rule = 'built-in'
  const runner = await deps.runners.find(request.caller.principalId)
  const { caller, toolkit } = request
  const result = whoamiResult({ caller, toolkit, tools: tools.length, runner, isolation: deps.isolation })
  return { outcome: 'ok', code: null, result }
}

function noSuchTool(request: CallRequest, visible: { alias: string }[]): AppError {
  const near = nearest(
    request.alias,
    visible.map((tool) => tool.alias),
  )
  const cure =
    near.length === 0 ? 'List the tools to see what there is.' : `Did you mean ${near.join(' or ')}?`
  const shown = request.alias
    .slice(0, 64)
    .toWellFormed()
    .replace(/\p{Cc}/gu, '?')
  return new AppError('tool_unknown', `There is no tool "${shown}". ${cure}`)
}

function ended(ending: Ending): Execution {
  return { answer: ending }
}
