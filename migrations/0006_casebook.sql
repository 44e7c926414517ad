-- Tool results as the agent saw them: the only thing a report may rest on.
create table evidence (
    id               uuid primary key,
    tenant_id        uuid not null references tenants,
    investigation_id uuid not null references investigations,
    epoch            bigint not null,
    server           text not null,                         -- which server recorded it
    kind             text not null,
    tool             text not null,
    arguments        jsonb not null,
    content          jsonb not null,
    digest           text not null,
    truncated        boolean not null,
    took_ms          bigint not null,
    recorded_at      timestamptz not null
);

create index evidence_of_an_investigation on evidence (investigation_id, recorded_at);

-- Tool calls that left no evidence: refused, failed, or not an observation.
create table tool_calls (
    id               bigint generated always as identity primary key,
    investigation_id uuid not null references investigations,
    epoch            bigint not null,
    server           text not null,
    tool             text not null,
    arguments        jsonb not null,
    outcome          text not null check (outcome in ('refused', 'failed', 'answered')),
    detail           text,
    took_ms          bigint not null,
    recorded_at      timestamptz not null
);

create index tool_calls_of_an_investigation on tool_calls (investigation_id);

-- What the model was asked and what it cost.
create table model_uses (
    id               bigint generated always as identity primary key,
    investigation_id uuid not null references investigations,
    epoch            bigint not null,
    at               timestamptz not null,
    provider         text not null,
    model            text not null,
    input_tokens     bigint not null,
    output_tokens    bigint not null
);

create index model_uses_of_an_investigation on model_uses (investigation_id);

-- Settled reports. A later epoch may replace the report of an earlier one.
create table reports (
    investigation_id uuid primary key references investigations,
    tenant_id        uuid not null references tenants,
    epoch            bigint not null,
    report           jsonb not null,
    submitted_at     timestamptz not null
);

-- Questions from people and the agent's answers.
create table messages (
    id               uuid primary key,
    tenant_id        uuid not null references tenants,
    investigation_id uuid not null references investigations,
    author           text not null,
    body             text not null,
    at               timestamptz not null,
    answer           text,
    answered_at      timestamptz
);

create index messages_of_an_investigation on messages (investigation_id, at);
