import { matches } from './pattern.ts'
import type { Decision, Effect, LayerVerdict, PolicyTool, Question } from './types.ts'

const strictness: Record<Effect, number> = { allow: 0, ask: 1, block: 2 }

/**
 * Whether this call may run: the strictest layer wins, and among equally strict ones the first in the order tool,
 * token, toolkit, organisation. Pure; total: whatever is not known to be allowed is blocked.
 */
export function decide(question: Question): Decision {
  const layers = layersOf(question)
  const worst = strictest(layers)
  const { effect, rule, reason } = worst.effect === 'allow' ? mostTelling(layers) : worst
  return { effect, rule, reason }
}

/** Of layers that all allow, the one that somebody wrote down: what a record of the call should name. */
function mostTelling(layers: [LayerVerdict, ...LayerVerdict[]]): LayerVerdict {
  const written = (layer: LayerVerdict) => layer.rule.includes(':')
  return layers.findLast(written) ?? layers[0]
}

/** The decision together with what every layer said for itself, for "why may I not call this?". */
export function explain(question: Question): { decision: Decision; layers: LayerVerdict[] } {
  return { decision: decide(question), layers: layersOf(question) }
}

function strictest<Verdict extends Decision>(verdicts: [Verdict, ...Verdict[]]): Verdict {
  return verdicts.reduce((worst, next) => (strictness[next.effect] > strictness[worst.effect] ? next : worst))
}

function layersOf(question: Question): [LayerVerdict, ...LayerVerdict[]] {
  const { tool, source } = question
  const found = judgeTool(tool, source)
  if (tool === undefined || source === undefined) return [found]
  return [found, judgeToken(question), judgeToolkit(question, tool), judgeOrganisation(question, tool)]
}

/** Facts that make a tool uncallable whatever anybody configured. */
function judgeTool(tool: PolicyTool | undefined, source: Question['source']): LayerVerdict {
  const block = (rule: string, reason: string): LayerVerdict => ({
    layer: 'tool',
    effect: 'block',
    rule,
    reason,
  })
  if (tool === undefined || source === undefined || source.id !== tool.sourceId)
    return block('unknown', 'there is no such tool')
  if (!source.enabled)
    return block('source-disabled', `the source "${source.id}" is not in the configuration any more`)
  if (!tool.available) return block('missing', `the source "${source.id}" does not offer this tool any more`)
  if (!tool.enabled) return block('disabled', 'an admin disabled this tool')
  if (tool.acceptedDigest === null)
    return block('unreviewed', 'this tool is new and nobody has accepted its definition yet')
  if (tool.acceptedDigest !== tool.definitionDigest)
    return block('changed', 'this tool, or where it may send data, changed, and nobody has accepted that yet')
  return { layer: 'tool', effect: 'allow', rule: 'accepted', reason: 'its definition was accepted' }
}

/** A token bound to one toolkit opens no other door. */
function judgeToken({ caller, toolkit }: Question): LayerVerdict {
  if (caller.toolkit === null || caller.toolkit === toolkit?.slug)
    return { layer: 'token', effect: 'allow', rule: 'token', reason: 'the token opens this endpoint' }
  return {
    layer: 'token',
    effect: 'block',
    rule: 'token-toolkit',
    reason: `this token opens only the toolkit "${caller.toolkit}"`,
  }
}

/** A toolkit is default-deny and only narrows. */
function judgeToolkit({ toolkit }: Question, tool: PolicyTool): LayerVerdict {
  const verdict = (effect: Effect, rule: string, reason: string): LayerVerdict => ({
    layer: 'toolkit',
    effect,
    rule,
    reason,
  })
  if (toolkit === undefined) return verdict('block', 'toolkit-unknown', 'there is no such toolkit')
  if (toolkit === null) return verdict('allow', 'no-toolkit', 'no toolkit narrows this endpoint')
  const pattern = toolkit.tools.find((candidate) => matches(candidate, tool))
  if (pattern === undefined)
    return verdict('block', `toolkit ${toolkit.slug}`, `the toolkit "${toolkit.slug}" does not include it`)
  return verdict('allow', `toolkit ${toolkit.slug}: ${pattern}`, `the toolkit "${toolkit.slug}" includes it`)
}

/**
 * Every rule that matches counts and the strictest wins, whatever the order: so adding one can only take away.
 * Without a rule an accepted tool is allowed: accepting its definition was the organisation's permission.
 */
function judgeOrganisation({ rules }: Question, tool: PolicyTool): LayerVerdict {
  const matching = rules.flatMap((rule, index): LayerVerdict[] =>
    matches(rule.tools, tool)
      ? [
          {
            layer: 'organisation',
            effect: rule.do,
            rule: `rule ${index + 1}: ${rule.do} ${rule.tools}`,
            reason: rule.reason ?? `a rule of your organisation says ${rule.do} for "${rule.tools}"`,
          },
        ]
      : [],
  )
  const [first, ...others] = matching
  if (first === undefined)
    return { layer: 'organisation', effect: 'allow', rule: 'default', reason: 'no rule speaks against it' }
  return strictest([first, ...others])
}
