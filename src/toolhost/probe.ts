import { connect } from 'node:net'

export type ProbeVerdict = { egress: 'enforced' | 'not_probed' } | { egress: 'open'; leak: string }

export interface ProbeTarget {
  /** What it is, for the operator. */
  name: string
  host: string
  port: number
}

/** Settles with true when something answered at the target, be it with a refusal; false when nothing did. */
export type ProbeDial = (target: ProbeTarget, signal: AbortSignal) => Promise<boolean>

const limitMs = 1_000

/** Places that a sandbox must not reach: the cloud's metadata, the cluster's API, the internet; both families. */
export function probeTargets(kubernetesApi: { host: string; port: number } | undefined): ProbeTarget[] {
  return [
    { name: 'the metadata address', host: '169.254.169.254', port: 80 },
    { name: 'the metadata address', host: 'fd00:ec2::254', port: 80 },
    { name: 'the Kubernetes API', ...(kubernetesApi ?? { host: '10.96.0.1', port: 443 }) },
    { name: 'a public address', host: '1.1.1.1', port: 443 },
    { name: 'a public address', host: '2606:4700:4700::1111', port: 443 },
  ]
}

/** Tries every target at once, for a second. Anything that answers means that the sandbox is not cut off. */
export async function probeEgress(targets: ProbeTarget[], dial: ProbeDial): Promise<ProbeVerdict> {
  const signal = AbortSignal.timeout(limitMs)
  const answers = await Promise.all(targets.map((target) => dial(target, signal)))
  const leaks = targets.filter((_, index) => answers[index])
  if (leaks.length === 0) return { egress: 'enforced' }
  const leak = leaks.map((target) => `${target.name} (${target.host}, port ${target.port})`).join(', ')
  return { egress: 'open', leak }
}

/**
 * A TCP connection, closed at once; no byte is sent. A refused or reset connection is an answer as well: it was
 * somebody out there who refused. Unreachable, timed out, no such route: nothing answered.
 */
export const dialTcp: ProbeDial = (target, signal) =>
  new Promise((resolve) => {
    const socket = connect({ host: target.host, port: target.port })
    const settle = (answered: boolean) => {
      signal.removeEventListener('abort', late)
      socket.destroy()
      resolve(answered)
    }
    const late = () => settle(false)
    signal.addEventListener('abort', late, { once: true })
    socket.once('connect', () => settle(true))
    socket.on('error', (error: NodeJS.ErrnoException) =>
      settle(error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET'),
    )
  })
