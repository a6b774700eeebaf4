import type { Reporter, TestModule, TestProject } from 'vitest/node'
import type { Lack, Lacking, Need } from './machine.ts'

/** A test that was left out: where it is, and what it lacked. */
export interface LeftOut {
  file: string
  lacks: Need[]
}

/** Ends a run with what this machine could not show, why, and the command that shows it. */
export class LeftOutReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const project: TestProject | undefined = modules[0]?.project
    const tests = modules.flatMap((module) =>
      [...module.children.allTests('skipped')].flatMap((test) => {
        const { lacks } = test.meta()
        return lacks === undefined ? [] : [{ file: module.relativeModuleId, lacks }]
      }),
    )
    const text = summary(tests, project?.getProvidedContext().lacking ?? {})
    if (text !== '') process.stdout.write(`${text}\n`)
  }
}

/** One group for each set of lacking things; nothing when nothing was left out. */
export function summary(tests: LeftOut[], lacking: Lacking): string {
  const groups = Map.groupBy(tests, ({ lacks }) => lacks.join(', '))
  if (groups.size === 0) return ''
  const parts = [...groups.values()].map((group) => describeGroup(group, lacking))
  return [
    `Left out here: ${count(tests.length)}. With what they need, these commands run them:`,
    ...parts,
  ].join('\n')
}

function describeGroup(group: LeftOut[], lacking: Lacking): string {
  const needs = group[0]?.lacks ?? []
  const lacks = needs.flatMap((need): readonly Lack[] => {
    const lack = lacking[need]
    return lack === undefined ? [] : [lack]
  })
  const environment = lacks.flatMap((lack) => (lack.environment === undefined ? [] : `${lack.environment} `))
  const files = [...new Set(group.map(({ file }) => file))].toSorted()
  return [
    `\n  ${count(group.length)} for want of ${needs.join(' and ')}`,
    ...new Set(lacks.map(({ why, cure }) => `    ${why} ${cure}`.trimEnd())),
    `    ${environment.join('')}npx vitest run ${files.join(' ')}`,
  ].join('\n')
}

function count(tests: number): string {
  return tests === 1 ? '1 test' : `${tests} tests`
}
