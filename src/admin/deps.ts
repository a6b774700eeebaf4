import type { Access, AdminKeys, Principal } from '../access/index.ts'
import type { Tool, ToolReview } from '../catalog/index.ts'
import type { Log, Secret } from '../core/index.ts'
import type { Runners } from '../runners/index.ts'
import type { EventFilter, StoredEvent } from '../store/index.ts'

/** Whom a credential is for: everybody, a profile, or one principal; `scopeId` is `''` for `global`. */
export interface CredentialPlace {
  name: string
  scope: 'global' | 'profile' | 'principal'
  scopeId: string
}

/** What can be said about a credential without its value. */
export interface CredentialFacts extends CredentialPlace {
  keyId: string
  updatedAt: Date
  updatedBy: string
}

/** Who would read a credential, by the enabled sources as they are applied. */
export interface CredentialProspect {
  /** Ids of the sources that read a credential of this name. */
  readBy: string[]
  /** Names that sources read and that come close; empty where one reads this very name. */
  near: string[]
}

/** One thing that a person would check by hand. */
export interface Check {
  name: string
  ok: boolean
  /** What was found, in one sentence. */
  detail: string
  /** What to do when it is not ok. */
  cure: string | null
}

/** What the admin API needs of the other rooms; `app.ts` hands it over. */
export interface AdminDeps {
  access: Pick<
    Access,
    | 'deactivate'
    | 'ensurePrincipal'
    | 'findToken'
    | 'issue'
    | 'list'
    | 'listPrincipals'
    | 'reactivate'
    | 'revoke'
    | 'revokeAll'
    | 'rotate'
  >
  adminKeys: Pick<AdminKeys, 'create' | 'list' | 'revoke' | 'verify'>
  runners: Pick<Runners, 'list' | 'stop'>
  catalog: {
    listTools(): Promise<Pick<ToolReview, keyof Tool | 'configured' | 'changes'>[]>
    /** Makes this very definition callable; `conflict` when discovery has found another one since. */
    acceptTool(alias: string, definitionDigest: string, by: string): Promise<void>
    setToolEnabled(alias: string, enabled: boolean, by: string): Promise<void>
  }
  credentials: {
    /** What is known of such a credential before its value; throws what `seal` would throw whatever the value is. */
    lookAt(place: CredentialPlace): Promise<CredentialProspect>
    /** Seals and stores; nobody on this side can read it back. */
    seal(
      name: string,
      scope: CredentialPlace['scope'],
      scopeId: string,
      value: Secret,
      by: string,
    ): Promise<void>
    list(): Promise<CredentialFacts[]>
    /** False when there was none. */
    remove(place: CredentialPlace, by: string): Promise<boolean>
  }
  events: { listEvents(filter: EventFilter): Promise<StoredEvent[]> }
  doctor: readonly (() => Promise<Check>)[]
  /** The same about one person: why their sandbox is as it is, and what else they would ask. */
  doctorOf(person: Principal): readonly (() => Promise<Check>)[]
  log: Log
}
