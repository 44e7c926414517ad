-- One role for each kind of process, with the privileges that its statements need and no others. None owns
-- anything and none passes row-level security; the next migration says which rows each sees.
--
-- A role belongs to the server, not to a database, so another database may have made it. It cannot log in
-- until the deploy gives it a password.
do $$
declare
    role name;
begin
    foreach role in array array[
        'nightshift_intake', 'nightshift_engine', 'nightshift_session', 'nightshift_casebook', 'nightshift_api'
    ]::name[] loop
        begin
            execute format(
                'create role %I nologin nosuperuser nobypassrls nocreatedb nocreaterole noreplication', role);
        exception
            when duplicate_object or unique_violation then null;
        end;
    end loop;
end $$;

-- Takes alerts in: writes what came, opens investigations, publishes steps.
grant select on tenants, pools to nightshift_intake;
grant select (id, tenant_id, source, path_token, secret_refs, mapping) on endpoints to nightshift_intake;
grant select, insert on deliveries, incidents, alerts, investigations, tickets to nightshift_intake;
grant update (status, resolved_at) on incidents to nightshift_intake;
grant insert on investigation_events to nightshift_intake;
grant select, insert, update, delete on outbox to nightshift_intake;

-- Admits sandboxes: reads which machine holds which claim, and notes the start that attested.
grant insert on used_statements to nightshift_session;
grant select on sandboxes, generations, pools, investigations, incidents, alerts to nightshift_session;
grant update (attested_epoch, key_thumbprint) on sandboxes to nightshift_session;
grant update (state, sandbox_id, epoch, deadline_at, ended_at, reason, restarts, version)
    on investigations to nightshift_session;
grant insert on investigation_events to nightshift_session;

-- Answers agents and records what they do. Of deliveries and endpoints it sees only whether somebody wants to
-- be told, never a body or where a secret is.
grant select on investigations, incidents, alerts, connections, runbooks, evidence, reports, messages,
    model_uses, tickets, investigation_events to nightshift_casebook;
grant select (id, tenant_id, endpoint_id) on deliveries to nightshift_casebook;
grant select (id, tenant_id, report_url) on endpoints to nightshift_casebook;
grant insert on evidence, tool_calls, model_uses, reports, investigation_events, outbox to nightshift_casebook;
grant update (epoch, report, submitted_at) on reports to nightshift_casebook;
grant update (answer, answered_at) on messages to nightshift_casebook;
grant update (state, sandbox_id, epoch, deadline_at, ended_at, reason, restarts, version)
    on investigations to nightshift_casebook;

-- Shows people what there is, passes their questions on, publishes steps.
grant select on investigations, incidents, alerts, deliveries, tickets, reports, messages,
    investigation_events, sandboxes, pools, generations, breakers, rates, claim_counts, provision_times
    to nightshift_api;
grant select (id, tenant_id, source) on endpoints to nightshift_api;
grant insert on messages, investigation_events to nightshift_api;
grant update (state, sandbox_id, epoch, deadline_at, ended_at, reason, restarts, version)
    on investigations to nightshift_api;
grant update (state, investigation_id, reason, epoch, app, volume, machine, machine_version, deadline_at,
              ready_at, version) on sandboxes to nightshift_api;
grant select, insert, update, delete on outbox to nightshift_api;

-- Carries out steps for all tenants: grants, machines, deadlines, reports on their way out. It does not read
-- what agents saw, what tenants connected, or what people asked.
grant select on tenants, tickets, investigations, incidents, alerts, reports, sandboxes, pools, generations,
    claim_counts, provision_times, rates, breakers, sightings, installation, used_statements, write_backs,
    parked_messages, outbox to nightshift_engine;
grant select (id, tenant_id, endpoint_id) on deliveries to nightshift_engine;
grant select (id, tenant_id, report_url, secret_refs) on endpoints to nightshift_engine;
grant select (id, tenant_id, investigation_id, answered_at) on messages to nightshift_engine;
grant insert, update, delete on sandboxes, pools, generations, claim_counts, provision_times, rates, breakers,
    sightings, parked_messages, outbox to nightshift_engine;
grant update on investigations, tickets to nightshift_engine;
grant insert on investigation_events, write_backs to nightshift_engine;
grant delete on used_statements to nightshift_engine;
