/** What a fuzzed request is, what its upstream does, and what may come of both. */

export const host = 'orders.example.com'

/** Ends of what an upstream does: it waits for the rest of the request, ends its side, or breaks the connection off. */
export const restOfRequest = Symbol('the rest of the request')
export const end = Symbol('end')
export const breakOff = Symbol('break off')

/** Text is written as it is, in Latin-1; a number is a pause in milliseconds. */
export type Step = string | number | typeof restOfRequest | typeof end | typeof breakOff

export interface PlannedAnswer {
  kind: string
  steps: Step[]
  status: number
  /** The body that a client gets of it; undefined where no two readers agree on it. */
  body: string | undefined
  /** It is begun before the request has come whole. */
  early: boolean
  /** What a client may get of it: all, an error of the proxy's own, or a beginning and then the end. */
  may: readonly ('whole' | 'failed' | 'cut')[]
  /**
   * How its connection is left: good for another request, `spent` (no other may come on it), or `doubtful` (what the
   * upstream says beyond the answer may be taken for the next one, for nothing in HTTP/1.1 tells them apart).
   */
  leaves: 'good' | 'spent' | 'doubtful'
}

export interface PlannedRequest {
  id: string
  kind: string
  method: string
  /** As it is written on the connection, in Latin-1. */
  bytes: string
  /** Let out; refused by the proxy, which hears on; or not to be read as a request, so that the connection ends. */
  fate: 'out' | 'refused' | 'broken'
  body: string
  /** Of one that reaches its upstream, or may in part. */
  answer?: PlannedAnswer
  /** Why it is refused; left out where any reason will do. */
  reasons?: readonly string[]
  /** It is the last that is heard on its connection. */
  ends?: boolean
  /** Its answer may be the last, for what is left of its body. */
  mayEnd?: boolean
  /** It asks for 100 Continue. */
  expects?: boolean
}

/** How requests are written: in a tunnel, or whole addresses by plain http. */
export interface Way {
  name: string
  secure: boolean
  port: number
  /** Of each request by plain http. */
  authorization?: string
}

/** A request as its upstream read it. */
export interface SeenRequest {
  /** Its place among all that were seen. */
  at: number
  whole: boolean
  body: string
  /** What came before it on its connection was more than answers. */
  doubtful: boolean
}
