import { AppError } from '../core/index.ts'
import type { HttpServer } from './server.ts'

const reasons: Record<string, string> = {
  EADDRINUSE: 'is in use',
  EADDRNOTAVAIL: 'is no address of this machine',
  EACCES: 'is not for this user to listen on',
  ENOTFOUND: 'names no host',
}

/**
 * Listens at the place that `setting` of the configuration names, and returns the address. Throws `conflict` with the
 * setting, what was given and `cure`.
 */
export async function listenAt(
  server: HttpServer,
  place: { host: string; port: number },
  { setting, cure }: { setting: string; cure: string },
): Promise<string> {
  return await server.listen(place).catch((cause: NodeJS.ErrnoException) => {
    const { code = 'failed' } = cause
    throw new AppError(
      'conflict',
      `${setting}: ${place.host}:${place.port} ${reasons[code] ?? `cannot be listened on (${code})`}; ${cure}`,
      { cause },
    )
  })
}
