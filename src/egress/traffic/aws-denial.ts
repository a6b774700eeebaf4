import { isS3 } from '../../catalog/index.ts'
import { type Denial, denialSentence } from '../decision/denial.ts'
import type { Inbound } from '../inbound/inbound.ts'
import { headerValues } from '../request/head.ts'
import { type Asked, toldAs } from './asked.ts'

/**
 * A refusal as those services of AWS write their errors that do it in XML, S3 and what is asked by a form; undefined
 * for a request that is not signed for one of them. Of another body their SDKs say that it is no XML.
 */
export function awsError(
  inbound: Pick<Inbound, 'rawHeaders'>,
  denial: Denial,
  asked: Asked,
): string | undefined {
  const [authorization = ''] = headerValues(inbound.rawHeaders, 'authorization')
  const [, service] =
    /^AWS4-HMAC-SHA256 Credential=[^,\s]+\/([a-z0-9-]+)\/aws4_request/.exec(authorization) ?? []
  if (service === undefined) return undefined
  const message = escaped(denialSentence(denial, toldAs(asked)))
  const error = `<Error><Code>${denial.reason}</Code><Message>${message}</Message></Error>`
  const declaration = '<?xml version="1.0" encoding="UTF-8"?>\n'
  if (isS3(service)) return `${declaration}${error}\n`
  const [type = ''] = headerValues(inbound.rawHeaders, 'content-type')
  if (!/^application\/x-www-form-urlencoded(?:;|$)/i.test(type)) return undefined
  return `${declaration}<ErrorResponse>${error}</ErrorResponse>\n`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
