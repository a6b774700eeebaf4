import { z } from 'zod'
import type { AdminDeps, Check } from '../deps.ts'
import { findPerson } from '../person.ts'
import { type Route, route } from '../route.ts'
import { check, person, personName } from '../shapes.ts'
import { viewPerson } from './people.ts'

export const doctorRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/doctor',
    operationId: 'doctor',
    summary: 'Everything that a person would check by hand.',
    response: z.object({ ok: z.boolean(), checks: z.array(check) }),
    handle: async (deps) => await examine(deps, deps.doctor),
  }),
  route({
    method: 'GET',
    path: '/doctor/:person',
    operationId: 'doctorOfPerson',
    summary:
      'Why things are as they are for one person: tokens, sandbox, sources, last call; a sentence each.',
    params: z.object({ person: personName }),
    response: z.object({ ok: z.boolean(), person, checks: z.array(check) }),
    async handle(deps, { params }) {
      const found = findPerson(await deps.access.listPrincipals(), params.person)
      return { ...(await examine(deps, deps.doctorOf(found))), person: viewPerson(found) }
    },
  }),
]

async function examine(deps: AdminDeps, asks: readonly (() => Promise<Check>)[]) {
  const checks = await Promise.all(asks.map((ask, i) => answer(deps, ask, i)))
  return { ok: checks.every(({ ok }) => ok), checks }
}

/** A check that throws has found something wrong too. */
async function answer({ log }: AdminDeps, ask: () => Promise<Check>, position: number): Promise<Check> {
  try {
    return await ask()
  } catch (err) {
    log.error({ err, position }, 'a check of the doctor failed')
    const name = ask.name === '' ? `check ${position + 1}` : ask.name
    return {
      name,
      ok: false,
      detail: 'The check itself failed.',
      cure: 'Look for "a check of the doctor failed" in the log.',
    }
  }
}
