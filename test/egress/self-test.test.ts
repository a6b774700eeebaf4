import { expect, test } from 'vitest'
import { createLog } from '../../src/core/index.ts'
import { assemble } from '../../src/egress/assemble.ts'
import { selfTest } from '../../src/egress/index.ts'
import { LiveForms } from '../../src/egress/secrets/live-forms.ts'
import { compileSecrets } from '../../src/egress/secrets/scrub.ts'
import { UpstreamError } from '../../src/egress/upstream/error.ts'

type Parts = Parameters<typeof assemble>[0]

/** The self-test of a proxy one of whose parts is another; what was logged. */
async function tryWith(change: (parts: Parts) => Partial<Parts>): Promise<string[]> {
  const lines: string[] = []
  const log = createLog({ level: 'debug', name: 'test' }, { write: (line) => void lines.push(line) })
  await selfTest(log, (parts) => assemble({ ...parts, ...change(parts) }))
  return lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
}

/** The credentials of a self-test, with something of theirs changed. */
function otherArms({ credentials }: Parts, change: object): Partial<Parts> {
  return {
    credentials: {
      ...credentials,
      async arm(...asked) {
        const armed = await credentials.arm(...asked)
        return armed.ok ? { ...armed, arms: { ...armed.arms, ...change } } : armed
      },
    },
  }
}

test('a proxy that does its work passes its self-test, and leaves nothing behind', async () => {
  const before = process.getActiveResourcesInfo().toSorted()
  expect(await tryWith(() => ({}))).toEqual(['self-test passed'])
  await expect.poll(() => process.getActiveResourcesInfo().toSorted()).toEqual(before)
})

test.each<[string, (parts: Parts) => Partial<Parts>]>([
  ['add a credential', (parts) => otherArms(parts, { bound: [] })],
  [
    'mask a credential that comes back',
    (parts) => otherArms(parts, { forms: new LiveForms(() => compileSecrets([])) }),
  ],
  [
    'refuse what no rule names',
    ({ rulesAt }) => ({
      async rulesAt(version) {
        const book = await rulesAt(version)
        // A source in warn mode may go anywhere.
        return { ...book, warnUntil: new Map([['self-test', Number.POSITIVE_INFINITY]]) }
      },
    }),
  ],
  ['record what it does', ({ recorder }) => ({ recorder: { ...recorder, denied: () => undefined } })],
])('a proxy that does not %s fails its self-test', async (what, change) => {
  await expect(tryWith(change)).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringContaining(`did not ${what} `) as string,
  })
})

test('where the self-test cannot be done, that is logged and nothing else', async () => {
  const connect = () => Promise.reject(new UpstreamError('upstream_unreachable', new Error('no loopback')))
  expect(await tryWith(() => ({ connect }))).toEqual(['the self-test could not be done'])
})
