// Where the API is; an address is no secret, so it comes as plain environment.
const origin = new URL(process.env.ORDERS_URL ?? 'https://orders.crib.test').origin
const limitMs = 30_000

export interface Answer {
  text: string
  ok: boolean
}

/**
 * Asks the orders API. This program has no key: the way out of the sandbox adds it. Every failure is an answer with
 * a sentence for the agent.
 */
export async function ask(method: 'GET' | 'POST', path: string, body?: object): Promise<Answer> {
  try {
    const response = await fetch(`${origin}/v1/orders${path}`, {
      method,
      headers: { accept: 'application/json', ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
      redirect: 'manual',
      signal: AbortSignal.timeout(limitMs),
    })
    const text = await response.text()
    if (response.ok) return { ok: true, text }
    return {
      ok: false,
      text: denial(text) ?? `the orders API answered ${response.status}: ${text.slice(0, 2_000)}`,
    }
  } catch (error) {
    return { ok: false, text: unreachable(error) }
  }
}

/** What the egress proxy says when it refuses a request, as a sentence; undefined when it was not the proxy. */
function denial(text: string): string | undefined {
  let told: unknown
  try {
    told = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof told !== 'object' || told === null) return undefined
  const { reason, rule, host, source, help } = told as Record<string, unknown>
  if (typeof reason !== 'string' || typeof rule !== 'string') return undefined
  const who = typeof source === 'string' ? ` from source "${source}"` : ''
  const where = typeof host === 'string' ? ` to ${host}` : ''
  return `The request${who}${where} was not let out: ${reason} (rule: ${rule}).${typeof help === 'string' ? ` ${help}` : ''}`
}

function unreachable(error: unknown): string {
  // `fetch` wraps what happened in errors of its own; the innermost one is the news.
  let message = String(error)
  for (let cause = error; cause instanceof Error; cause = cause.cause) message = cause.message
  const refused = /\((403|407)\)/.exec(message)
  if (refused !== null)
    return `The way out of the sandbox refused a connection to ${origin} (${refused[1]}). Ask an admin to allow it for this source.`
  return `The orders API could not be reached: ${message}`
}
