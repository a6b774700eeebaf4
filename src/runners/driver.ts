import type { PrincipalId } from '../core/index.ts'

/** How strongly a sandbox is cut off; every surface shows `none` in red. */
export type Isolation = 'bubblewrap' | 'unshare' | 'kubernetes' | 'none'

/** Everything that a sandbox is made of. No credential is among it, and none ever will be. */
export interface SandboxSpec {
  /** Unique per principal, fixed for life; stored, never recomputed. */
  name: string
  homeName: string
  principalId: PrincipalId
  generation: number
  /** Chosen by the manager before creation, echoed by the toolhost: proves that an answer comes from this life. */
  uid: string
  /** The egress proxy's CA certificate, PEM; the only thing that sandboxed programs must trust besides the system. */
  caCertificate: string
  limits: {
    memoryBytes: number
    processes: number
    openFiles: number
    parallelCalls: number
    queuedCalls: number
  }
}

export type SandboxPhase = 'creating' | 'booting' | 'running' | 'stopping' | 'failed'

/** What is true of a sandbox now, read from the machine or cluster itself. */
export interface SandboxFacts {
  name: string
  uid: string
  generation: number
  phase: SandboxPhase
  /** How to reach the toolhost; null until there is something to dial. Opaque outside the driver. */
  address: string | null
  /**
   * The IP address that its requests to the egress proxy come from, in the spelling of RFC 5952; known when `address`
   * is. Absent: they come through the proxy's socket on this machine. Its leases are good from nowhere else.
   */
  sourceAddress?: string
  /** Why it failed or waits, as a sentence for people; null when all is well. */
  message: string | null
}

/** How to open a connection to a toolhost that cannot be redirected to anybody else's. */
export interface ToolhostDial {
  /** Path of a unix socket that was checked to be this sandbox's; valid until `release()`. */
  socketPath: string
  release(): void
}

/**
 * What the manager needs of a place that runs sandboxes. Implementations: `local/` and, later, `kubernetes/`.
 * Every driver passes `test/runners/driver-contract.ts`.
 */
export interface RunnerDriver {
  readonly kind: 'local' | 'kubernetes'
  readonly isolation: Isolation
  /**
   * Makes the sandbox of `spec` exist and returns once it is known to be under way, not once it is ready. Again
   * for the same uid: the same sandbox (a lost answer is harmless). `taken`: the name is held by another
   * generation or by something not ours; nothing was touched. Throws when it could not be made, with the reason.
   */
  ensure(spec: SandboxSpec, signal: AbortSignal): Promise<{ kind: 'ours' | 'taken'; facts: SandboxFacts }>
  /** A direct look, never a cache. `undefined` means certainly gone; any doubt throws (invariant 12). */
  observe(name: string, signal: AbortSignal): Promise<SandboxFacts | undefined>
  /** Ends the sandbox if it is still the one with this uid: TERM, `graceMs`, KILL, nothing left. Absence is fine. */
  delete(name: string, uid: string, graceMs: number, signal: AbortSignal): Promise<void>
  /** Every sandbox of this deployment, known to us or not. */
  list(signal: AbortSignal): Promise<SandboxFacts[]>
  /** Calls `changed(name)` soon after a sandbox appears, changes or goes. A hint: the manager observes again. */
  watch(changed: (name: string) => void): AsyncDisposable
  /** Opens the way to the toolhost of exactly this sandbox; throws when it is gone. */
  dial(facts: SandboxFacts): Promise<ToolhostDial>
}
