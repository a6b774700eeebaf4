/**
 * dev: what `npm run dev` adds and production never loads: an emulated Slack workspace, the sender of what
 * Slack would post, and the newcomer's page. Only main-dev*.ts know this room.
 */

export { type DemoOrders, demoHost, startDemoOrders } from './demo-orders.ts'
export { type EgressProcess, startEgressProcess } from './egress-process.ts'
export { type EmulatedSlack, startEmulatedSlack } from './emulated-slack.ts'
export { claimFolder } from './folder.ts'
export { registerNewcomer } from './newcomer/routes.ts'
export { type LogLines, plainLines, rawLines } from './plain-log.ts'
export { createSignedSender } from './signed-sender.ts'
export type { SlackMessage } from './slack-copies.ts'
