import { expect, test } from 'vitest'
import { createLog } from '../../src/core/index.ts'
import { listen, type Notice, notify } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'
import { relayTo } from '../support/database-relay.ts'
import { until } from '../support/until.ts'

const notice: Notice = { kind: 'catalog' }

test.each(['LISTEN', 'nothing yet'])(
  'a connection for notices that is open and silent, %s said, is told of and replaced',
  async (said) => {
    await using store = await testStore()
    await using relay = await relayTo(store.url)
    const lines: string[] = []
    const log = createLog({ level: 'info', name: 't' }, { write: (line) => void lines.push(line) })
    let heard = 0
    if (said !== 'LISTEN') relay.silenceAt('LISTEN')
    await using notices = listen({ url: relay.url }, log, { askEveryMs: 50, silentMs: 1_000 })
    notices.on(() => {
      heard += 1
    })
    const hears = async () => {
      await notify(store.db, notice)
      return heard > 0
    }
    if (said === 'LISTEN') {
      await until(hears)
      // All that was said by now is heard.
      await notices.caughtUp()
      relay.silence()
      heard = 0
    }
    await until(hears)
    expect(relay.made).toBe(2)
    const told = lines.map((line) => JSON.parse(line) as { msg: string; err?: { message: string } })
    expect(told).toMatchObject([
      { msg: 'listening for notices failed', err: { message: 'the database said nothing for 1 s' } },
      { msg: 'listening for notices works again' },
    ])
    // Who waits for what was committed is not left to wait either.
    await notices.caughtUp()
  },
)
