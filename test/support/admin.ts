import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { createAdminKeys } from '../../src/access/index.ts'
import {
  type AdminDeps,
  type CredentialFacts,
  openApiDocument,
  registerAdmin,
} from '../../src/admin/index.ts'
import type { Tool, ToolReview } from '../../src/catalog/index.ts'
import { AppError, nearest, newId, type PrincipalId, type Secret, silentLog } from '../../src/core/index.ts'
import { createHttpServer } from '../../src/http/index.ts'
import type { RunnerView } from '../../src/runners/index.ts'
import { listEvents } from '../../src/store/index.ts'
import { testAccess } from './access.ts'
import { testStore } from './database.ts'

/**
 * The admin API on a loopback port, with the real access room and a database of its own. Runners, tools and
 * credentials are lists in memory. Where they lie: a runner stops at once and has one state only, tools are not
 * discovered, ORDERS_KEY is the one credential that a source reads, and a value is kept in clear so that a test can
 * see what arrived.
 */
export async function startAdmin(overrides: Partial<AdminDeps> = {}) {
  const store = await testStore()
  const access = testAccess(store)
  const adminKeys = createAdminKeys({ store, log: silentLog })
  const key = (await adminKeys.ensureFirst())?.reveal() ?? ''
  const alice = await access.ensurePrincipal({ slackTeam: 'T1', slackUser: 'U0ALICE01', name: 'Alice' })
  const bob = await access.ensurePrincipal({ slackTeam: 'T1', slackUser: 'U0BOB0001', name: 'Bob' })
  const runners = [runnerOf(alice.id, 'Alice')]
  const stopped: { principalId: PrincipalId; cause: string }[] = []
  const tools = [toolOf('echo', 'd1', 'd1'), toolOf('sum', 'd2', 'd1'), toolOf('fetch', 'd1', null)]
  const sealed = new Map<string, { value: Secret; facts: CredentialFacts }>()

  const server = createHttpServer({
    log: silentLog,
    bodyLimit: 1_000_000,
    requestTimeoutMs: 10_000,
    trustedProxies: [],
    ready: async () => undefined,
  })
  registerAdmin(server, {
    access,
    adminKeys,
    log: silentLog,
    runners: {
      list: async () => runners,
      stop: async (principalId, cause) => void stopped.push({ principalId, cause }),
    },
    catalog: {
      listTools: async () => tools,
      acceptTool: async (alias, digest) => {
        const tool = tools.find((candidate) => candidate.alias === alias)
        if (tool?.definitionDigest !== digest)
          throw new AppError('conflict', 'discovery found another definition')
        tool.acceptedDigest = digest
      },
      setToolEnabled: async (alias, enabled) => {
        for (const tool of tools) if (tool.alias === alias) tool.enabled = enabled
      },
    },
    credentials: {
      lookAt: async ({ name }) => {
        const isRead = name === 'ORDERS_KEY'
        return { readBy: isRead ? ['orders'] : [], near: isRead ? [] : nearest(name, ['ORDERS_KEY']) }
      },
      seal: async (name, scope, scopeId, value, updatedBy) => {
        const facts = { name, scope, scopeId, keyId: 'k1', updatedAt: new Date(), updatedBy }
        sealed.set(`${name} ${scope} ${scopeId}`, { value, facts })
      },
      list: async () =>
        [...sealed.values()].map(({ value, facts }) => ({ ...facts, value }) as CredentialFacts),
      remove: async ({ name, scope, scopeId }) => sealed.delete(`${name} ${scope} ${scopeId}`),
    },
    events: { listEvents: (filter) => listEvents(store.db, filter) },
    doctor: [async () => ({ name: 'database', ok: true, detail: 'It answers.', cure: null })],
    doctorOf: ({ name }) => [
      async () => ({ name: 'person', ok: true, detail: `${name} is active`, cure: null }),
    ],
    ...overrides,
  })
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  return {
    store,
    access,
    adminKeys,
    key,
    url,
    alice,
    bob,
    stopped,
    tools,
    sealed,
    ask: asker(url, key),
    async [Symbol.asyncDispose]() {
      await server.close()
      await adminKeys[Symbol.asyncDispose]()
      await access[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

interface Operation {
  responses: Record<string, { content: { 'application/json': { schema: object } } }>
}

/** Sends a request and compares every answer with what the OpenAPI document promises. */
function asker(url: string, key: string) {
  const ajv = addFormats.default(new Ajv2020({ strict: false, allErrors: true }))
  const { paths } = openApiDocument() as { paths: Record<string, Record<string, Operation>> }
  return async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await fetch(`${url}/admin/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const answer = (await response.json()) as Record<string, unknown>
    const called = `/admin/v1${path.split('?')[0]}`
    const template = Object.keys(paths).find((candidate) =>
      new RegExp(`^${candidate.replace(/\{\w+\}/g, '[^/]+')}$`).test(called),
    )
    const operation = template === undefined ? undefined : paths[template]?.[method.toLowerCase()]
    if (operation === undefined) throw new Error(`${method} ${called} is not in the OpenAPI document`)
    const promised = operation.responses[response.status] ?? operation.responses.default
    if (response.ok && operation.responses[response.status] === undefined) {
      throw new Error(`${method} ${called} answered ${response.status}, which is not documented`)
    }
    if (promised === undefined || !ajv.validate(promised.content['application/json'].schema, answer)) {
      throw new Error(`${method} ${called}: ${ajv.errorsText()} in ${JSON.stringify(answer)}`)
    }
    return { status: response.status, body: answer, headers: response.headers }
  }
}

function runnerOf(principalId: PrincipalId, principalName: string): RunnerView {
  return {
    id: newId('run'),
    principalId,
    principalName,
    state: 'ready',
    phase: null,
    generation: 3,
    isolation: 'bubblewrap',
    holds: 0,
    lastActivityAt: new Date(),
    stateSince: new Date(),
    message: 'It is ready.',
  }
}

function toolOf(
  name: string,
  definitionDigest: string,
  acceptedDigest: string | null,
): Pick<ToolReview, keyof Tool | 'configured' | 'changes'> {
  return {
    alias: `sample_${name}`,
    sourceId: 'sample',
    remoteName: name,
    acceptedDigest,
    definition: { name, inputSchema: { type: 'object' } },
    definitionDigest,
    configured: true,
    available: true,
    enabled: true,
    changes: [],
  }
}
