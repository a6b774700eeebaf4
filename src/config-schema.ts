import { z } from 'zod'
import { addressRange, slug, sourceSpec } from './catalog/index.ts'
import { parseDuration } from './core/index.ts'

const span = 'write a whole number and m, h or d, such as 30m, 12h or 7d'
const duration = z.string({ error: span }).transform((text, context) => {
  try {
    return parseDuration(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : 'is no duration' })
    return z.NEVER
  }
})
const section = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject(shape).prefault({} as never)
/** What a sandbox has of its own; the machine's in its place, or around it, would take it away. */
const ownPaths = [
  '/dev',
  '/etc',
  '/home/crib',
  '/opt/node',
  '/opt/toolcrib',
  '/proc',
  '/run/toolcrib',
  '/tmp',
]

const shownPath = z
  .string()
  .regex(/^(?:\/[^/]+)+$/, 'write an absolute path without a slash at its end, such as /opt/tools')
  .refine((path) => !ownPaths.some((own) => own === path || own.startsWith(`${path}/`)), {
    error: ({ input }) =>
      `a sandbox has its own ${String(input)} or something below it; name the folders in it that tools need`,
  })

/** What has a name that people type; a bad name hides nothing of what stands below it. */
const named = <Value extends z.ZodType>(value: Value) =>
  z.record(z.string(), value).superRefine(
    (entries, context) => {
      for (const name of Object.keys(entries))
        for (const { message } of slug.safeParse(name).error?.issues ?? [])
          context.addIssue({ code: 'custom', path: [name], message })
    },
    { when: ({ value: entries }) => entries !== null && typeof entries === 'object' },
  )

const count = z.number().int().min(1).max(1_000_000_000)
const port = z.number().int().min(0).max(65535)

/**
 * `toolcrib.yaml`, whole. Strict everywhere: an unknown key is an error, never ignored. `toolcrib.example.yaml`
 * shows every key with its default and why, and a test compares the two.
 */
export const configFile = z.strictObject({
  public_url: z
    .url({
      protocol: /^https?$/,
      error: 'write the whole address, such as https://crib.example.com',
    })
    .optional(),
  listen: section({
    host: z.string().default('127.0.0.1'),
    port: port.default(7400),
    drain_seconds: z.number().int().min(0).max(3600).default(30),
  }),
  state_dir: z.string().default('.toolcrib'),
  log_level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  database: section({ pool_size: z.number().int().min(2).max(200).default(10) }),
  replicas: section({ dead_after_seconds: z.number().int().min(5).max(600).default(45) }),
  tokens: section({ default_lifetime: duration.prefault('7d'), max_lifetime: duration.prefault('30d') }),
  mcp: section({
    server_name: z
      .string()
      .regex(/^[a-z0-9]{1,12}$/, 'use 1-12 of a-z and 0-9: clients put it before every tool name')
      .default('crib'),
    allowed_hosts: z.array(z.string()).default([]),
    allowed_origins: z.array(z.string()).default([]),
    trusted_proxies: z.array(z.string()).default([]),
    body_limit_bytes: z
      .number()
      .int()
      .min(1024)
      .default(4 * 1024 * 1024),
    heartbeat_seconds: z.number().int().min(1).max(30).default(15),
  }),
  sandbox: section({
    isolation: z.enum(['auto', 'bubblewrap', 'unshare', 'none']).default('auto'),
    memory_mb: z.number().int().min(256).default(1024),
    processes: z.number().int().min(32).default(256),
    open_files: z.number().int().min(64).default(1024),
    parallel_calls: z.number().int().min(1).max(64).default(4),
    queued_calls: z.number().int().min(0).max(1024).default(16),
    idle_stop: duration.prefault('30m'),
    max_age: duration.prefault('7d'),
    max_age_grace: duration.prefault('24h'),
    start_deadline_seconds: z.number().int().min(5).max(140).default(60),
    read_only_paths: z.array(shownPath).default([]),
  }),
  egress: section({
    upstream_ca_files: z.array(z.string()).default([]),
    refused_ranges: z.array(addressRange).default([]),
    metrics: section({ host: z.string().default('127.0.0.1'), port: port.nullable().default(null) }),
    limits: section({
      requests: count.default(128),
      requests_total: count.default(2_000),
      tunnels: count.default(256),
      tunnels_total: count.default(4_000),
      requests_per_minute: count.default(12_000),
      requests_per_minute_total: count.default(120_000),
      sent_mib_per_hour: count.default(4_096),
      sent_mib_per_hour_total: count.default(65_536),
      idle_seconds: count.default(300),
      tunnel_idle_seconds: count.default(60),
    }),
  }),
  sources: named(sourceSpec).default({}),
  toolkits: named(
    z.strictObject({ title: z.string().min(1).max(80), tools: z.array(z.string()).min(1) }),
  ).default({}),
  policy: section({
    rules: z
      .array(
        z.strictObject({
          tools: z.string(),
          do: z.enum(['allow', 'block']),
          reason: z.string().max(200).optional(),
        }),
      )
      .default([]),
  }),
})
export type ConfigFile = z.infer<typeof configFile>
