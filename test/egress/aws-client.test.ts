import { expect, test } from 'vitest'
import { Secret } from '../../src/core/index.ts'
import { rule } from '../support/egress-world.ts'
import { findPython } from '../support/machine.ts'
import { needing } from '../support/needs.ts'
import { host, makeClient } from '../support/program-client.ts'
import { whyNotSigned } from '../support/sigv4-verifier.ts'

test(
  'boto3 keeps objects of any key at what demands a signature by the real key',
  needing('python boto3'),
  async () => {
    const keys = { id: 'AKIAREALREALREAL', secret: 'real/secret+access/key=0123456789abcdef' }
    const objects = new Map<string | undefined, Buffer>()
    const refused: string[] = []
    await using client = await makeClient(() => (_req, res) => res.end())
    const s3 = await client.world.upstream((req, res) => {
      const chunks: Buffer[] = []
      req.on('data', (chunk: Buffer) => chunks.push(chunk))
      req.on('end', () => {
        const body = Buffer.concat(chunks)
        const why = whyNotSigned(req, body, keys)
        if (why !== undefined) refused.push(why)
        if (req.method === 'PUT') objects.set(req.url, body)
        res.writeHead(why === undefined ? 200 : 403).end(req.method === 'PUT' ? '' : objects.get(req.url))
      })
    })
    for (const [name, value] of [
      ['AWS_ID', keys.id],
      ['AWS_SECRET', keys.secret],
    ] as const)
      await client.world.vault.setCredential({
        name,
        scope: 'global',
        scopeId: '',
        value: new Secret(value),
        by: 'test',
      })
    const of = { kind: 'aws_sigv4', access_key_id: 'AWS_ID', secret_access_key: 'AWS_SECRET' }
    const sign = { ...of, regions: ['eu-central-1'], services: ['s3'] }
    await client.world.setRules([rule(host, s3.port, { methods: ['GET', 'PUT'], paths: ['/b'], sign })])
    // A program of its own; what it prints is its answer to this test.
    const program = `import boto3, sys
s3 = boto3.client('s3', region_name='eu-central-1', endpoint_url=sys.argv[1], aws_access_key_id='AKIAPLACEHOLDER', aws_secret_access_key='none')
for key in ['plain', 'a b+c', 'ü/=:~', '50% off', 'my%20file', 'a;b', 'logs//2026', '/first', 'a?b#c']:
    # Since 1.36 it sends a body in chunks of AWS's own, which this server keeps as they come.
    s3.put_object(Bucket='b', Key=key, Body=key.encode())
    print(key.encode() in s3.get_object(Bucket='b', Key=key)['Body'].read())`
    const said = await client.run(findPython('boto3') ?? '', ['-c', program, `https://${host}:${s3.port}`])
    expect([refused, said]).toEqual([[], 'True\n'.repeat(9)])
  },
)
