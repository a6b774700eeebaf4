/** One thing that the doctor looked at, and what helps where it is not well. */
export interface Check {
  name: string
  ok: boolean
  detail: string
  cure: string | null
}

/** `cure` in place of the check's own. */
export type Verdict = { ok: boolean; detail: string; cure?: string }
export const good = (detail: string): Verdict => ({ ok: true, detail })
export const bad = (detail: string, cure?: string): Verdict => ({
  ok: false,
  detail,
  ...(cure === undefined ? {} : { cure }),
})

/** A check that answers, whatever is broken. */
export function check(name: string, cure: string, look: () => Promise<Verdict>): () => Promise<Check> {
  return async () => {
    const { ok, detail, cure: own } = await look().catch(() => bad('could not be checked'))
    return { name, ok, detail, cure: ok ? null : (own ?? cure) }
  }
}
