/** Who is who on loopback: every name ends here, and one credential belongs to `api` and to the fresh hosts. */
export const host = {
  api: 'api.bench.example',
  /** Reachable by the rules, without a credential. */
  other: 'other.bench.example',
  /** Named by no rule. */
  evil: 'evil.bench.example',
} as const

/** Asked once each in a proxy's life, so that each is new to it. */
export const freshHosts: string[] = Array.from({ length: 17 }, (_, n) => `h${n}.bench.example`)

/** In small letters and digits, as it would come out of most services. */
export const secret = 'benchkey0123456789abcdef0123456789abcdef'
export const credential = `Bearer ${secret}`

export function hasCredential(name: string): boolean {
  return name === host.api || freshHosts.includes(name)
}

/** Bytes of every JSON answer; its number has ten digits, so that the length never changes. */
export const answerBytes = 1_024

export function answerBody(n: number): string {
  const head = `{"n":"${String(n).padStart(10, '0')}","fill":"`
  return `${head.padEnd(answerBytes - 2, 'x')}"}`
}
