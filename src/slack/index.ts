/**
 * slack: the Bolt app. It takes what people say in Slack, writes it down before it answers, and hands tokens
 * over by direct message: once, to full members, never in a shared place. It decides nothing about tokens
 * (access does) and keeps no state in memory that a restart would miss.
 */
export { createSlack } from './app.ts'
export { clientLines, connectionName, endpointUrl } from './client-lines.ts'
export type { SlackDeps } from './types.ts'
