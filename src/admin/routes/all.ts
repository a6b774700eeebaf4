import type { Route } from '../route.ts'
import { auditRoutes } from './audit.ts'
import { credentialRoutes } from './credentials.ts'
import { doctorRoutes } from './doctor.ts'
import { keyRoutes } from './keys.ts'
import { peopleRoutes } from './people.ts'
import { runnerRoutes } from './runners.ts'
import { tokenRoutes } from './tokens.ts'
import { toolRoutes } from './tools.ts'

/** Every route of the admin API; the server and the OpenAPI document are both made from this list. */
export const routes: readonly Route[] = [
  ...tokenRoutes,
  ...peopleRoutes,
  ...runnerRoutes,
  ...toolRoutes,
  ...credentialRoutes,
  ...auditRoutes,
  ...doctorRoutes,
  ...keyRoutes,
]
