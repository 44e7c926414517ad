-- One row per customer. Everything else carries its tenant.
create table tenants (
    id          uuid primary key,
    slug        text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    max_running integer not null check (max_running > 0),   -- sandboxes held at once
    max_queued  integer not null check (max_queued > 0),    -- tickets waiting at once
    created_at  timestamptz not null
);

-- A webhook address. The token in its path names it; the secrets behind the references prove the sender.
create table endpoints (
    id          uuid primary key,
    tenant_id   uuid not null references tenants,
    source      text not null,
    path_token  text not null unique,
    secret_refs text[] not null,
    mapping     jsonb,                                      -- the generic source's JSON pointers
    created_at  timestamptz not null
);

-- Which backends a tenant has connected to a server. Names a backend, never holds a credential.
create table connections (
    tenant_id uuid not null references tenants,
    server    text not null,
    config    jsonb not null,
    primary key (tenant_id, server)
);

-- How a tenant wants its alerts investigated; without a service it is the tenant's default.
create table runbooks (
    id        uuid primary key,
    tenant_id uuid not null references tenants,
    service   text,
    name      text not null,
    body      text not null
);

create unique index runbooks_one_a_service on runbooks (tenant_id, coalesce(service, ''));
