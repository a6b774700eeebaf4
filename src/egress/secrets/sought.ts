import type { Binding } from '../../catalog/index.ts'
import type { Sought } from './live-forms.ts'
import { readings } from './readings.ts'
import type { Value } from './values.ts'

/** What answers are searched for because of a credential in its slot. */
export function soughtIn(binding: Binding, value: Value): Sought {
  const { into, format, credential } = binding
  const texts = [value.secret.reveal(), ...value.former].flatMap((each) => readings(binding, each))
  return { of: `${into} ${format} ${credential}`, key: value.key, texts }
}

/** The same of one that goes to the host without a slot: beside a signature, or to a token endpoint. */
export function soughtBeside(credential: string, value: Value): Sought {
  const secret = value.secret.reveal()
  // RFC 6749 section 2.3.1: in a Basic header to a token endpoint it is form-encoded first.
  const encoded = new URLSearchParams({ '': secret }).toString().slice(1)
  const texts = [...new Set([secret, encoded, ...value.former])]
  return { of: `alongside ${credential}`, key: value.key, texts }
}
