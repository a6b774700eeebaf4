import type { z } from 'zod'
import type { AdminDeps } from './deps.ts'

/** Who asks, as it is written into audit events: the admin key's name. */
export interface Asker {
  by: string
}

type Shape = z.ZodType
type Parsed<S extends Shape | undefined> = S extends Shape ? z.output<S> : undefined

/**
 * One route: what the server registers, what OpenAPI documents, and what tests compare answers with. An answer
 * is cut to `response` before it leaves, so that a member nobody declared is never sent.
 */
export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Below `/admin/v1`, with `:name` for parameters. */
  path: string
  operationId: string
  summary: string
  status: 200 | 201
  params?: Shape
  query?: Shape
  body?: Shape
  response: Shape
  run(deps: AdminDeps, input: unknown, asker: Asker): Promise<unknown>
}

interface Typed<
  P extends Shape | undefined,
  Q extends Shape | undefined,
  B extends Shape | undefined,
  R extends Shape,
> {
  method: Route['method']
  path: string
  operationId: string
  summary: string
  status?: Route['status']
  params?: P
  query?: Q
  body?: B
  response: R
  handle: (
    deps: AdminDeps,
    input: { params: Parsed<P>; query: Parsed<Q>; body: Parsed<B> },
    asker: Asker,
  ) => Promise<z.input<R>>
}

/** Ties the types of a route's schemas to its handler; the server parses before it calls `run`. */
export function route<
  R extends Shape,
  P extends Shape | undefined = undefined,
  Q extends Shape | undefined = undefined,
  B extends Shape | undefined = undefined,
>(typed: Typed<P, Q, B, R>): Route {
  const { handle, status = 200, params, query, body, ...rest } = typed
  return {
    ...rest,
    status,
    ...(params === undefined ? {} : { params }),
    ...(query === undefined ? {} : { query }),
    ...(body === undefined ? {} : { body }),
    run: (deps, input, asker) =>
      handle(deps, input as { params: Parsed<P>; query: Parsed<Q>; body: Parsed<B> }, asker),
  }
}
