import type { Command } from 'commander'
import { z } from 'zod'
import { at, remote } from '../command.ts'
import { CliFailure } from '../failure.ts'
import type { CliIo } from '../io.ts'
import { plainText } from '../table.ts'

const report = z.looseObject({
  ok: z.boolean(),
  checks: z.array(
    z.looseObject({ name: z.string(), ok: z.boolean(), detail: z.string(), cure: z.string().nullable() }),
  ),
})

export function addDoctor(program: Command, io: CliIo): void {
  const doctor = program
    .command('doctor')
    .description('check everything that a person would check by hand, or say why it is so for one person')
    .argument('[person]', 'whose tokens, sandbox, sources and last call to explain')
  remote(doctor, io, 'doctor @alice', async (session) => {
    const [person] = session.args
    const answer = await session.get(person === undefined ? '/doctor' : at`/doctor/${person}`, report)
    session.show(answer, () =>
      answer.checks
        .flatMap(({ name, ok, detail, cure }) => [
          `${ok ? 'ok  ' : 'FAIL'}  ${plainText(name)}: ${plainText(detail)}\n`,
          ...(ok || cure === null ? [] : [`      ${plainText(cure)}\n`]),
        ])
        .join(''),
    )
    if (answer.ok) return
    const failing = answer.checks.filter(({ ok }) => !ok).length
    throw new CliFailure('failed', `${failing} of ${answer.checks.length} checks failed.`)
  })
}
