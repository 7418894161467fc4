-- name: models_lock
select pg_advisory_xact_lock(7283915007);

-- name: model_add
insert into model_sessions select * from jsonb_populate_record(null::model_sessions, %(row)s);

-- name: model_files_add
insert into model_files select * from jsonb_populate_recordset(null::model_files, %(rows)s);

-- name: model_get
select (to_jsonb(s) || jsonb_build_object('files', (
    select coalesce(jsonb_agg(jsonb_build_object('label', f.label, 'sha256', f.sha256, 'size', f.size)
        order by f.position), '[]') from model_files f where f.session_id = s.session_id)))::text
from model_sessions s where s.session_id = %(session_id)s;

-- name: model_put
update model_sessions set state = %(state)s, scope = %(scope)s, name = %(name)s, version = %(version)s,
    architecture = %(architecture)s, changed_at = %(changed_at)s, activated_at = %(activated_at)s,
    rejection = %(rejection)s, files_removed_at = %(files_removed_at)s
where session_id = %(session_id)s;

-- name: models_found
select (to_jsonb(s) || jsonb_build_object('files', (
    select coalesce(jsonb_agg(jsonb_build_object('label', f.label, 'sha256', f.sha256, 'size', f.size)
        order by f.position), '[]') from model_files f where f.session_id = s.session_id)))::text
from model_sessions s
where (%(states)s::text[] is null or s.state = any(%(states)s::text[]))
    and (%(kind)s::text is null or s.kind = %(kind)s::text)
    and (%(before)s::timestamptz is null or (s.changed_at < %(before)s::timestamptz and s.files_removed_at is null
        and s.state not in ('active', 'fallback')))
order by s.created_at desc, s.session_id desc limit %(limit)s;

-- name: model_digests
select distinct f.sha256 from model_files f join model_sessions s on s.session_id = f.session_id
where s.files_removed_at is null;
