import type { Readable, Writable } from 'node:stream'

/** Everything of the outside that the command line uses; `main.ts` hands over the process's own. */
export interface CliIo {
  /** `setRawMode` is there when it is a terminal, which is then asked without echo. */
  stdin: Readable & { isTTY?: boolean; setRawMode?: (on: boolean) => unknown }
  stdout: Pick<Writable, 'write'>
  stderr: Pick<Writable, 'write'>
  /** `TOOLCRIB_URL`, `TOOLCRIB_ADMIN_KEY`, `TOOLCRIB_ADMIN_KEY_FILE`. */
  environment: {
    url?: string | undefined
    adminKey?: string | undefined
    adminKeyFile?: string | undefined
  }
  /** Where `npm run dev` leaves `{ "url", "adminKey" }` for its owner; it need not exist. */
  connectionFile?: string | undefined
}
