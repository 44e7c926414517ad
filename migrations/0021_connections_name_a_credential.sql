-- A connection may name the credential that its server shows to the tenant's own system: the last part of the
-- name under which the tenant's secret is kept, never the secret. A column of its own, so that whoever
-- issues tokens for reading that secret sees the names of credentials and not where a tenant's systems are.
alter table connections
    add column credential text generated always as (config ->> 'credential') stored,
    add constraint connections_credential_is_a_name check (
        coalesce(jsonb_typeof(config -> 'credential'), 'string') = 'string'
        and coalesce(credential ~ '^[a-z0-9-]{1,63}$', true)
    );

-- Which rows it sees, the policy of_one_tenant says already.
grant select (tenant_id, server, credential) on connections to nightshift_session;
