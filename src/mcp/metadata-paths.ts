import type { HttpServer } from '../http/index.ts'

/**
 * Where clients look for OAuth. There is none: a token comes from Slack. Clients read these answers as JSON
 * whatever their type, and take a challenge or a page for a reason to start a sign-in, so every path answers
 * the same small 404 without asking who calls.
 */
export function serveMetadataPaths(server: HttpServer, tokenHelp: string): void {
  const body = {
    error: 'not_found',
    error_description: `This server has no OAuth; it takes a bearer token in the Authorization header. ${tokenHelp}`,
  }
  void server.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, parsed) => {
      payload.resume()
      parsed(null)
    })
    for (const url of ['/.well-known', '/.well-known/*', '/register'])
      scope.all(url, (_request, reply) => reply.status(404).send(body))
    done()
  })
}
