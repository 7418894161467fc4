-- Raw prices have their weeks from the start, and no report meets one that is being made or dropped (JB-7, DQ-6).

-- Weeks from a week ago to two ahead exist afterwards; those that ended before p_before are gone. Gives both counts, two
-- zeros when there is nothing to do or others are at work on the table: the next run tries again.
--
-- A report looks for its week after it has locked the table. While that lock is held here every report is either done, or
-- waits and finds the new weeks; without it, one on its way into the default partition broke the new bound of that one. And
-- this gives up a tenth of the time before a report does, so that none that waits behind it is refused.
-- A week that has rows in the default partition stays there: to move them takes long. They go by the row.
create or replace function keep_raw_prices(p_now timestamptz, p_before timestamptz) returns integer[] language plpgsql
    security definer set search_path from current set lock_timeout = '200ms' as $$
declare
    monday timestamp := date_trunc('week', p_now at time zone 'UTC');
    weeks date[];
    ended text[];
    week date;
    name text;
    made integer := 0;
begin
    if not pg_try_advisory_xact_lock(7283915004) then
        return array[0, 0];
    end if;
    perform set_config('spotcore.tenant', '*', true);  -- the owner may be bound by its own policies
    select coalesce(array_agg(w::date order by w), '{}') into weeks
    from generate_series(monday - interval '1 week', monday + interval '2 weeks', '1 week') w
    where to_regclass(raw_price_partition(w::date)) is null
      and not exists (select 1 from raw_prices_default d
                      where d.observed_at >= w at time zone 'UTC' and d.observed_at < (w + interval '7 days') at time zone 'UTC');
    select coalesce(array_agg(c.relname), '{}') into ended
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'raw_prices'::regclass and c.relname ~ '^raw_prices_\d{8}$'
      and to_date(right(c.relname, 8), 'YYYYMMDD') + 7 <= (p_before at time zone 'UTC')::date;
    if cardinality(weeks) + cardinality(ended) = 0 then
        return array[0, 0];
    end if;
    lock table only raw_prices in access exclusive mode;
    foreach week in array weeks loop
        name := raw_price_partition(week);
        begin
            execute format('create table %I (like raw_prices including defaults including constraints)', name);
            execute format('revoke all on %I from spotcore_app', name);
            execute format('alter table raw_prices attach partition %I for values from (%L) to (%L)', name,
                week::timestamp at time zone 'UTC', (week + 7)::timestamp at time zone 'UTC');
            made := made + 1;
        exception
            when check_violation then null;  -- its first rows came in between
        end;
    end loop;
    foreach name in array ended loop
        execute format('drop table %I', name);
    end loop;
    return array[made, cardinality(ended)];
exception
    when lock_not_available or deadlock_detected then
        return array[0, 0];
end $$;

-- Removes at most p_limit rows that lie in no week and are older than p_before; says how many. The server's role reaches no
-- partition by itself.
create function forget_loose_prices(p_before timestamptz, p_limit integer) returns integer language plpgsql
    security definer set search_path from current as $$
declare
    gone integer;
begin
    perform set_config('spotcore.tenant', '*', true);
    delete from raw_prices_default
    where ctid = any(array(select ctid from raw_prices_default where observed_at < p_before limit p_limit));
    get diagnostics gone = row_count;
    return gone;
end $$;

-- A new site has nobody who could be in the way; on a busy one the next retention does it.
select keep_raw_prices(now(), '-infinity');
