import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { compileSecrets } from '../../src/egress/secrets/scrub.ts'
import { passAnswer } from '../../src/egress/traffic/pass-answer.ts'
import type { BodyReader } from '../../src/egress/upstream/channel.ts'

/** An answer whose search throws where the credential stands, as only a defect of ours could make it. */
async function passBroken() {
  const forms = compileSecrets(['the-secret-that-nobody-sees'])
  const walk = forms.search.begin()
  walk.push = (bytes) => {
    throw new RangeError(`about ${bytes.toString()}`)
  }
  forms.search.begin = () => walk
  let reader: BodyReader | undefined
  const sink = new PassThrough()
  const told: unknown[] = []
  const passed = { bytes: 0, redactions: 0 }
  passAnswer({
    from: {
      status: 200,
      rawHeaders: ['content-type', 'text/plain'],
      headOnly: false,
      untilClose: false,
      plain: () => true,
      read: (given) => {
        reader = given
      },
      pause: () => undefined,
      resume: () => undefined,
    },
    to: {
      sink,
      begun: () => true,
      gone: () => false,
      head: () => undefined,
      flush: () => undefined,
      beLast: () => undefined,
      end: () => told.push('ended well'),
      refuse: () => false,
      abort: () => told.push('aborted'),
      onClosed: () => undefined,
      onLeft: () => undefined,
    },
    forms,
    part: undefined,
    vouched: true,
    turns: () => (step) => step(),
    passed,
    ended: (failure) => told.push(failure),
    threw: (error) => told.push(error),
  })
  await new Promise((resolve) => setImmediate(resolve))
  reader?.data(Buffer.from('a first piece, '))
  reader?.data(Buffer.from('a second with the-secret-that-nobody-sees'))
  reader?.data(Buffer.from(', a third'))
  reader?.ended([])
  return { told, text: String(sink.read() ?? ''), passed }
}

test('invariant 2: an answer whose search fails is cut off there, nothing more of it is let out, and what was thrown is told', async () => {
  const { told, text, passed } = await passBroken()
  const clean = 'a first piece, a second with '
  expect(text).toBe(clean)
  expect(told).toEqual([expect.any(RangeError), 'aborted', 'scrub_failed'])
  expect(passed.bytes).toBe(clean.length)
})
