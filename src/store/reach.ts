import pg from 'pg'
import { AppError } from '../core/index.ts'
import type { Store } from './database.ts'

/** Throws `unavailable` while the database does not answer; the driver's own words are its cause. */
export async function demandAnswer({ pool }: Pick<Store, 'pool'>): Promise<void> {
  await pool.query('SELECT 1').catch((cause: unknown) => {
    throw new AppError('unavailable', 'the database does not answer', { cause })
  })
}

/**
 * For the start of a process: throws when no session can be had of the database at `url`, and says of `DATABASE_URL`
 * what was given, without its password, and what would work.
 */
export async function demandReachable(url: string): Promise<void> {
  const client = open(url)
  // One that breaks after it was tried is nobody's any more.
  client.on('error', () => undefined)
  try {
    await client.connect()
  } catch (cause) {
    throw inWords(cause, client)
  } finally {
    await client.end().catch(() => undefined)
  }
}

function open(url: string): pg.Client {
  try {
    return new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  } catch (cause) {
    throw new AppError(
      'invalid_input',
      'DATABASE_URL cannot be read; write postgres://user:password@host:5432/database, and of the password what is special in a URL as %40 for @',
      { cause },
    )
  }
}

function inWords(cause: unknown, { host, port, user, database }: pg.Client): AppError {
  const place = host.startsWith('/') ? host : `${host}:${port}`
  const { code = '' } = cause as { code?: string }
  // Class 28 is a refused login; 3D000 a database that is not there.
  if (code.startsWith('28'))
    return new AppError(
      'forbidden',
      `DATABASE_URL: PostgreSQL at ${place} does not let ${user} in; correct the user or the password`,
      { cause },
    )
  if (code === '3D000')
    return new AppError(
      'not_found',
      `DATABASE_URL: PostgreSQL at ${place} has no database ${database}; make it, or name another`,
      { cause },
    )
  // Five characters are PostgreSQL's own codes: it answered, and would not.
  const what = /^[0-9A-Z]{5}$/.test(code) ? 'refused a session' : 'does not answer'
  return new AppError(
    'unavailable',
    `DATABASE_URL: PostgreSQL at ${place} ${what}; correct the address, or see to it that it runs`,
    { cause },
  )
}
