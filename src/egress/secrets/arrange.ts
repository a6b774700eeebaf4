import type { CredentialUse } from '../../core/index.ts'
import type { ClientIdentity } from './client-identity.ts'
import { forwardedHeaders, identityFields } from './inject.ts'
import type { LiveForms } from './live-forms.ts'
import { type BodyForm, bodyForm, placeInBody } from './place-body.ts'
import { placeInHeader } from './place-header.ts'
import { placeInPairs, placeInPath, withoutTokenParameters } from './place-target.ts'
import type { Signer } from './sign/signer.ts'
import type { Bound, Placed, PlacementRefusal, StandIn } from './slot.ts'
import { copiesIn, readableHead } from './stand-ins.ts'

/** What a route has of credentials: what goes where, what must not come back, what may stand for what. */
export interface Arms {
  bound: readonly Bound[]
  forms: LiveForms | undefined
  /** An answer is being searched until what is returned is called, once. */
  searching: () => () => void
  /** Every placeholder that this source may hold; a copy that was not replaced is recorded. */
  standIns: readonly StandIn[]
  signer: Signer | undefined
  /** What is shown to an upstream in TLS. */
  identity: ClientIdentity | undefined
  /** Something of all this speaks for the caller, here or elsewhere at the host. */
  vouched: boolean
  /** An upstream said that it does not know who asks: what was minted for it is no longer good. */
  rejected: () => void
}

/** A request as it goes out, credentials and all: nothing of it may be shown, logged or recorded but `uses` and `inert`. */
export interface Arranged {
  headers: string[]
  /** The fields among them that carry a credential, in lower case. */
  secretFields: string[]
  path: string
  query: string
  /** The whole body in place of the caller's; undefined: the caller's, as it streams. */
  body: Buffer | undefined
  uses: CredentialUse[]
  /** Credentials whose placeholders stand in it unreplaced, as far as it was read. */
  inert: string[]
}

export type Arrangement =
  | { ok: true; arranged: Arranged }
  | { ok: false; reason: PlacementRefusal; credential: string }
type Failed = Extract<Arrangement, { ok: false }>

/** A request as the caller sent it. */
interface CallerRequest {
  rawHeaders: readonly string[]
  path: string
  query: string
  authority: string
}

/** Whether a credential, a signature or a certificate is added to the requests of this route. */
export function speaksForCaller({
  bound,
  signer,
  identity,
}: Pick<Arms, 'bound' | 'signer' | 'identity'>): boolean {
  return bound.length > 0 || signer !== undefined || identity !== undefined
}

/** How a body is written that a credential is put into; undefined: none is, and it may stream. */
export type BodyPlan = { ok: true; form: BodyForm | undefined } | Failed

const streams: BodyPlan = { ok: true, form: undefined }

/** What the head alone says about putting a credential into the body, before any of it is read. */
export function planBody(
  asked: Pick<CallerRequest, 'rawHeaders'> & { hasBody: boolean },
  { bound }: Pick<Arms, 'bound'>,
): BodyPlan {
  const inBody = bound.filter(({ slot }) => slot.kind === 'body')
  if (inBody.length === 0) return streams
  const needed = inBody.find(({ placeholder }) => placeholder === undefined)
  const credential = (needed ?? inBody[0])?.binding.credential
  if (credential === undefined) return streams
  if (!asked.hasBody)
    return needed === undefined ? streams : { ok: false, reason: 'slot_missing', credential }
  const form = bodyForm(asked.rawHeaders)
  return form.ok ? form : { ...form, credential }
}

/**
 * Puts every credential of a route into its slot of this request; nothing has been sent by then. `body` is the whole
 * of it where `planBody` named a form or the signature takes it, and everything else streams.
 */
export function arrange(
  asked: CallerRequest,
  arms: Pick<Arms, 'bound' | 'forms' | 'standIns' | 'signer' | 'identity'>,
  body: { bytes: Buffer; form: BodyForm | undefined } | undefined,
): Arrangement {
  const head = constantHead(asked, arms.bound) ?? placeInHead(asked, arms.bound)
  if (!head.ok) return head
  const placed =
    body?.form === undefined
      ? { ok: true as const, body: body?.bytes, used: [], readable: '' }
      : placeInBody(
          body.bytes,
          body.form,
          arms.bound.filter(({ slot }) => slot.kind === 'body'),
        )
  if (!placed.ok) return { ok: false, reason: placed.reason, credential: placed.bound.binding.credential }
  const used = placed.used.length === 0 ? head.used : [...head.used, ...placed.used]

  const spokenFor = speaksForCaller(arms)
  const texts = arms.standIns.length === 0 ? [] : [...readableHead(asked), placed.readable]
  const inert: string[] = []
  for (const { credential, text } of arms.standIns) {
    const copies = texts.reduce((sum, each) => sum + copiesIn(each, text), 0)
    const replaced = used.filter(({ placeholder }) => placeholder === text)
    const cap = Math.max(...replaced.map(({ binding }) => binding.at_most))
    // A second copy, where others can read what was sent, is how a placeholder would be traded for the secret.
    if (replaced.length > 0 && copies > cap) return { ok: false, reason: 'placeholder_repeated', credential }
    // Its client says who it is in another field than the rule has. That one is taken out, and nobody would ask.
    if (replaced.length === 0 && copies > 0 && spokenFor && isMisplaced(text, asked, arms.bound))
      return { ok: false, reason: 'placeholder_missing', credential }
    if (copies > replaced.length) inert.push(credential)
  }
  const headers = forwardedHeaders({
    rawHeaders: asked.rawHeaders,
    authority: asked.authority,
    searched: arms.forms !== undefined,
    bound: arms.bound,
    spokenFor,
    placed: head.headers,
  })
  const uses: CredentialUse[] = [
    ...used.map(({ binding }) => ({ credential: binding.credential, slot: binding.into })),
    ...(arms.signer?.credentials ?? []).map((credential) => ({ credential, slot: 'signature' })),
    ...(arms.identity === undefined
      ? []
      : [{ credential: arms.identity.credential, slot: 'client_certificate' }]),
  ]
  const { path, secretFields } = head
  const query = spokenFor ? withoutTokenParameters(head.query, arms.bound) : head.query
  return { ok: true, arranged: { headers, secretFields, path, query, body: placed.body, uses, inert } }
}

/** Whether the placeholder of one of these slots stands in a field that says who asks. */
function isMisplaced(text: string, asked: CallerRequest, bound: readonly Bound[]): boolean {
  if (!bound.some(({ placeholder }) => placeholder === text)) return false
  const told = readableHead({ rawHeaders: identityFields(asked.rawHeaders), path: '', query: '' })
  return told.some((value) => copiesIn(value, text) > 0)
}

/** The head with what a route puts into it; `secretFields` are the names among `headers`, in lower case. */
interface PlacedHead {
  ok: true
  headers: [string, string][]
  secretFields: string[]
  path: string
  query: string
  used: Bound[]
}

const constants = new WeakMap<readonly Bound[], Pick<PlacedHead, 'headers' | 'secretFields' | 'used'>>()

/** What most routes come to: fields that do not depend on the request, written once for all of them. */
function constantHead({ path, query }: CallerRequest, bound: readonly Bound[]): PlacedHead | undefined {
  let constant = constants.get(bound)
  if (constant === undefined) {
    const isConstant = bound.every(
      ({ slot, placeholder }) =>
        placeholder === undefined && (slot.kind === 'header' || slot.kind === 'basic'),
    )
    if (!isConstant) return undefined
    const placed = placeInHead({ rawHeaders: [], path: '/', query: '', authority: '' }, bound)
    if (!placed.ok) return undefined
    constant = placed
    constants.set(bound, constant)
  }
  const { headers, secretFields, used } = constant
  return { ok: true, headers, secretFields, path, query, used }
}

function placeInHead(asked: CallerRequest, bound: readonly Bound[]): PlacedHead | Failed {
  const headers: [string, string][] = []
  const used: Bound[] = []
  let { path } = asked
  let pairs = asked.query.slice(1)
  for (const each of bound) {
    const { slot } = each
    let placed: Placed<unknown>
    if (slot.kind === 'path') {
      const now = placeInPath(path, slot.segment, each)
      if (now.ok) path = now.now
      placed = now
    } else if (slot.kind === 'query') {
      const now = placeInPairs(pairs, slot.name, each)
      if (now.ok) pairs = now.now
      placed = now
    } else if (slot.kind === 'body') continue
    else {
      const now = placeInHeader(asked.rawHeaders, each)
      if (now.ok && now.now !== undefined) headers.push([now.now.name, now.now.value])
      placed = now
    }
    if (!placed.ok) return { ok: false, reason: placed.reason, credential: each.binding.credential }
    if (placed.used) used.push(each)
  }
  const query = pairs === '' && asked.query === '' ? '' : `?${pairs}`
  const secretFields = headers.map(([name]) => name.toLowerCase())
  return { ok: true, headers, secretFields, path, query, used }
}
