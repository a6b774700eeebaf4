import { expect, test } from 'vitest'
import { armed, deniedAs, host } from '../../support/armed.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead, theSecret } from '../../support/egress-world.ts'
import { answered, http2Client, pseudoHeaders, startHttp2Upstream } from '../../support/http2.ts'

/** Ways around a rule that names a path or a method. What reaches the upstream is what was matched, byte for byte. */

test('row 34: no disguise of a path leads out of its rule', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'), { paths: ['/v1'] })
  const socket = await world.tunnel(host, up.port)
  const disguises: [string, RegExp][] = [
    ['/v1/../admin', /path_ambiguous/],
    ['/v1/..', /path_ambiguous/],
    ['/v1/./../admin', /path_ambiguous/],
    ['/v1/%2e%2e/admin', /path_ambiguous/],
    ['/v1/.%2e/admin', /path_ambiguous/],
    ['/v1/%252e%252e/admin', /path_ambiguous/],
    ['/v1/%25252e%25252e/admin', /path_ambiguous/],
    ['/v1/..;/admin', /path_ambiguous/],
    ['/v1/..;x=y/admin', /path_ambiguous/],
    ['/v1/;/admin', /path_ambiguous/],
    ['/v1;a=b/x', /path_ambiguous/],
    ['/v1%3b/x', /path_ambiguous/],
    ['//v1', /path_ambiguous/],
    ['/v1//admin', /path_ambiguous/],
    ['/v1/..%2fadmin', /path_ambiguous/],
    ['/v1%2f..%2fadmin', /path_ambiguous/],
    ['/v1/..\\admin', /path_ambiguous|parse_error/],
    ['/v1/..%5cadmin', /path_ambiguous/],
    ['/v1/.', /path_ambiguous/],
    ['/v1/%c0%ae%c0%ae/admin', /path_ambiguous/],
    ['/v1/%e0%80%ae%e0%80%ae/admin', /path_ambiguous/],
    ['/v1/%uff0e%uff0e/admin', /path_malformed/],
    // Two full-width full stops, one sign for two of them, a full-width slash, and what Windows makes one of.
    ['/v1/%ef%bc%8e%ef%bc%8e/admin', /path_ambiguous/],
    ['/v1/.%ef%bc%8e/admin', /path_ambiguous/],
    ['/v1/%e2%80%a5/admin', /path_ambiguous/],
    ['/v1/..%ef%bc%8fadmin', /path_ambiguous/],
    ['/v1/..%ef%bc%bcadmin', /path_ambiguous/],
    ['/v1/..%e2%88%95admin', /path_ambiguous/],
    ['/v1/..%c2%a5admin', /path_ambiguous/],
    ['/v1%3f/../admin', /path_ambiguous/],
    ['/v1%3fx', /path_ambiguous/],
    ['/v1/a%3Fx', /path_ambiguous/],
    ['/v1%23/x', /path_ambiguous/],
    ['/v1%00/x', /path_ambiguous/],
    ['/v1%20', /path_not_allowed/],
    ['/v1%09', /path_ambiguous/],
    ['/V1/x', /path_not_allowed/],
    ['/v10', /path_not_allowed/],
    ['/v1.', /path_not_allowed/],
    ['/v', /path_not_allowed/],
    ['/', /path_not_allowed/],
    ['/%76%31%2f', /path_ambiguous/],
    ['/\xef\xbc\x8e/v1', /path_malformed|parse_error/],
    ['?/v1', /target_malformed|parse_error/],
    ['v1', /target_malformed|parse_error/],
  ]
  for (const [path, reason] of disguises) {
    const answer = await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, path))
    expect([path, deniedAs(answer)]).toEqual([path, expect.stringMatching(reason)])
  }
  expect(up.seen).toEqual([])
  // The same path in other letters is one path, matched and sent in one spelling.
  for (const path of ['/v1', '/v1/', '/%761/x', '/v1/%7Ea', '/v1/a%2Cb?q=/../admin']) {
    expect(await sayAndRead(socket, request(host, up.port, path))).toContain('200 OK')
  }
  expect(up.seen.map((seen) => seen.url)).toEqual(['/v1', '/v1/', '/v1/x', '/v1/~a', '/v1/a%2Cb?q=/../admin'])
})

test('row 34: an encoded slash passes where it leads to the same rule as a slash, and nowhere else', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([
    rule(host, up.port, { paths: ['/v1'] }),
    rule(host, up.port, { paths: ['/v1/keys'], inject: injectBearer }),
  ])
  const ask = async (path: string) =>
    await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, path))
  const refused = [
    '/v1%2fa',
    '/v1/keys%2fa',
    '/v1/keys%2f',
    '/v1%2fkeys/a',
    '/v1%2fkeys%2fa',
    '/v1/a%2f..%2fkeys',
  ]
  refused.push('/v1/a%2f/keys', '/v1/%2fkeys', '/v1/a%252fb', '/v1/a%2f..;/keys', '/v1/a%2f%5c..')
  for (const path of refused) expect([path, deniedAs(await ask(path))]).toEqual([path, 'path_ambiguous'])
  expect(deniedAs(await ask('/a%2fb'))).toBe('path_not_allowed')
  expect(up.seen).toEqual([])
  for (const path of ['/v1/@types%2fnode', '/v1/a%2Fb%2Fc?q=%2f', '/v1/keys/a%2Fb'])
    expect(await ask(path)).toContain('200 OK')
  expect(up.seen.map((seen) => seen.url)).toEqual([
    '/v1/@types%2Fnode',
    '/v1/a%2Fb%2Fc?q=%2f',
    '/v1/keys/a%2Fb',
  ])
  const withCredential = up.seen.map(({ rawHeaders }) => rawHeaders.includes(`Bearer ${theSecret}`))
  expect(withCredential).toEqual([false, false, true])
})

test('row 34: headers by which a server takes another method or path for the one that was judged are refused', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  const headers = [
    'X-HTTP-Method-Override: DELETE',
    'X-HTTP-Method: DELETE',
    'X-Method-Override: DELETE',
    'X_HTTP_METHOD_OVERRIDE: DELETE',
    'X.HTTP.Method.Override: DELETE',
    'X!Http~Method: DELETE',
  ]
  headers.push(
    'X-Original-URL: /admin',
    'X-Rewrite-URL: /admin',
    'X-Original-URI: /admin',
    'X_Rewrite_Url: /admin',
    'X-Override-URL: /admin',
    'X-Envoy-Original-Dst-Host: 10.0.0.1:80',
  )
  headers.push('X-Forwarded-Host: evil.example.com', 'X-Host: evil.example.com', 'X-Forwarded-Uri: /admin')
  headers.push(
    'Forwarded: host=evil.example.com',
    'Forwarded: for=10.0.0.1;proto=https; Host="evil.example.com"',
    'forwarded: for=10.0.0.1, for=10.0.0.2 ; HOST = evil.example.com',
    'SCRIPT_NAME: /v1',
    'PATH_INFO: /admin',
    'X-Script-Name: /v1',
    'X-Forwarded-Prefix: /v1',
    'X-Forwarded-Method: DELETE',
    'X-Original-Method: DELETE',
    'X-Original-Path: /admin',
    'X-Rewrite-URI: /admin',
    'X-Forwarded-Path: /admin',
    'X-Envoy-Original-Path: /admin',
    'X-Original-Host: evil.example.com',
    'X-HTTP-Host-Override: evil.example.com',
    'X-Forwarded-Server: evil.example.com',
  )
  for (const header of headers)
    expect([header, deniedAs(await say('/', [header]))]).toEqual([header, 'override_forbidden'])
  expect(up.seen).toEqual([])
})

test('row 34: no field goes on that programs of CGI take for the proxy which they are to use', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  for (const name of ['Proxy', 'PROXY', 'proxy'])
    expect(await say('/', [`${name}: http://evil.example.com:3128`])).toContain('200 OK')
  expect(up.seen.map(({ rawHeaders }) => rawHeaders.join()).join()).not.toContain('evil')
})

test('row 34: the headers of that kind do not pass as trailers either, by HTTP/1.1 nor by HTTP/2', async () => {
  await using world = await makeWorld()
  const trailers: string[] = []
  const up = await world.upstream((req, res) => {
    req.resume()
    req.on('end', () => {
      trailers.push(...req.rawTrailers)
      res.end('ok')
    })
  })
  await world.setRules([rule(host, up.port)])
  const late = {
    'x-http-method-override': 'DELETE',
    'x-original-url': '/admin',
    'x-forwarded-host': 'evil.example.com',
    x_http_method: 'PUT',
    'x.rewrite.url': '/admin',
    'x-forwarded-method': 'DELETE',
    forwarded: 'host=evil.example.com',
    cookie: 'session=1',
    'access-control-allow-origin': '*',
    authorization: 'Bearer late',
    'content-type': 'text/late',
    'if-match': '"late"',
    location: '/late',
    'set-cookie': 'late=1',
    'proxy-late': '1',
    proxy: 'http://evil.example.com:3128',
    'x-checksum': 'kept',
  }
  const head = request(host, up.port, '/', ['Transfer-Encoding: chunked'], 'POST')
  const lines = Object.entries(late).map(([name, value]) => `${name}: ${value}\r\n`)
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, `${head}0\r\n${lines.join('')}\r\n`)).toContain('200 OK')
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const pseudo = Object.fromEntries(pseudoHeaders(host, up.port, 'POST'))
  const stream = client.request(pseudo, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers(late))
  stream.end('x')
  expect(await answered(stream)).toMatchObject({ status: 200, body: 'ok' })
  client.destroy()
  expect(trailers).toEqual(['x-checksum', 'kept', 'x-checksum', 'kept'])
})

test('row 34: of the trailers that a request announces those stay announced that are passed on', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200 })
    stream.resume().on('end', () => stream.end('ok'))
  })
  const announced = ['Trailer: X-Checksum, Cookie, X_Http_Method,x-late', 'Trailer: a b', 'Trailer: Host']
  const ask = async (more: string[] = []) => {
    const lines = ['Transfer-Encoding: chunked', ...announced, ...more]
    const socket = await world.tunnel(host, up.port)
    const text = `${request(host, up.port, '/', lines, 'POST')}0\r\nX-Checksum: 7\r\n\r\n`
    expect(await sayAndRead(socket, text)).toContain('200 OK')
    return up.seen.at(-1)
  }
  await world.setRules([rule(host, up.port)])
  expect(await ask()).toHaveProperty('trailer', 'X-Checksum, x-late')
  expect(await ask(['Connection: Trailer'])).not.toHaveProperty('trailer')
  // Beside a credential none is passed on.
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  expect(await ask()).not.toHaveProperty('trailer')
})

test('row 34: a query by which a framework takes another method for the one that was judged is refused', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  const overrides = [
    '_method=DELETE',
    '_method=delete',
    '_METHOD=DELETE',
    '_Method=Delete',
    '%5Fmethod=DELETE',
    '%5f%4d%65thod=DELETE',
    '_method=%44ELETE',
    '_method=+DELETE',
    '_method[]=DELETE',
    '_method%5B0%5D=DELETE',
    '.method=DELETE',
    '%2Emethod=DELETE',
    '_method%00=DELETE',
    '_method%00x=DELETE',
    '[_method]=DELETE',
    '%5B_method%5d=DELETE',
    '[[_method]]=DELETE',
    ']_method=DELETE',
    '+[_method=DELETE',
    '_method[=DELETE',
    '%u005fmethod=DELETE',
    '_%u006dethod=DELETE',
    'a=b&_method=PUT',
    'a=b;_method=PUT',
    '_method=GET&_method=DELETE',
    '_method=%FFDELETE',
    '%zz&_method=PATCH',
    // Salesforce, Google, Struts and ServiceStack.
    '_HttpMethod=PATCH',
    '%5fHttpMethod=DELETE',
    '$httpMethod=DELETE',
    '%24httpMethod=DELETE',
    '_http_method=DELETE',
    'X-Http-Method-Override=DELETE',
    'x-method-override=DELETE',
    '$httpHeaders=X-HTTP-Method-Override:DELETE',
    'a=b&%24HttpHeaders=Authorization%3ABearer%20mine',
  ]
  for (const query of overrides)
    expect([query, deniedAs(await say(`/?${query}`))]).toEqual([query, 'override_forbidden'])
  expect(deniedAs(await say('/?_method=GET', [], 'POST'))).toBe('override_forbidden')
  expect(up.seen).toEqual([])
  for (const query of [
    '_method=GET',
    '_method=get',
    '_method=',
    '_method',
    'method=GET',
    'a[_method]=DELETE',
    'q=_method%3DDELETE',
  ])
    expect([query, await say(`/?${query}`)]).toEqual([query, expect.stringContaining('200 OK')])
  expect(up.seen).toHaveLength(7)
})

test('row 34: a method in the query, which Facebook obeys and most take for data, must be one of the same rule’s', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([
    rule(host, up.port, { methods: ['GET'], inject: injectBearer }),
    rule(host, up.port, { methods: ['GET', 'POST'], paths: ['/search'] }),
    rule(host, up.port, { methods: ['DELETE'], paths: ['/search/kept'] }),
  ])
  const say = async (path: string, method = 'GET') =>
    await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, path, [], method))
  for (const path of [
    '/me/feed?method=post',
    '/me?method=delete',
    '/me?METHOD=DELETE',
    '/me?%6dethod=%44elete',
    '/me?method[]=DELETE',
    '/me?method=get&method=delete',
    '/me?a=b;method=PUT',
    '/search?method=DELETE',
    // Another rule allows it, with another credential perhaps.
    '/search/kept?method=DELETE',
  ])
    expect([path, deniedAs(await say(path))]).toEqual([path, 'override_forbidden'])
  expect(up.seen).toEqual([])
  const [event] = await world.events('egress.denied')
  expect(event?.data).toMatchObject({ reason: 'override_forbidden', rule: 'egress[0]' })
  const passing = [
    '/me?method=get',
    '/me?method=flickr.photos.search',
    '/me?a[method]=DELETE',
    '/me?methods=DELETE',
    '/search?method=POST',
    '/search/kept?method=post',
  ]
  for (const path of passing)
    expect([path, await say(path)]).toEqual([path, expect.stringContaining('200 OK')])
  expect(await say('/search?method=get', 'POST')).toContain('200 OK')
  expect(up.seen.map(({ url }) => url)).toEqual([...passing, '/search?method=get'])
})

test('row 35: an allowed host that relays for others is held to the method and path that its rule names', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([
    rule(host, up.port, { methods: ['GET'], paths: ['/our-account/our-repository'], inject: injectBearer }),
  ])
  const say = async (method: string, path: string) =>
    deniedAs(
      await sayAndRead(
        await world.tunnel(host, up.port),
        request(host, up.port, path, ['Connection: close'], method),
      ),
    )
  expect(await say('GET', '/somebody-else/paste')).toBe('path_not_allowed')
  expect(await say('GET', '/our-account/our-repository2')).toBe('path_not_allowed')
  expect(await say('GET', '/')).toBe('path_not_allowed')
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']) {
    expect(await say(method, '/our-account/our-repository/files')).toBe('method_not_allowed')
  }
  expect(up.seen).toEqual([])
  // The query is not matched: a host that fetches what a query names must not be allowed on that path.
  expect(await say('GET', '/our-account/our-repository/fetch?url=http://169.254.169.254/')).toBe('')
  expect(up.seen.map((seen) => seen.url)).toEqual([
    '/our-account/our-repository/fetch?url=http://169.254.169.254/',
  ])
  expect((await world.events('egress.allowed'))[0]?.data['path']).toBe('/our-account/our-repository/fetch')
  expect(world.logged()).not.toContain(theSecret)
})
