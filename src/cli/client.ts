import { z } from 'zod'
import { parseJson } from '../core/index.ts'
import type { Connection } from './connection.ts'
import { CliFailure } from './failure.ts'

const errorBody = z.object({ error: z.object({ code: z.string(), message: z.string() }) })

/** Ending a sandbox and the doctor's look-arounds are the slow ones. */
const timeoutMs = 60_000

/**
 * Asks the admin API once and never again: a repeated request might issue a second token. Throws `CliFailure`
 * with what the server said.
 */
export async function ask<Shape extends z.ZodType>(
  { base, key }: Connection,
  request: { method: 'GET' | 'POST' | 'PUT' | 'DELETE'; path: string; body?: object | undefined },
  shape: Shape,
): Promise<z.output<Shape>> {
  const { status, text } = await send(base, key.reveal(), request)
  const answer = parseJson(text)
  if (status >= 400) {
    const known = errorBody.safeParse(answer)
    if (!known.success) throw notToolcrib(base, status)
    throw new CliFailure(howRefused(status), known.data.error.message)
  }
  const parsed = shape.safeParse(answer)
  if (!parsed.success) throw notToolcrib(base, status)
  return parsed.data
}

async function send(
  base: string,
  key: string,
  request: { method: string; path: string; body?: object | undefined },
) {
  try {
    const response = await fetch(`${base}/admin/v1${request.path}`, {
      method: request.method,
      headers: {
        authorization: `Bearer ${key}`,
        accept: 'application/json',
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      // The key must not follow to another server.
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    })
    return { status: response.status, text: await response.text() }
  } catch (cause) {
    throw new CliFailure(
      'unreachable',
      `There is no Toolcrib to be reached at ${base} (${reason(cause)}): start it, or name another with --url.`,
      { cause },
    )
  }
}

function howRefused(status: number): 'refused' | 'usage' | 'failed' {
  if (status === 401 || status === 403 || status === 429) return 'refused'
  return status === 400 ? 'usage' : 'failed'
}

function notToolcrib(base: string, status: number): CliFailure {
  return new CliFailure(
    'unreachable',
    `What answers at ${base} (status ${status}) is not this version of Toolcrib.`,
  )
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs / 1000} seconds`
  const { cause } = error
  if (cause instanceof Error) return 'code' in cause ? String(cause.code) : cause.message
  return error.message
}
