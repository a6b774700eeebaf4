import type { Log } from '../../core/index.ts'

/** The isolations that this driver can make; `kubernetes` is another driver's. */
export type LocalIsolation = 'bubblewrap' | 'unshare' | 'none'

export interface LocalDriverOptions {
  /** Everything of this driver lives below: locks, records, sockets, homes. Made when missing, mode 0700. */
  stateDir: string
  /** `auto` takes the strongest that works here and never `none`. */
  isolation: LocalIsolation | 'auto'
  /** The Node binary that runs the toolhost; mounted alone, at a fixed path. */
  nodePath: string
  /** The checkout: `src/`, `sources/`, `node_modules/`, `package.json`. Only what a toolhost needs is mounted. */
  appDir: string
  /**
   * The directory that holds `proxy.sock` and nothing else. The directory is mounted, not the socket, so that a
   * restarted proxy is found again. When this process is root the sandboxes are not: the directory must then be
   * 0711 or wider and the socket 0666 (leases, not file modes, say who is who).
   */
  egressSocketDir: string
  /** More of the machine to show read-only at the same path, e.g. a company's tools in `/srv/tools`. */
  readOnlyPaths?: string[]
  /** More folders that no sandbox sees, whatever is shown; `stateDir` is hidden in any case. */
  hiddenPaths?: string[]
  /**
   * As root, each sandbox runs as a user of its own from this range, so that one that broke out of its mounts
   * still could not read another's home. Default 200000, 65536 of them.
   */
  firstUserId?: number
  /** Whether to keep what Node compiled of our programs for the sandboxes to come; yes when left out. */
  compileCache?: boolean
  log: Log
}

export const defaultFirstUserId = 200_000
