-- An e-mail address is one client's, however it is spelled: it is stored in lower case (E10, CL-6).

drop index client_email_taken;
do $$
declare
    twice text;
begin
    select string_agg(address || ' (client_id ' || ids || ')', '; ') into twice from (
        select lower(email) as address, string_agg(client_id, ', ' order by created_at, client_id) as ids
        from clients where status <> 'deleted' and email is not null
        group by lower(email) having count(*) > 1 order by 1 limit 10
    ) t;
    if twice is not null then
        raise exception 'clients share an e-mail address but for upper and lower case: %. Give all but one of them another '
            'address, or none with: update clients set email = null where client_id = ''…''; then migrate again', twice;
    end if;
end $$;
update clients set email = lower(email) where email <> lower(email);
create unique index client_email_taken on clients (lower(email)) where status <> 'deleted' and email is not null;
