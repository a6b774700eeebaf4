import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { createLog } from '../../src/core/index.ts'
import { plainLines, startEgressProcess } from '../../src/dev/index.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))
const collect = () => {
  const said: string[] = []
  return { said, write: (text: string) => said.push(text) }
}

test('a person reads what happened and why, without JSON and stack', () => {
  const out = collect()
  const log = createLog({ level: 'info', name: 'egress' }, plainLines(out))
  log.warn({ host: 'example.com', err: new Error('no answer') }, 'upstream failed')
  log.error({}, 'cannot record')
  log.warn({ decision: 'denied', reason: 'host_not_allowed' }, 'egress decision')
  plainLines(out).write('toolcrib: the disk is full')
  expect(out.said).toEqual([
    'warning (egress): upstream failed: no answer\n',
    'error (egress): cannot record\n',
    'toolcrib: the disk is full\n',
  ])
})

test('what the egress process writes goes the way of every other log line, and all of it before it is said to have failed', async () => {
  const out = collect()
  const environment = { PATH: process.env['PATH'], TOOLCRIB_CONFIG: '/nowhere/toolcrib.yaml' }
  const starting = startEgressProcess({ entry, environment, lines: plainLines(out) })
  await expect(starting).rejects.toMatchObject({ code: 'unavailable' })
  expect(out.said.join('')).toContain('cannot read the configuration /nowhere/toolcrib.yaml')
})
