import type { Isolation } from '../../../src/runners/index.ts'
import { needing } from '../../support/needs.ts'

/** An unprivileged user that owns nothing on this machine. */
const ordinaryUser = 54_321

export interface Kind {
  title: string
  isolation: Isolation
  userId: number | undefined
  /** Options for its group of tests: left out where this machine cannot show it. */
  options: ReturnType<typeof needing>
}

/** Each isolation, as root and as an ordinary user. */
export const kinds: Kind[] = (['bubblewrap', 'unshare'] as const).flatMap((isolation) => [
  {
    title: `${isolation}, gateway as root`,
    isolation,
    userId: undefined,
    options: needing(isolation, 'root'),
  },
  {
    title: `${isolation}, gateway as an ordinary user`,
    isolation,
    ...(process.getuid?.() === 0
      ? { userId: ordinaryUser, options: needing(isolation, 'other users') }
      : { userId: undefined, options: needing(isolation) }),
  },
])
