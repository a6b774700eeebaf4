export type Json = Record<string, unknown>

export interface EmulatorClient {
  /** Passes a request on as it came. */
  forward: (path: string, token: string, contentType: string, body: string) => Promise<Json>
  /** Calls a method, as the app unless `token` says otherwise; throws when Slack's answer is not `ok`. */
  ask: (method: string, body: Json, token?: string) => Promise<Json>
}

/** Speaks to the emulator, which makes up user ids: ours go in as its, and its come out as ours. */
export function createEmulatorClient(options: {
  upstream: string
  botToken: string
  /** Fixed user id → the emulator's. */
  ids: Map<string, string>
}): EmulatorClient {
  const inward = (text: string) => swap(text, [...options.ids])
  const outward = (text: string) =>
    swap(
      text,
      [...options.ids].map(([fixed, emulated]) => [emulated, fixed]),
    )

  const forward: EmulatorClient['forward'] = async (path, token, contentType, body) => {
    const response = await fetch(`${options.upstream}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': contentType },
      body: inward(body),
    })
    return JSON.parse(outward(await response.text())) as Json
  }
  const ask: EmulatorClient['ask'] = async (method, body, token = options.botToken) => {
    const answer = await forward(`/api/${method}`, token, 'application/json', JSON.stringify(body))
    if (answer['ok'] !== true)
      throw new Error(`the emulated Slack answered ${method} with ${String(answer['error'])}`)
    return answer
  }

  return { forward, ask }
}

function swap(text: string, pairs: [string, string][]): string {
  return pairs.reduce((swapped, [from, to]) => swapped.replaceAll(from, to), text)
}
