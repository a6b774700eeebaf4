import { z } from 'zod'

const positive = z.number().int().positive()

/**
 * What a driver tells the toolhost at its start: as JSON in the environment variable `TOOLCRIB_TOOLHOST`, or in a
 * file whose path is the only argument. Nothing here is a secret; leases come later, with each source.
 */
export const toolhostSettings = z.object({
  sandboxUid: z.string().min(1),
  generation: z.number().int(),
  /** Where to listen; at most 107 bytes, as the kernel allows. Its folder belongs to this generation alone. */
  socketPath: z.string().min(1),
  /** Unix socket of the egress proxy as seen from inside; null leaves sources without a way out. */
  egressSocketPath: z.string().min(1).nullable(),
  /** The egress proxy's CA certificate, PEM. */
  caFile: z.string().min(1).nullable(),
  /** The person's persistent home: working directory and HOME of every source. */
  home: z.string().min(1),
  temporaryFolder: z.string().min(1).default('/tmp'),
  /** PATH of sources, after the folder of the running Node. */
  path: z.string().default('/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin'),
  /** What Node compiled before of the sources whose script lies in `covers`; read-only. Others keep theirs in the home. */
  compileCache: z.object({ folder: z.string(), covers: z.string() }).optional(),
  /** Whether to try at boot to reach the outside directly; off only where there is no isolation to prove. */
  probe: z.boolean(),
  /** True where every process that can be seen is this sandbox's; the memory guard works only then. As `probe`. */
  ownPidNamespace: z.boolean().optional(),
  limits: z.object({
    memoryBytes: positive,
    parallelCalls: positive,
    queuedCalls: z.number().int().nonnegative(),
    /** A call's request, its result, and any one line that a source prints, in bytes. */
    requestBytes: positive.default(8 * 1024 * 1024),
    resultBytes: positive.default(4 * 1024 * 1024),
    lineBytes: positive.default(8 * 1024 * 1024),
  }),
  /** All in ms. */
  times: z
    .object({
      /** From the start of a source's process to its answer to `initialize`; also for `tools/list`. */
      start: positive.default(30_000),
      /** How long a source may take to answer a cancelled call before its process group is ended. */
      cancelGrace: positive.default(200),
      /** From TERM to KILL. */
      termGrace: positive.default(250),
      /** How long a source with other calls may leave a ping unanswered after a cancellation. */
      unresponsive: positive.default(5_000),
      /** How long running calls may go on once the toolhost was told to stop. */
      drain: positive.default(2_000),
    })
    .prefault({}),
})
export type ToolhostSettings = z.infer<typeof toolhostSettings>
/** As a driver writes it: what has a default may be left out. */
export type ToolhostSettingsInput = z.input<typeof toolhostSettings>
/** The environment variable that carries it. */
export const toolhostSettingsVariable = 'TOOLCRIB_TOOLHOST'
