-- A foreign key locks the row that it points at until the transaction ends. Every alert of a tenant shares its
-- tenant's row, and every alert of all tenants their pool's: under load PostgreSQL spent more on keeping lists of who
-- holds those rows than on the tickets. What these keys guarded is guarded still: an investigation's incident belongs to
-- a tenant, a pool cannot go while it has had sandboxes, and no role may delete tenants or pools.
alter table tickets
    drop constraint tickets_tenant_id_fkey,
    drop constraint tickets_pool_id_fkey;
alter table investigations drop constraint investigations_tenant_id_fkey;
revoke delete on pools from nightshift_engine;
