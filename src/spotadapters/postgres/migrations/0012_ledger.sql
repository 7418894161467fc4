-- The ledger accrues (domain-rules 7.3): corrections as signed lines, final lines sealed for ever, imported price lists.

alter table ledger_lines
    add column entry_no bigint generated always as identity,
    add column sign smallint not null default 1 constraint ledger_sign check (sign in (1, -1)),
    add constraint reversal_names_its_line check (sign = 1 or adjusts is not null),
    add constraint line_within_a_day check (ended_at - started_at <= interval '1 day'),
    drop constraint i9_lines_do_not_overlap;

-- I9. An exclusion constraint says the same at five times the price of all the other indexes together. Writers of a client
-- wait for each other here, so that each sees what the one before has written.
create unique index ledger_line_once on ledger_lines (client_id, instance_id, started_at) where adjusts is null;
create function i9_lines_do_not_overlap() returns trigger language plpgsql
    set enable_seqscan = off  -- few new lines, each looked up by its index, also while the table looks small
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('ledger ' || client_id, 0))
    from (select distinct client_id from fresh order by client_id) c;
    if exists (
        select 1 from fresh n where n.adjusts is null and (
            select true from ledger_lines l
            where l.client_id = n.client_id and l.instance_id = n.instance_id and l.adjusts is null
              and l.started_at < n.ended_at and l.started_at > n.started_at - interval '1 day'
              and l.ended_at > n.started_at and l.line_id <> n.line_id
            limit 1)
    ) then
        raise exception 'lines of one machine overlap' using errcode = 'exclusion_violation',
            constraint = 'i9_lines_do_not_overlap';
    end if;
    return null;
end $$;
create trigger i9_lines_do_not_overlap after insert on ledger_lines
    referencing new table as fresh for each statement execute function i9_lines_do_not_overlap();

-- A seal covers every line of a day before ``final`` with an entry number up to ``upto`` that no earlier seal covers.
create table ledger_seals (
    client_id text not null,
    seal_no bigint not null,
    final timestamptz not null,
    upto bigint not null,
    lines bigint not null constraint ledger_seal_has_lines check (lines > 0),
    digest text not null,
    previous text not null,
    sealed_at timestamptz not null,
    primary key (client_id, seal_no)
);
select wall_tenants('ledger_seals');

-- SV-7: what is final is corrected by further lines, never changed. Only the purge of a whole client takes it away.
create function sv7_final_lines_stay() returns trigger language plpgsql as $$
begin
    if current_setting('spotcore.purging', true) = old.client_id
       or old.started_at >= coalesce((select s.final from ledger_seals s where s.client_id = old.client_id
                                      order by s.seal_no desc limit 1), '-infinity') then
        return coalesce(new, old);
    end if;
    raise exception 'a sealed line of the ledger never changes' using errcode = 'check_violation',
        constraint = 'sv7_final_lines_stay';
end $$;
create trigger sv7_final_lines_stay before update or delete on ledger_lines
    for each row execute function sv7_final_lines_stay();

-- P12: totals are exact sums, rounded once; a line's own amounts are rounded. Hours and amounts of a reversal are negative.
create view ledger_exact with (security_invoker = true) as
select client_id, line_id, agent_id, instance_id, started_at, ended_at, role, mode, pool_id, quality, sign, adjusts,
    sign * extract(epoch from ended_at - started_at) as seconds,
    case when quality = 'unpriced' then null when role <> 'primary' then 0
         else coalesce(sign * ondemand_price * extract(epoch from ended_at - started_at) / 3600, baseline) end as baseline,
    case when quality = 'unpriced' then null
         else coalesce(sign * paid_price * extract(epoch from ended_at - started_at) / 3600, cost) end as cost,
    case when quality = 'unpriced' then null
         else coalesce(sign * (case when role = 'primary' then ondemand_price else 0 end - paid_price)
                       * extract(epoch from ended_at - started_at) / 3600, saving) end as saving
from ledger_lines;

-- What a seal says about a line. Named columns, so that a column added later breaks no seal.
create function ledger_text(l ledger_lines) returns text language sql stable as $$
    select jsonb_build_array(l.line_id, l.agent_id, l.instance_id, extract(epoch from l.started_at),
        extract(epoch from l.ended_at), l.role, l.mode, l.pool_id, l.paid_price, l.ondemand_price, l.baseline, l.cost,
        l.saving, l.quality, l.sign, l.adjusts)::text
$$;

create function seal_ledger(p_client text, p_final timestamptz, p_now timestamptz) returns bigint language plpgsql as $$
declare
    last ledger_seals;
    sealed bigint;
begin
    select * into last from ledger_seals where client_id = p_client order by seal_no desc limit 1;
    insert into ledger_seals (client_id, seal_no, final, upto, lines, digest, previous, sealed_at)
    select p_client, coalesce(last.seal_no, 0) + 1, p_final, max(l.entry_no), count(*), encode(sha256(convert_to(
        coalesce(last.digest, '') || E'\n' || string_agg(ledger_text(l), E'\n' order by l.entry_no), 'UTF8')), 'hex'),
        coalesce(last.digest, ''), p_now
    from ledger_lines l
    where l.client_id = p_client and l.started_at < p_final
      and (l.started_at >= coalesce(last.final, '-infinity') or l.entry_no > last.upto)
    having count(*) > 0
    returning lines into sealed;
    return coalesce(sealed, 0);
end $$;

-- DQ-7: an on-demand price per bucket, its winner found in any order of arrival. That a value is kept on change only is a
-- matter of reading: what is not stored because it was equal could not come back when an older one arrives late.
alter table ondemand_prices add column bucket_start timestamptz, add column rank integer not null default 5;
alter table ondemand_prices alter column rank drop default;
update ondemand_prices set bucket_start = to_timestamp(floor(extract(epoch from observed_at) / 300) * 300);
delete from ondemand_prices o using ondemand_prices p
where (o.instance_type, o.region, o.flagged, o.bucket_start) = (p.instance_type, p.region, p.flagged, p.bucket_start)
  and (o.observed_at, o.price) > (p.observed_at, p.price);
alter table ondemand_prices drop constraint ondemand_prices_pkey;
alter table ondemand_prices add primary key (instance_type, region, flagged, bucket_start);
create index ondemand_latest on ondemand_prices (instance_type, region, flagged, observed_at desc);

-- Imported on-demand price lists (SV-5, Z33): without a date they count from ever.
create table ondemand_list (
    instance_type text not null,
    region text not null,
    since timestamptz not null default '-infinity',
    price numeric not null constraint list_price_range check (price > 0 and price <= 1000),
    source text not null,
    imported_at timestamptz not null,
    primary key (instance_type, region, since)
);
