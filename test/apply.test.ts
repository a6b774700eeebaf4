import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { expect, inject, onTestFinished, test } from 'vitest'
import { applyAtStart, applyConfig } from '../src/app-apply.ts'
import { createCatalog } from '../src/catalog/index.ts'
import { parseConfig } from '../src/config.ts'
import { silentLog } from '../src/core/index.ts'
import { generateAuthority } from '../src/egress/keys/authority.ts'
import { createLeaves, importAuthority } from '../src/egress/keys/certificates.ts'
import { apply, checkConfig } from '../src/main-database.ts'
import { testStore } from './support/database.ts'
import { startUpstream } from './support/upstream.ts'

const read = (text: string | undefined) =>
  parseConfig(text, { environment: {}, baseDir: '/srv', name: '/srv/toolcrib.yaml' })

test('a configuration is not applied to a database that was not migrated, and the cure is named', async () => {
  const environment = { DATABASE_URL: inject('databaseUrl') }
  const config = parseConfig('sources: {}', { environment, baseDir: '/nowhere', name: 'toolcrib.yaml' })
  await expect(apply(config, silentLog)).rejects.toThrow(
    /^the database is older than this version \(0001-init.*\); run `toolcrib migrate` first$/,
  )
})

test('every file of certificate authorities that is not there, holds none, or is damaged is told, beside all else', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'toolcrib-apply-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const good = (await generateAuthority(Date.now())).certificatePem
  await writeFile(join(dir, 'good.pem'), `# two of them\n${good}${good}`)
  await writeFile(join(dir, 'key.pem'), '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n')
  await writeFile(join(dir, 'cut.pem'), good.replace(/\n.*\n.*\n/, '\n'))
  const check = (files: string[], more: object = {}) => {
    const text = JSON.stringify({ egress: { upstream_ca_files: files }, ...more })
    const from = { environment: {}, baseDir: dir, name: 'toolcrib.yaml' }
    return checkConfig(parseConfig(text, { ...from, withUpstreamCas: true }))
  }
  expect(check(['good.pem'])).toBe(
    'the configuration is valid; it has no `sources`, so it cannot be applied where the database has some\n',
  )
  const place = '  - egress.upstream_ca_files:'
  expect(() => check(['good.pem', 'none.pem', 'key.pem', 'cut.pem'], { listn: 1 })).toThrow(
    [
      'toolcrib.yaml cannot be used:',
      '  - top level: unknown key "listn"; toolcrib.example.yaml lists every key',
      `${place} ${dir}/none.pem cannot be read (ENOENT); name a readable file, from the folder of the configuration`,
      `${place} ${dir}/key.pem holds no certificate; it is to hold one or more in PEM`,
      `${place} ${dir}/cut.pem holds a certificate that is damaged; get it anew`,
    ].join('\n'),
  )
})

test('what is read of a file of certificate authorities is what TLS trusts, and what it would pass over is told', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'toolcrib-apply-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const { certificatePem: good, keyPem } = await generateAuthority(Date.now())
  const authority = await importAuthority(good, keyPem)
  const leaves = await createLeaves({ authority, now: () => Date.now(), cacheSize: 5 })
  await using upstream = await startUpstream(
    (_request, response) => response.end(),
    'https',
    (name) => leaves.contextFor(name),
  )
  const socket = connect({ port: upstream.port, servername: 'a.example.com', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const leaf = socket.getPeerX509Certificate()?.toString() ?? ''
  socket.destroy()
  await writeFile(join(dir, 'noted.pem'), `of the company: ${good}`)
  await writeFile(join(dir, 'cut.pem'), `${good.slice(0, 200)}\n${good}`)
  await writeFile(join(dir, 'leaf.pem'), leaf)
  const read = (file: string) =>
    parseConfig(JSON.stringify({ egress: { upstream_ca_files: [file] } }), {
      environment: {},
      baseDir: dir,
      name: 'toolcrib.yaml',
      withUpstreamCas: true,
    }).upstreamCas
  const ca = read('noted.pem')
  const trusting = connect({ port: upstream.port, servername: 'a.example.com', ca })
  await once(trusting, 'secureConnect')
  trusting.destroy()
  expect(() => read('cut.pem')).toThrow(`${dir}/cut.pem holds a certificate that is damaged; get it anew`)
  expect(() => read('leaf.pem')).toThrow(
    `${dir}/leaf.pem holds a certificate that is no authority's; name a file with that of the authority which signed it`,
  )
})

test('nothing is applied or called valid where no configuration is written, and the sentence says where it looked', async () => {
  const cure =
    'name yours by --config or TOOLCRIB_CONFIG, or write `sources: {}` there to remove every source, toolkit and rule'
  for (const [text, what] of [
    [undefined, 'there is no configuration file /srv/toolcrib.yaml'],
    ['', 'nothing is set in the configuration /srv/toolcrib.yaml'],
    ['# sources:\n', 'nothing is set in the configuration /srv/toolcrib.yaml'],
    ['{}', 'nothing is set in the configuration /srv/toolcrib.yaml'],
  ] as const) {
    await expect(apply(read(text), silentLog)).rejects.toThrow(`${what}; ${cure}`)
    expect(() => checkConfig(read(text))).toThrow(`${what}; ${cure}`)
  }
  expect(checkConfig(read('sources: {}'))).toBe('the configuration is valid\n')
})

test('a gateway that starts where no configuration is written removes nothing, and one told to removes all', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await applyConfig(catalog, read('sources: { orders: { kind: stdio, command: x } }'), 'test')
  for (const text of [undefined, '']) await applyAtStart(catalog, read(text), silentLog)
  expect((await catalog.latest()).sources.get('orders')?.enabled).toBe(true)
  await applyAtStart(catalog, read('sources: {}'), silentLog)
  expect((await catalog.latest()).sources.get('orders')?.enabled).toBe(false)
})

test('a configuration without `sources` removes none: it is refused with their names, and a gateway starts with those it has', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const enabled = async () =>
    [...(await catalog.latest()).sources.values()].filter((source) => source.enabled).map(({ id }) => id)
  const two = 'sources: { orders: { kind: stdio, command: x }, zoo: { kind: stdio, command: x } }'
  expect(await applyConfig(catalog, read(two), 'test')).toEqual({ changed: true, removed: [] })
  const without = read('listen: { port: 7500 }')
  await expect(applyConfig(catalog, without, 'test')).rejects.toThrow(
    'the configuration /srv/toolcrib.yaml has no `sources`, and would remove orders, zoo; name yours by --config or TOOLCRIB_CONFIG, or write `sources: {}` there to remove every source',
  )
  await applyAtStart(catalog, without, silentLog)
  expect(await enabled()).toEqual(['orders', 'zoo'])
  const one = 'sources: { orders: { kind: stdio, command: x } }'
  expect(await applyConfig(catalog, read(one), 'test')).toEqual({ changed: true, removed: ['zoo'] })
  expect(await applyConfig(catalog, read('sources: {}'), 'test')).toEqual({
    changed: true,
    removed: ['orders'],
  })
  expect(await applyConfig(catalog, without, 'test')).toEqual({ changed: false, removed: [] })
  expect(await enabled()).toEqual([])
})

test('a gateway does not start with rules that it would leave out', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await applyConfig(catalog, read('sources: { orders: { kind: stdio, command: x } }'), 'test')
  const config = read('policy: { rules: [{ tools: orders.*, do: block }] }')
  await expect(applyAtStart(catalog, config, silentLog)).rejects.toThrow('rules that can match nothing')
})

test('applying says which sources it removes', async () => {
  await using store = await testStore()
  const readFor = (text: string) =>
    parseConfig(text, {
      environment: { DATABASE_URL: store.url },
      baseDir: '/srv',
      name: '/srv/toolcrib.yaml',
    })
  await apply(readFor('sources: { orders: { kind: stdio, command: x } }'), silentLog)
  expect(await apply(readFor('sources: {}'), silentLog)).toBe(
    'applied; removed orders, whose tools nobody can call now; every gateway follows on its next request\n',
  )
})

test('a check refuses the patterns of unknown sources, as applying does', () => {
  const text =
    'sources: { orders: { kind: stdio, command: x } }\npolicy: { rules: [{ tools: nosuch.*, do: block }, { tools: orders.any, do: block }] }\ntoolkits: { k: { title: K, tools: [zip.*] } }'
  expect(() => checkConfig(read(text))).toThrow(
    [
      'the configuration has rules that can match nothing:',
      '  - rules[0].tools: "nosuch.*" matches nothing: there is no source "nosuch"; sources: orders',
      '  - toolkits.k.tools[0]: "zip.*" matches nothing: there is no source "zip"; sources: orders',
    ].join('\n'),
  )
})

test('patterns of unknown sources are told beside whatever else is wrong', () => {
  const text = `
    listn: 1
    sources: { orders: { kind: stdio, comand: x } }
    policy: { rules: [{ tools: 3, do: block }, { tools: nosuch.*, do: blok }, { tools: orders.*, do: block }] }
    toolkits: { k: { tools: [zip.*] }, l: 1 }`
  let told = ''
  try {
    read(text)
  } catch (error) {
    told = (error as Error).message
  }
  const lines = told.split('\n')
  expect(lines[0]).toBe('/srv/toolcrib.yaml cannot be used:')
  expect(lines.slice(1).filter((line) => line.includes('matches nothing'))).toEqual([
    '  - rules[1].tools: "nosuch.*" matches nothing: there is no source "nosuch"; sources: orders',
    '  - toolkits.k.tools[0]: "zip.*" matches nothing: there is no source "zip"; sources: orders',
  ])
  for (const other of ['listn', 'comand', 'policy.rules.0.tools', 'policy.rules.1.do', 'toolkits.k.title'])
    expect(told).toContain(other)
})
