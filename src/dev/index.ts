/**
 * dev: what `npm run dev` adds and production never loads: an emulated Slack workspace, the sender of what
 * Slack would post, and the newcomer's page. Only main.ts knows this room.
 */

export { type DemoOrders, demoHost, startDemoOrders } from './demo-orders.ts'
export { type EgressProcess, startEgressProcess } from './egress-process.ts'
export {
  type EmulatedPerson,
  type EmulatedSlack,
  type PersonHandle,
  startEmulatedSlack,
} from './emulated-slack.ts'
export { claimFolder, type DevFolder } from './folder.ts'
export { type NewcomerDeps, registerNewcomer } from './newcomer/routes.ts'
export { pickPort } from './ports.ts'
export { createSignedSender, type SentAnswer, type SignedSender } from './signed-sender.ts'
export type { SlackFront, SlackMessage } from './slack-front.ts'
