-- The second wall between tenants: a query that forgets its `where tenant_id` still finds only one tenant's
-- rows. Whose rows a transaction may see it says with settings that end with it, so that a pooled
-- connection carries nothing over. Nothing set, nothing seen.

-- The tenant that this transaction works for.
create function nightshift_tenant() returns uuid
    language sql stable parallel safe
    return nullif(pg_catalog.current_setting('nightshift.tenant', true), '')::uuid;

-- The investigation by which this transaction asks whose it is.
create function nightshift_investigation() returns uuid
    language sql stable parallel safe
    return nullif(pg_catalog.current_setting('nightshift.investigation', true), '')::uuid;

-- The webhook address by which it asks.
create function nightshift_address() returns text
    language sql stable parallel safe
    return nullif(pg_catalog.current_setting('nightshift.address', true), '');

-- Whether an operator looks at every tenant.
create function nightshift_everybody() returns boolean
    language sql stable parallel safe
    return coalesce(pg_catalog.current_setting('nightshift.everybody', true), '') = 'on';

-- A `select` around each function makes it one look for a statement, not one for each row, and leaves the
-- comparison to the index. For the engine the condition is `true`, which the planner drops: a grant costs what
-- it did.
do $$
declare
    it record;
begin
    for it in
        select * from (values
            ('tenants', 'id = (select nightshift_tenant())'),
            ('endpoints', 'tenant_id = (select nightshift_tenant())'),
            ('connections', 'tenant_id = (select nightshift_tenant())'),
            ('runbooks', 'tenant_id = (select nightshift_tenant())'),
            ('deliveries', 'tenant_id = (select nightshift_tenant())'),
            ('incidents', 'tenant_id = (select nightshift_tenant())'),
            ('alerts', 'tenant_id = (select nightshift_tenant())'),
            ('investigations', 'tenant_id = (select nightshift_tenant())'),
            ('tickets', 'tenant_id = (select nightshift_tenant())'),
            ('evidence', 'tenant_id = (select nightshift_tenant())'),
            ('reports', 'tenant_id = (select nightshift_tenant())'),
            ('messages', 'tenant_id = (select nightshift_tenant())'),
            -- These belong to an investigation, and to whom it belongs.
            ('investigation_events', 'exists (select from investigations i where i.id = investigation_id)'),
            ('tool_calls', 'exists (select from investigations i where i.id = investigation_id)'),
            ('model_uses', 'exists (select from investigations i where i.id = investigation_id)'),
            ('write_backs', 'exists (select from investigations i where i.id = investigation_id)')
        ) as tables (name, of_one_tenant)
    loop
        execute format('alter table %I enable row level security', it.name);
        execute format('alter table %I force row level security', it.name);
        execute format(
            'create policy of_one_tenant on %I
                 to nightshift_intake, nightshift_session, nightshift_casebook, nightshift_api
                 using (%2$s) with check (%2$s)', it.name, it.of_one_tenant);
    end loop;
end $$;

-- Whoever knows an investigation may learn whose it is.
create policy by_name on investigations for select
    to nightshift_session, nightshift_casebook, nightshift_api
    using (id = (select nightshift_investigation()));

-- Whoever knows a webhook address may learn whose it is and how its sender is proved.
create policy by_address on endpoints for select to nightshift_intake
    using (path_token = (select nightshift_address()));

-- Operators may look at every tenant; what they do is done for one.
do $$
declare
    it name;
begin
    foreach it in array array[
        'endpoints', 'deliveries', 'incidents', 'alerts', 'investigations', 'tickets', 'reports', 'messages'
    ]::name[] loop
        execute format('create policy of_everybody on %I for select to nightshift_api
                            using ((select nightshift_everybody()))', it);
    end loop;
end $$;

-- The engine works for every tenant, on what it needs for that and nothing else.
do $$
declare
    it name;
begin
    foreach it in array array[
        'tenants', 'endpoints', 'deliveries', 'incidents', 'alerts', 'investigations', 'tickets', 'reports',
        'messages', 'investigation_events', 'write_backs'
    ]::name[] loop
        execute format('create policy of_every_tenant on %I to nightshift_engine
                            using (true) with check (true)', it);
    end loop;
end $$;
