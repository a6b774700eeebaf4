import { AppError } from './errors.ts'

/**
 * Throws `forbidden` when `cause` says that this user may not read `path`; `owner` is the command that runs as the one
 * who may. What cannot be read must never be taken for what is not there.
 */
export function refuseUnreadable(cause: unknown, path: string, owner: string): void {
  const { code } = cause as NodeJS.ErrnoException
  if (code !== 'EACCES' && code !== 'EPERM') return
  throw new AppError(
    'forbidden',
    `this user may not read ${path}; run it as the user that \`${owner}\` runs as`,
  )
}
