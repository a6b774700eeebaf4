/**
 * admin: the admin API under `/admin/v1`. Tokens, people, runners, tools, credentials (write only), the audit
 * record and the doctor, for whoever holds an admin key. One table of routes makes both the server and the
 * OpenAPI document. It holds no rules of its own: it asks the rooms below, and never answers with a stored secret.
 */
export type { AdminDeps, CredentialFacts, CredentialPlace } from './deps.ts'
export { openApiDocument } from './openapi.ts'
export { registerAdmin } from './register.ts'
