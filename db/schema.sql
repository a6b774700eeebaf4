-- Dumped from the migrations by `npm run schema`; compared in test/store/schema.test.ts.

CREATE TABLE admin_keys (
  id text NOT NULL,
  name text NOT NULL,
  key_sha256 text NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  revoked_at timestamp with time zone,
  last_used_at timestamp with time zone,
  CONSTRAINT admin_keys_pkey PRIMARY KEY (id),
  CONSTRAINT admin_keys_key_sha256_key UNIQUE (key_sha256)
);

CREATE TABLE calls (
  id text NOT NULL,
  principal_id text NOT NULL,
  token_id text NOT NULL,
  toolkit text,
  alias text NOT NULL,
  source_id text,
  tool text,
  definition_digest text,
  arguments_digest text NOT NULL,
  idempotency_key text,
  rule text NOT NULL,
  client text,
  replica_id text NOT NULL,
  runner_id text,
  generation bigint,
  state text NOT NULL,
  outcome text,
  code text,
  started_at timestamp with time zone NOT NULL DEFAULT now(),
  finished_at timestamp with time zone,
  CONSTRAINT calls_check CHECK (((state = 'finished'::text) = (outcome IS NOT NULL))),
  CONSTRAINT calls_outcome_check CHECK ((outcome = ANY (ARRAY['ok'::text, 'tool_error'::text, 'denied'::text, 'failed'::text, 'expired'::text, 'cancelled'::text, 'unknown'::text]))),
  CONSTRAINT calls_state_check CHECK ((state = ANY (ARRAY['running'::text, 'finished'::text]))),
  CONSTRAINT calls_pkey PRIMARY KEY (id)
);

CREATE TABLE catalog_state (
  singleton boolean NOT NULL DEFAULT true,
  version bigint NOT NULL DEFAULT 1,
  config_digest text,
  CONSTRAINT catalog_state_singleton_check CHECK (singleton),
  CONSTRAINT catalog_state_pkey PRIMARY KEY (singleton)
);

CREATE TABLE credentials (
  id text NOT NULL,
  name text NOT NULL,
  scope text NOT NULL,
  scope_id text NOT NULL DEFAULT ''::text,
  key_id text NOT NULL,
  sealed text NOT NULL,
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  updated_by text NOT NULL,
  version integer NOT NULL DEFAULT 1,
  CONSTRAINT credentials_check CHECK (((scope = 'global'::text) = (scope_id = ''::text))),
  CONSTRAINT credentials_name_check CHECK ((name ~ '^[A-Z][A-Z0-9_]*$'::text)),
  CONSTRAINT credentials_scope_check CHECK ((scope = ANY (ARRAY['global'::text, 'profile'::text, 'principal'::text]))),
  CONSTRAINT credentials_key_id_fkey FOREIGN KEY (key_id) REFERENCES egress_keys(id),
  CONSTRAINT credentials_pkey PRIMARY KEY (id),
  CONSTRAINT credentials_name_scope_scope_id_key UNIQUE (name, scope, scope_id)
);

CREATE TABLE egress_cas (
  id text NOT NULL,
  certificate text NOT NULL,
  trusted_since timestamp with time zone NOT NULL DEFAULT now(),
  signs_since timestamp with time zone,
  CONSTRAINT egress_cas_pkey PRIMARY KEY (id)
);

CREATE TABLE egress_keys (
  id text NOT NULL,
  public_key text NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT egress_keys_pkey PRIMARY KEY (id)
);

CREATE TABLE events (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  at timestamp with time zone NOT NULL DEFAULT now(),
  kind text NOT NULL,
  principal_id text,
  token_id text,
  call_id text,
  data jsonb NOT NULL,
  CONSTRAINT events_pkey PRIMARY KEY (id)
);

CREATE TABLE former_tokens (
  number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  id text NOT NULL,
  credential_id text NOT NULL,
  key_id text NOT NULL,
  sealed text NOT NULL,
  minted_at timestamp with time zone NOT NULL,
  expires_at timestamp with time zone NOT NULL,
  recipe text,
  CONSTRAINT former_tokens_credential_id_fkey FOREIGN KEY (credential_id) REFERENCES credentials(id) ON DELETE CASCADE,
  CONSTRAINT former_tokens_pkey PRIMARY KEY (number)
);

CREATE TABLE leases (
  id text NOT NULL,
  secret_sha256 text NOT NULL,
  principal_id text NOT NULL,
  runner_id text NOT NULL,
  generation bigint NOT NULL,
  source_id text NOT NULL,
  profile text,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  ended_at timestamp with time zone,
  CONSTRAINT leases_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES principals(id),
  CONSTRAINT leases_runner_id_fkey FOREIGN KEY (runner_id) REFERENCES runners(id),
  CONSTRAINT leases_pkey PRIMARY KEY (id),
  CONSTRAINT leases_secret_sha256_key UNIQUE (secret_sha256)
);

CREATE TABLE mint_claims (
  id text NOT NULL,
  credential_id text NOT NULL,
  version integer NOT NULL,
  state text NOT NULL,
  claim text NOT NULL,
  claimed_at timestamp with time zone NOT NULL DEFAULT now(),
  claimed_until timestamp with time zone NOT NULL,
  CONSTRAINT mint_claims_state_check CHECK ((state = ANY (ARRAY['minting'::text, 'uncertain'::text, 'refused'::text]))),
  CONSTRAINT mint_claims_credential_id_fkey FOREIGN KEY (credential_id) REFERENCES credentials(id) ON DELETE CASCADE,
  CONSTRAINT mint_claims_pkey PRIMARY KEY (id)
);

CREATE TABLE minted_tokens (
  id text NOT NULL,
  credential_id text NOT NULL,
  key_id text NOT NULL,
  sealed text NOT NULL,
  minted_at timestamp with time zone NOT NULL DEFAULT now(),
  renew_at timestamp with time zone NOT NULL,
  expires_at timestamp with time zone NOT NULL,
  recipe text,
  CONSTRAINT minted_tokens_credential_id_fkey FOREIGN KEY (credential_id) REFERENCES credentials(id) ON DELETE CASCADE,
  CONSTRAINT minted_tokens_pkey PRIMARY KEY (id)
);

CREATE TABLE policy_rules (
  position integer NOT NULL,
  spec jsonb NOT NULL,
  CONSTRAINT policy_rules_pkey PRIMARY KEY ("position")
);

CREATE TABLE principals (
  id text NOT NULL,
  kind text NOT NULL,
  slack_team text,
  slack_user text,
  name text NOT NULL,
  state text NOT NULL DEFAULT 'active'::text,
  deactivated_at timestamp with time zone,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT principals_check CHECK (((kind = 'person'::text) = ((slack_team IS NOT NULL) AND (slack_user IS NOT NULL)))),
  CONSTRAINT principals_kind_check CHECK ((kind = ANY (ARRAY['person'::text, 'system'::text]))),
  CONSTRAINT principals_state_check CHECK ((state = ANY (ARRAY['active'::text, 'deactivated'::text]))),
  CONSTRAINT principals_pkey PRIMARY KEY (id),
  CONSTRAINT principals_slack_team_slack_user_key UNIQUE (slack_team, slack_user)
);

CREATE TABLE replicas (
  id text NOT NULL,
  kind text NOT NULL,
  host text NOT NULL,
  started_at timestamp with time zone NOT NULL DEFAULT now(),
  heartbeat_at timestamp with time zone NOT NULL DEFAULT now(),
  egress_keys jsonb,
  clock_ahead_ms double precision,
  CONSTRAINT replicas_kind_check CHECK ((kind = ANY (ARRAY['gateway'::text, 'egress'::text]))),
  CONSTRAINT replicas_pkey PRIMARY KEY (id)
);

CREATE TABLE runner_events (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  runner_id text NOT NULL,
  generation bigint NOT NULL,
  at timestamp with time zone NOT NULL DEFAULT now(),
  from_state text NOT NULL,
  to_state text NOT NULL,
  cause text NOT NULL,
  replica_id text,
  detail jsonb,
  CONSTRAINT runner_events_runner_id_fkey FOREIGN KEY (runner_id) REFERENCES runners(id),
  CONSTRAINT runner_events_pkey PRIMARY KEY (id)
);

CREATE TABLE runner_holds (
  runner_id text NOT NULL,
  replica_id text NOT NULL,
  generation bigint NOT NULL,
  since timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT runner_holds_replica_id_fkey FOREIGN KEY (replica_id) REFERENCES replicas(id),
  CONSTRAINT runner_holds_runner_id_fkey FOREIGN KEY (runner_id) REFERENCES runners(id),
  CONSTRAINT runner_holds_pkey PRIMARY KEY (runner_id, replica_id)
);

CREATE TABLE runners (
  id text NOT NULL,
  principal_id text NOT NULL,
  name text NOT NULL,
  home_name text NOT NULL,
  state text NOT NULL DEFAULT 'stopped'::text,
  phase text,
  wanted boolean NOT NULL DEFAULT false,
  draining boolean NOT NULL DEFAULT false,
  generation bigint NOT NULL DEFAULT 0,
  spec_hash text,
  sandbox_uid text,
  address text,
  isolation text,
  holds integer NOT NULL DEFAULT 0,
  last_activity_at timestamp with time zone NOT NULL DEFAULT now(),
  lease_owner text,
  lease_until timestamp with time zone,
  lease_epoch bigint NOT NULL DEFAULT 0,
  started_at timestamp with time zone,
  ready_at timestamp with time zone,
  state_since timestamp with time zone NOT NULL DEFAULT now(),
  failures integer NOT NULL DEFAULT 0,
  next_attempt_at timestamp with time zone NOT NULL DEFAULT now(),
  reason text,
  message text,
  source_address text,
  CONSTRAINT runners_check CHECK (((state <> 'ready'::text) OR ((sandbox_uid IS NOT NULL) AND (address IS NOT NULL)))),
  CONSTRAINT runners_holds_check CHECK ((holds >= 0)),
  CONSTRAINT runners_state_check CHECK ((state = ANY (ARRAY['stopped'::text, 'starting'::text, 'ready'::text, 'lost'::text, 'stopping'::text, 'failed'::text, 'deleting'::text, 'deleted'::text]))),
  CONSTRAINT runners_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES principals(id),
  CONSTRAINT runners_pkey PRIMARY KEY (id),
  CONSTRAINT runners_home_name_key UNIQUE (home_name),
  CONSTRAINT runners_name_key UNIQUE (name),
  CONSTRAINT runners_principal_id_key UNIQUE (principal_id)
);

CREATE TABLE slack_deliveries (
  id text NOT NULL,
  received_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT slack_deliveries_pkey PRIMARY KEY (id)
);

CREATE TABLE slack_jobs (
  id text NOT NULL,
  kind text NOT NULL,
  payload jsonb NOT NULL,
  state text NOT NULL DEFAULT 'pending'::text,
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamp with time zone NOT NULL DEFAULT now(),
  locked_until timestamp with time zone,
  last_error text,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  finished_at timestamp with time zone,
  CONSTRAINT slack_jobs_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'done'::text, 'failed'::text]))),
  CONSTRAINT slack_jobs_pkey PRIMARY KEY (id)
);

CREATE TABLE sources (
  id text NOT NULL,
  spec jsonb NOT NULL,
  spec_digest text NOT NULL,
  enabled boolean NOT NULL DEFAULT true,
  discovered_spec_digest text,
  discovered_at timestamp with time zone,
  discovery_error text,
  CONSTRAINT sources_pkey PRIMARY KEY (id)
);

CREATE TABLE tokens (
  id text NOT NULL,
  principal_id text NOT NULL,
  toolkit text,
  secret_hash text NOT NULL,
  pepper_id text NOT NULL,
  request_key text,
  replaces text,
  issued_at timestamp with time zone NOT NULL DEFAULT now(),
  expires_at timestamp with time zone NOT NULL,
  revoked_at timestamp with time zone,
  revoked_cause text,
  last_used_at timestamp with time zone,
  last_used_client text,
  last_used_address text,
  CONSTRAINT tokens_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES principals(id),
  CONSTRAINT tokens_replaces_fkey FOREIGN KEY (replaces) REFERENCES tokens(id),
  CONSTRAINT tokens_pkey PRIMARY KEY (id),
  CONSTRAINT tokens_request_key_key UNIQUE (request_key)
);

CREATE TABLE toolkits (
  slug text NOT NULL,
  title text NOT NULL,
  tools jsonb NOT NULL,
  CONSTRAINT toolkits_slug_check CHECK ((slug ~ '^[a-z0-9-]{1,40}$'::text)),
  CONSTRAINT toolkits_pkey PRIMARY KEY (slug)
);

CREATE TABLE tools (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  source_id text NOT NULL,
  remote_name text NOT NULL,
  alias text NOT NULL,
  definition json NOT NULL,
  definition_digest text NOT NULL,
  accepted_definition json,
  accepted_egress json,
  accepted_digest text,
  available boolean NOT NULL DEFAULT true,
  enabled boolean NOT NULL DEFAULT true,
  first_seen_at timestamp with time zone NOT NULL DEFAULT now(),
  changed_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT tools_alias_check CHECK ((alias ~ '^[a-z0-9_]{1,40}$'::text)),
  CONSTRAINT tools_source_id_fkey FOREIGN KEY (source_id) REFERENCES sources(id),
  CONSTRAINT tools_pkey PRIMARY KEY (id),
  CONSTRAINT tools_alias_key UNIQUE (alias),
  CONSTRAINT tools_source_id_remote_name_key UNIQUE (source_id, remote_name)
);

CREATE INDEX calls_by_principal ON public.calls USING btree (principal_id, started_at);
CREATE INDEX calls_running_by_source ON public.calls USING btree (principal_id, source_id) WHERE (state = 'running'::text);
CREATE INDEX events_by_call ON public.events USING btree (call_id) WHERE (call_id IS NOT NULL);
CREATE INDEX events_by_principal ON public.events USING btree (principal_id, id);
CREATE INDEX former_tokens_by_credential ON public.former_tokens USING btree (credential_id);
CREATE INDEX former_tokens_by_id ON public.former_tokens USING btree (id);
CREATE INDEX leases_by_runner ON public.leases USING btree (runner_id, generation);
CREATE INDEX mint_claims_by_credential ON public.mint_claims USING btree (credential_id);
CREATE INDEX minted_tokens_by_credential ON public.minted_tokens USING btree (credential_id);
CREATE INDEX runner_events_by_runner ON public.runner_events USING btree (runner_id, id);
CREATE INDEX slack_jobs_due ON public.slack_jobs USING btree (next_attempt_at) WHERE (state = 'pending'::text);
CREATE INDEX tokens_by_principal ON public.tokens USING btree (principal_id, issued_at);
CREATE TRIGGER events_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE UNIQUE INDEX calls_by_idempotency_key ON public.calls USING btree (principal_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);
