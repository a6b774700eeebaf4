import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { conformanceDefinitions, conformanceTools } from '../support/conformance-tools.ts'
import { startGateway } from '../support/mcp-gateway.ts'
import { runTool } from '../support/run-tool.ts'
import { scriptedCalls, text } from '../support/scripted-calls.ts'
import { startPassThrough } from '../support/token-pass-through.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'toolcrib-conformance-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

// The second number is how many checks passed when the baseline was written: fewer is a regression, too.
for (const [revision, atLeast] of [
  ['2025-11-25', 57],
  ['2026-07-28', 124],
] as const) {
  test(`the official conformance suite finds nothing wrong at ${revision} but what the baseline explains`, async () => {
    const calls = scriptedCalls(conformanceTools, conformanceDefinitions)
    await using gateway = await startGateway(calls)
    calls.set('test_trigger_tool_change', () => {
      for (const handle of gateway.network.handlers) handle({ kind: 'catalog' })
      return text('changed')
    })
    await using door = await startPassThrough(gateway.port, 'alice')
    const baseline = new URL(`conformance-${revision}.yml`, import.meta.url).pathname
    const run = await runTool('conformance', [
      'server',
      '--url',
      door.url,
      '--requirements',
      revision,
      '--expected-failures',
      baseline,
      '-o',
      folder,
    ])
    const summary = run.stdout.slice(run.stdout.indexOf('=== SUMMARY')) + run.stderr
    expect([run.code, summary]).toEqual([0, expect.any(String)])
    const passed = Number(/Total: (\d+) passed/.exec(run.stdout)?.[1])
    expect(passed).toBeGreaterThanOrEqual(atLeast)
    // The suite cannot send a token; had it got in without one, this would be nothing.
    expect(calls.requests.length).toBeGreaterThan(5)
  }, 120_000)
}
