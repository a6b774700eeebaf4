import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  const statements = `
    CREATE TABLE principals (
      id text PRIMARY KEY,
      kind text NOT NULL CHECK (kind IN ('person', 'system')),
      slack_team text,
      slack_user text,
      name text NOT NULL,
      state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'deactivated')),
      deactivated_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (slack_team, slack_user),
      CHECK ((kind = 'person') = (slack_team IS NOT NULL AND slack_user IS NOT NULL))
    );

    CREATE TABLE tokens (
      id text PRIMARY KEY,
      principal_id text NOT NULL REFERENCES principals (id),
      toolkit text,
      secret_hash text NOT NULL,
      pepper_id text NOT NULL,
      request_key text UNIQUE,
      replaces text REFERENCES tokens (id),
      issued_at timestamptz NOT NULL DEFAULT now(),
      expires_at timestamptz NOT NULL,
      revoked_at timestamptz,
      revoked_cause text,
      last_used_at timestamptz,
      last_used_client text,
      last_used_address text
    );
    CREATE INDEX tokens_by_principal ON tokens (principal_id, issued_at);

    CREATE TABLE admin_keys (
      id text PRIMARY KEY,
      name text NOT NULL,
      key_sha256 text NOT NULL UNIQUE,
      created_at timestamptz NOT NULL DEFAULT now(),
      revoked_at timestamptz,
      last_used_at timestamptz
    );

    -- What the operator configured and discovery found; version is bumped by every change, so that each replica
    -- notices on its next request (invariant 5) without being told.
    CREATE TABLE catalog_state (
      singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
      version bigint NOT NULL DEFAULT 1,
      config_digest text
    );
    INSERT INTO catalog_state DEFAULT VALUES;

    CREATE TABLE sources (
      id text PRIMARY KEY,
      spec jsonb NOT NULL,
      spec_digest text NOT NULL,
      enabled boolean NOT NULL DEFAULT true,
      discovered_spec_digest text,
      discovered_at timestamptz,
      discovery_error text
    );

    CREATE TABLE tools (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      source_id text NOT NULL REFERENCES sources (id),
      remote_name text NOT NULL,
      alias text NOT NULL UNIQUE CHECK (alias ~ '^[a-z0-9_]{1,40}$'),
      -- json, not jsonb: clients get definitions as the source wrote them, order of members included.
      definition json NOT NULL,
      definition_digest text NOT NULL,
      accepted_definition json,
      accepted_egress json,
      accepted_digest text,
      available boolean NOT NULL DEFAULT true,
      enabled boolean NOT NULL DEFAULT true,
      first_seen_at timestamptz NOT NULL DEFAULT now(),
      changed_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (source_id, remote_name)
    );

    CREATE TABLE toolkits (
      slug text PRIMARY KEY CHECK (slug ~ '^[a-z0-9-]{1,40}$'),
      title text NOT NULL,
      tools jsonb NOT NULL
    );

    CREATE TABLE policy_rules (
      position int PRIMARY KEY,
      spec jsonb NOT NULL
    );

    CREATE TABLE egress_keys (
      id text PRIMARY KEY,
      public_key text NOT NULL,
      ca_certificate text NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE credentials (
      id text PRIMARY KEY,
      name text NOT NULL CHECK (name ~ '^[A-Z][A-Z0-9_]*$'),
      scope text NOT NULL CHECK (scope IN ('global', 'profile', 'principal')),
      scope_id text NOT NULL DEFAULT '',
      key_id text NOT NULL REFERENCES egress_keys (id),
      sealed text NOT NULL,
      updated_at timestamptz NOT NULL DEFAULT now(),
      updated_by text NOT NULL,
      UNIQUE (name, scope, scope_id),
      CHECK ((scope = 'global') = (scope_id = ''))
    );

    CREATE TABLE replicas (
      id text PRIMARY KEY,
      kind text NOT NULL CHECK (kind IN ('gateway', 'egress')),
      host text NOT NULL,
      started_at timestamptz NOT NULL DEFAULT now(),
      heartbeat_at timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE runners (
      id text PRIMARY KEY,
      principal_id text NOT NULL UNIQUE REFERENCES principals (id),
      name text NOT NULL UNIQUE,
      home_name text NOT NULL UNIQUE,
      state text NOT NULL DEFAULT 'stopped'
        CHECK (state IN ('stopped', 'starting', 'ready', 'lost', 'stopping', 'failed', 'deleting', 'deleted')),
      phase text,
      wanted boolean NOT NULL DEFAULT false,
      draining boolean NOT NULL DEFAULT false,
      generation bigint NOT NULL DEFAULT 0,
      spec_hash text,
      sandbox_uid text,
      address text,
      isolation text,
      holds int NOT NULL DEFAULT 0 CHECK (holds >= 0),
      last_activity_at timestamptz NOT NULL DEFAULT now(),
      lease_owner text,
      lease_until timestamptz,
      lease_epoch bigint NOT NULL DEFAULT 0,
      started_at timestamptz,
      ready_at timestamptz,
      state_since timestamptz NOT NULL DEFAULT now(),
      failures int NOT NULL DEFAULT 0,
      next_attempt_at timestamptz NOT NULL DEFAULT now(),
      reason text,
      message text,
      CHECK (state <> 'ready' OR (sandbox_uid IS NOT NULL AND address IS NOT NULL))
    );

    -- A replica's claim that it has calls on a runner; runners.holds counts these rows, so that culling and
    -- admission meet on one row (docs/decisions/0003).
    CREATE TABLE runner_holds (
      runner_id text NOT NULL REFERENCES runners (id),
      replica_id text NOT NULL REFERENCES replicas (id),
      generation bigint NOT NULL,
      since timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (runner_id, replica_id)
    );

    CREATE TABLE runner_events (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      runner_id text NOT NULL REFERENCES runners (id),
      generation bigint NOT NULL,
      at timestamptz NOT NULL DEFAULT now(),
      from_state text NOT NULL,
      to_state text NOT NULL,
      cause text NOT NULL,
      replica_id text,
      detail jsonb
    );
    CREATE INDEX runner_events_by_runner ON runner_events (runner_id, id);

    CREATE TABLE leases (
      id text PRIMARY KEY,
      secret_sha256 text NOT NULL UNIQUE,
      principal_id text NOT NULL REFERENCES principals (id),
      runner_id text NOT NULL REFERENCES runners (id),
      generation bigint NOT NULL,
      source_id text NOT NULL,
      profile text,
      created_at timestamptz NOT NULL DEFAULT now(),
      ended_at timestamptz
    );
    CREATE INDEX leases_by_runner ON leases (runner_id, generation);

    CREATE TABLE calls (
      id text PRIMARY KEY,
      -- No foreign keys: the statement that writes the row reads both, and to lock them for every call costs as
      -- much as the row. Neither a principal nor a token is ever deleted.
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
      state text NOT NULL CHECK (state IN ('running', 'finished')),
      outcome text CHECK (outcome IN ('ok', 'tool_error', 'denied', 'failed', 'expired', 'cancelled', 'unknown')),
      code text,
      started_at timestamptz NOT NULL DEFAULT now(),
      finished_at timestamptz,
      CHECK ((state = 'finished') = (outcome IS NOT NULL)),
      UNIQUE (principal_id, idempotency_key)
    );
    CREATE INDEX calls_running ON calls (replica_id) WHERE state = 'running';
    CREATE INDEX calls_running_by_source ON calls (principal_id, source_id) WHERE state = 'running';
    CREATE INDEX calls_by_principal ON calls (principal_id, started_at);

    CREATE TABLE events (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      at timestamptz NOT NULL DEFAULT now(),
      kind text NOT NULL,
      principal_id text,
      token_id text,
      call_id text,
      data jsonb NOT NULL
    );
    CREATE INDEX events_by_principal ON events (principal_id, id);
    CREATE INDEX events_by_call ON events (call_id) WHERE call_id IS NOT NULL;
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'events are append-only'; END $$;
    CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

    -- Deliveries from Slack already taken, so that a retry by Slack does nothing twice.
    CREATE TABLE slack_deliveries (
      id text PRIMARY KEY,
      received_at timestamptz NOT NULL DEFAULT now()
    );

    -- Work that must survive a restart and an outage of Slack.
    CREATE TABLE slack_jobs (
      id text PRIMARY KEY,
      kind text NOT NULL,
      payload jsonb NOT NULL,
      state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'failed')),
      attempts int NOT NULL DEFAULT 0,
      next_attempt_at timestamptz NOT NULL DEFAULT now(),
      locked_until timestamptz,
      last_error text,
      created_at timestamptz NOT NULL DEFAULT now(),
      finished_at timestamptz
    );
    CREATE INDEX slack_jobs_due ON slack_jobs (next_attempt_at) WHERE state = 'pending';
  `
  await sql.raw(statements).execute(db)
}
