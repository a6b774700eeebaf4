/** The driver, in a process of its own: does one job at a time for the benchmark and answers with its figures. */
import { firstEvent, idle, newTunnels, parallel, sequential } from './loops.ts'
import { probe } from './probe.ts'
import { down, up } from './transfer.ts'

let held: { release(): void } | undefined

const jobs = {
  sequential,
  parallel,
  newTunnels,
  firstEvent,
  down,
  up,
  probe,
  async idle(...given: Parameters<typeof idle>) {
    held = await idle(...given)
  },
  async release() {
    held?.release()
  },
}
export type Jobs = typeof jobs

process.on('message', ({ job, given }: { job: keyof Jobs; given: never[] }) => {
  const work = jobs[job] as (...given: unknown[]) => Promise<unknown>
  work(...given).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: error instanceof Error ? error.message : String(error) }),
  )
})
process.once('disconnect', () => process.exit())
