-- What a decision reads of a pool costs the same however long the site has been running: with 60 000 launches and as many
-- incidents behind it, the market of a type took 200 times as long to read, in every emergency too.
--
-- "pool_id between x and x", ordered by the pool first, leaves the planner the one index that begins with the pool. Given
-- "= x" it may walk all pools backwards in time, which is as good for pools full of rows and ruinous for one without any.

create index boots_of_pool on instances (pool_id, confirmed_at desc)
    where confirmed_at is not null and launch_requested_at is not null;
create index open_incidents_of_pool on incidents (pool_id) where state not in ('resolved', 'cleared');
drop index instances_by_pool;

create or replace function market_of(
    p_client text, p_instance_type text, p_region text, p_fresh_since timestamptz, p_week_ago timestamptz
) returns text language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    market text;
    whose text := current_setting('spotcore.tenant', true);
begin
    perform set_config('spotcore.tenant', '*', true);
    market := (
with wanted as (
    select pool_id, first_observed_at from pools
    where instance_type = p_instance_type and (region = p_region or p_region is null)
)
select jsonb_build_object(
    'pools', (select jsonb_agg(jsonb_build_object(
        'pool_id', w.pool_id,
        'first_observed_at', w.first_observed_at,
        'latest', (select jsonb_build_object('price', b.price, 'observed_at', b.observed_at, 'confidence', b.confidence)
                   from price_buckets b where b.pool_id between w.pool_id and w.pool_id and b.source <> 'interpolated'
                   order by b.pool_id desc, b.bucket_start desc limit 1),
        'own', (select jsonb_build_object('price', r.price, 'observed_at', r.observed_at)
                from raw_prices r where r.client_id = p_client and r.pool_id = w.pool_id
                  and r.observed_at >= p_fresh_since
                order by r.observed_at desc, array_position(
                    array['primary', 'emergency_replica', 'manual_replica', 'backfill'], r.source), r.submission_id
                limit 1),
        'recent', (select jsonb_agg(t.price order by t.bucket_start) from (
                       select b.price, b.bucket_start from price_buckets b
                       where b.pool_id between w.pool_id and w.pool_id and b.source <> 'interpolated'
                       order by b.pool_id desc, b.bucket_start desc limit 10) t),
        -- ten are as bad as a thousand (4.3)
        'incidents', (select count(*) from (select 1 from incidents n
                      where n.pool_id between w.pool_id and w.pool_id and n.opened_at >= p_week_ago
                      order by n.pool_id, n.opened_at desc limit 10) t),
        'own_open', exists (select 1 from incidents n where n.pool_id = w.pool_id and n.client_id = p_client
                            and n.state not in ('resolved', 'cleared')),
        'open', exists (select 1 from incidents n where n.pool_id = w.pool_id and n.severity = 'termination'
                        and n.state not in ('resolved', 'cleared')),
        'boot', (select jsonb_build_object('mean', avg(t.seconds), 'samples', count(*)) from (
                     select extract(epoch from i.confirmed_at - i.launch_requested_at) as seconds from instances i
                     where i.pool_id = w.pool_id and i.confirmed_at is not null and i.launch_requested_at is not null
                       and i.status <> 'launching'
                     order by i.confirmed_at desc limit 50) t)
    )) from wanted w),
    'ondemand', (select jsonb_build_object('price', o.price, 'observed_at', o.observed_at, 'flagged', o.flagged)
                 from ondemand_prices o where o.instance_type = p_instance_type and o.region = p_region
                 order by o.flagged, o.observed_at desc limit 1)
)::text);
    perform set_config('spotcore.tenant', coalesce(whose, ''), true);
    return market;
end $$;

-- GF-4: a price is shown for an hour. The bucket of an observation begins five minutes before it at most, which spares a pool
-- without a price a walk through its history.
create or replace function spot_in_force(pool text, at timestamptz) returns numeric language sql stable as $$
    select b.price from price_buckets b
    where b.pool_id = pool and b.bucket_start <= at and b.observed_at > at - interval '60 minutes'
      and b.bucket_start > at - interval '65 minutes'
    order by b.bucket_start desc limit 1
$$;
