import type { ToolhostClient as WholeClient } from './client/types.ts'

export type { Refused, SandboxIdentity, ToolhostAnswer } from './client/types.ts'

/** What the manager needs of the way to a toolhost; `client/` has it all, over `wire/`. */
export type ToolhostClient = Pick<WholeClient, 'health' | 'putSource' | 'listTools' | 'call' | 'drain'>
