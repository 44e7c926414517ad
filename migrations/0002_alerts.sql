-- Every authentic delivery, understood or not. A sender that repeats itself finds its first row.
create table deliveries (
    id           uuid primary key,
    tenant_id    uuid not null references tenants,
    endpoint_id  uuid not null references endpoints,
    delivery_key text not null,
    disposition  text not null check (disposition in ('signal', 'ignored', 'malformed')),
    detail       text,
    body         bytea not null,
    received_at  timestamptz not null,
    unique (endpoint_id, delivery_key)
);

-- Alerts that belong together by their sender's own identity.
create table incidents (
    id          uuid primary key,
    tenant_id   uuid not null references tenants,
    source      text not null,
    source_key  text not null,
    title       text not null,
    status      text not null check (status in ('open', 'resolved')),
    opened_at   timestamptz not null,
    resolved_at timestamptz,
    unique (tenant_id, source, source_key),
    constraint resolved_has_a_time check ((status = 'resolved') = (resolved_at is not null))
);

-- Signals that fired. Linked to incidents, never merged, never changed.
create table alerts (
    id          uuid primary key,
    tenant_id   uuid not null references tenants,
    incident_id uuid not null references incidents,
    delivery_id uuid not null unique references deliveries,
    source      text not null,
    status      text not null check (status in ('firing', 'resolved')),
    title       text not null,
    service     text,
    severity    text not null check (severity in ('critical', 'high', 'warning', 'info')),
    fired_at    timestamptz not null,
    link        text,
    details     jsonb not null,
    received_at timestamptz not null
);

create index alerts_of_an_incident on alerts (incident_id);
create index alerts_of_a_tenant on alerts (tenant_id, fired_at);
