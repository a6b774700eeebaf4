/** The gateway's side of the wire: an HTTP client of the toolhost. Inside the room, import these files directly. */
export { createToolhostClient } from './client.ts'
export type { ToolhostAnswer, ToolhostClient } from './types.ts'
