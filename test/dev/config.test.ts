import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { parseConfig, readConfig } from '../../src/config.ts'
import { writeEgressConfig } from '../../src/main-dev-config.ts'

test('the egress proxy of npm run dev has every setting that its configuration gives it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-dev-config-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const egress = {
    upstream_ca_files: ['own.pem', '/demo/demo-ca.pem'],
    refused_ranges: ['203.0.113.0/24'],
    metrics: { port: 9464 },
    limits: { requests: 7, idle_seconds: 11 },
  }
  const from = { environment: {}, baseDir: '/srv/mine', name: 'my.yaml' }
  const config = { ...parseConfig(JSON.stringify({ egress }), from), stateDir: folder }
  const written = readConfig({}, await writeEgressConfig(config, 'warn'))
  expect(written.stateDir).toBe(folder)
  expect(written.file.log_level).toBe('warn')
  expect(written.file.egress).toEqual({
    ...config.file.egress,
    upstream_ca_files: [resolve('/srv/mine/own.pem'), '/demo/demo-ca.pem'],
  })
})
