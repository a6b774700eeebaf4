import { expect, test } from 'vitest'
import { msPerPiece, workDone } from '../../src/egress/bounds/work.ts'
import { armed, host } from '../support/armed.ts'
import { makeWorld, request } from '../support/egress-world.ts'

test('what a client still sends behind a refusal counts against its share as what is taken does', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, () => undefined)
  const socket = await world.tunnel(host, up.port)
  const before = workDone()
  const pieces = 30_000
  const head = request(host, up.port, '/', ['Transfer-Encoding: chunked'], 'DELETE')
  socket.resume().write(`${head}${'1\r\na\r\n'.repeat(pieces)}`)
  await expect.poll(() => workDone() - before).toBeGreaterThan(0.9 * pieces * msPerPiece)
})
