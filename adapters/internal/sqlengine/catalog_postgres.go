package sqlengine

import (
	"context"
	"strconv"
	"strings"
)

type postgres struct{}

// Postgres is PostgreSQL 13 and later.
func Postgres() Dialect { return postgres{} }

func (postgres) Name() string { return "postgres" }

func (postgres) syntax() syntax {
	return syntax{ansiQuotes: true, dollarQuotes: true, nested: true, carriage: true, longest: 63}
}

// postgresSettled are stable by the catalog, for they heed the session's settings, which are the same on all
// connections whose reads are shared.
var postgresSettled = fields(`
concat concat_ws format array_to_string to_char to_json to_jsonb json_agg jsonb_agg json_object_agg jsonb_object_agg
row_to_json array_to_json json_build_object jsonb_build_object json_build_array jsonb_build_array date_trunc date_part
timezone to_timestamp to_date to_number to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery
ts_headline jsonb_populate_record json_populate_record json_populate_recordset jsonb_populate_recordset json_to_record
json_to_recordset jsonb_to_record jsonb_to_recordset generate_series make_timestamptz string_agg array_agg quote_literal
quote_nullable date timestamptz timestamp time timetz interval text date_add date_subtract json_object_agg_strict
json_agg_strict jsonb_agg_strict extract overlaps money enum_first enum_last enum_range length
`)

// postgresForms are calls by the grammar alone, without a function of that name.
var postgresForms = fields(`coalesce nullif greatest least extract overlay position substring trim cast grouping treat
normalize xmlelement xmlattributes xmlforest xmlagg xmlconcat xmlparse xmlpi xmlroot xmlserialize xmlexists xmltable json
json_scalar json_serialize json_object json_array json_arrayagg json_objectagg json_exists json_value json_query json_table`)

var postgresFormsUnkept = fields(`merge_action current_time current_timestamp localtime localtimestamp`)

// postgresAdrift are columns and types in which more shows than tables: who has locked a row, the date at which the hour of a
// zone is reckoned, the names of roles, schemas and databases.
var postgresAdrift = fields(`xmax cmin cmax timetz regrole regnamespace regcollation regdatabase aclitem`)

// postgresIdle are volatile and write no table.
var postgresIdle = fields(`
random random_normal setseed clock_timestamp timeofday gen_random_uuid uuidv4 uuidv7 nextval currval lastval setval
pg_sleep pg_sleep_for pg_sleep_until pg_notify pg_current_xact_id txid_current pg_relation_size pg_table_size
pg_total_relation_size pg_database_size pg_tablespace_size pg_indexes_size pg_lock_status current_query
pg_logical_emit_message array_sample array_shuffle pg_is_in_recovery pg_is_wal_replay_paused
pg_get_wal_replay_pause_state pg_current_wal_lsn pg_current_wal_flush_lsn pg_current_wal_insert_lsn
pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_last_committed_xact
pg_xact_commit_timestamp pg_xact_status txid_status pg_prepared_xact pg_blocking_pids pg_safe_snapshot_blocking_pids
pg_cancel_backend pg_terminate_backend pg_rotate_logfile pg_switch_wal pg_create_restore_point
pg_export_snapshot pg_notification_queue_usage pg_stat_clear_snapshot pg_stat_force_next_flush pg_sequence_last_value
pg_partition_tree pg_partition_ancestors
`)

func (postgres) function(name string, cat *catalog) purity {
	if f, ok := cat.functions[name]; ok {
		return f.purity
	}
	switch {
	case postgresForms[name]:
		return pure
	case postgresFormsUnkept[name]:
		return fickle
	}
	return anything
}

// builtin grades one of the server's own functions by its volatility.
func (postgres) builtin(name, volatility string) purity {
	switch {
	case volatility == "i", volatility == "s" && postgresSettled[name]:
		return pure
	case name == "set_config", strings.HasPrefix(name, "pg_advisory"), strings.HasPrefix(name, "pg_try_advisory"):
		return stateful
	case strings.Contains(name, "_to_xml"), volatility == "v" && !postgresIdle[name] && !strings.HasPrefix(name, "pg_stat_get_"):
		return anything
	}
	return fickle
}

// ownCode are volatile functions of well-known extensions that write no table.
var ownCode = fields(`uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 gen_random_uuid gen_random_bytes gen_salt
pgp_sym_encrypt pgp_sym_encrypt_bytea pgp_pub_encrypt pgp_pub_encrypt_bytea`)

// ownTriggers, of the server and of well-known extensions, change the row alone or no table.
var ownTriggers = fields(`tsvector_update_trigger tsvector_update_trigger_column suppress_redundant_updates_trigger
moddatetime insert_username autoinc triggered_change_notification lo_manage`)

// made grades a function that did not come with the server. packaged is one of an extension, and what it says of itself is
// believed: it was not written to go with the tables here.
func (postgres) made(name, volatility, language, kind string, packaged bool) purity {
	switch {
	case !packaged && (language != "c" && language != "internal" || kind == "a"):
		return anything
	case volatility == "i":
		return pure
	case volatility == "s", ownCode[name]:
		return fickle
	}
	return anything
}

// postgresSettings show in answers.
var postgresSettings = []string{"search_path", "TimeZone", "DateStyle", "IntervalStyle", "row_security", "client_encoding",
	"default_text_search_config", "lc_monetary", "lc_numeric", "lc_time", "extra_float_digits", "bytea_output", "xmloption", "xmlbinary",
	"transform_null_equals", "array_nulls", "timezone_abbreviations", "standard_conforming_strings", "gin_fuzzy_search_limit",
	"quote_all_identifiers"}

// postgresBrought are settings of extensions that show in answers, and what they are before their extension is first used.
var postgresBrought = [][2]string{
	{"pg_trgm.similarity_threshold", "0.3"}, {"pg_trgm.word_similarity_threshold", "0.6"}, {"pg_trgm.strict_word_similarity_threshold", "0.5"},
	{"hnsw.ef_search", "40"}, {"hnsw.iterative_scan", "off"}, {"hnsw.max_scan_tuples", "20000"}, {"hnsw.scan_mem_multiplier", "1"},
	{"ivfflat.probes", "1"}, {"ivfflat.iterative_scan", "off"}, {"ivfflat.max_probes", "32768"},
}

// postgresMisread are encodings in which the second byte of a letter may be a backslash, which E'...' would be misread by.
var postgresMisread = set("SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "GB18030", "UHC", "JOHAB")

var postgresSession = sessionQuery()

// sessionQuery asks for the settings. Temporary tables hide others from their session alone.
func sessionQuery() string {
	var b strings.Builder
	b.WriteString("SELECT pg_is_in_recovery()::text, (pg_my_temp_schema() <> 0)::text, current_setting('client_encoding'), " +
		"concat_ws('|', current_database(), current_user")
	for _, name := range postgresSettings {
		b.WriteString(", current_setting('" + name + "')")
	}
	for _, s := range postgresBrought {
		b.WriteString(", coalesce(current_setting('" + s[0] + "', true), '" + s[1] + "')")
	}
	return b.String() + ")"
}

func (d postgres) session(ctx context.Context, q Querier, earlier Session) (Session, error) {
	rows, err := q.Query(ctx, postgresSession)
	if err != nil {
		return Session{}, err
	}
	s := Session{server: earlier.server}
	if s.server == "" {
		s.server = d.server(ctx, q)
	}
	s.same = rows[0][3] + "|" + s.server
	switch {
	case rows[0][0] == "true":
		s.unfit = "the server is a replica"
	case rows[0][1] == "true":
		s.unfit = "the session has temporary tables"
	case postgresMisread[rows[0][2]]:
		s.unfit = "its client_encoding is " + rows[0][2] + ", in which letters may hide a backslash: use UTF8"
	}
	return s, nil
}

func (postgres) server(ctx context.Context, q Querier) string {
	rows, err := q.Query(ctx, "SELECT system_identifier::text FROM pg_control_system()")
	if err == nil && len(rows) == 1 {
		return rows[0][0]
	}
	rows, err = q.Query(ctx, "SELECT concat_ws(':', host(inet_server_addr()), inet_server_port(), pg_postmaster_start_time())")
	if err == nil && len(rows) == 1 {
		return rows[0][0]
	}
	return "?"
}

func (d postgres) load(ctx context.Context, q Querier) (*raw, error) {
	s, err := d.session(ctx, q, Session{})
	if err != nil {
		return nil, err
	}
	in := &raw{same: s.same}
	rows, err := q.Query(ctx, "SELECT current_database()")
	if err != nil {
		return nil, err
	}
	in.scope = "postgres:" + s.server + ":" + rows[0][0]
	for _, part := range []func(context.Context, Querier, *raw) error{d.shape, d.relations, d.edges, d.triggers, d.functions, d.dangers} {
		if err := part(ctx, q, in); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// shape is one sum, made by the server: there may be many columns. A sum has no order, so nothing needs sorting.
// Temporary tables come and go, and are not kept anyway.
func (postgres) shape(ctx context.Context, q Querier, in *raw) error {
	rows, err := q.Query(ctx, `SELECT sum(hashtextextended(what, 0))::text FROM (
		SELECT ROW(c.oid, c.relfilenode, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation, a.attisdropped, d.oid)::text AS what
			FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
			LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
			WHERE c.oid >= 16384 AND c.relkind IN ('r', 'v', 'm', 'p', 'f', 'c') AND c.relpersistence <> 't'
		UNION ALL SELECT ROW(oid, enumlabel, enumsortorder)::text FROM pg_enum
		UNION ALL SELECT ROW(t.oid, t.typname, t.typnamespace)::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
			WHERE t.oid >= 16384 AND n.nspname NOT LIKE 'pg\_temp%' AND n.nspname NOT LIKE 'pg\_toast%'
		UNION ALL SELECT ROW(tableoid, oid, xmin)::text FROM pg_proc WHERE oid >= 16384
		UNION ALL SELECT ROW(tableoid, oid, xmin)::text FROM pg_operator WHERE oid >= 16384
		UNION ALL SELECT ROW(tableoid, oid, xmin)::text FROM pg_cast WHERE oid >= 16384) AS seen`)
	if err != nil {
		return err
	}
	in.shape = rows[0][0]
	return nil
}

// postgresKeys are int2, int4, int8 and uuid, as pg_type numbers them: a user's type may have the same name.
var postgresKeys = map[string]keyKind{"21": integers, "23": integers, "20": integers, "2950": uuids}

func (postgres) relations(ctx context.Context, q Querier, in *raw) error {
	rows, err := q.Query(ctx, `WITH RECURSIVE adrift(type) AS ( -- see postgresAdrift
			SELECT oid FROM pg_type WHERE typname IN ('regrole', 'regnamespace', 'regcollation', 'regdatabase', 'aclitem')
			UNION SELECT oid FROM pg_type JOIN adrift ON typelem = type OR typbasetype = type),
		unkept(oid, why) AS (
			SELECT oid, CASE relkind WHEN 'f' THEN 'a foreign table' ELSE 'an unlogged table, which a crash of the server empties' END
				FROM pg_class WHERE relkind = 'f' OR relpersistence = 'u'
			UNION SELECT attrelid, 'a column that shows the names of roles, schemas or databases'
				FROM pg_attribute JOIN adrift ON atttypid = type WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped
			UNION SELECT inhparent, why FROM pg_inherits JOIN unkept ON inhrelid = unkept.oid)
		SELECT n.nspname, c.relname, c.relkind::text, coalesce((SELECT min(why) FROM unkept WHERE unkept.oid = c.oid), ''),
		(c.relrowsecurity)::text, CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) ELSE '' END,
		EXISTS (SELECT 1 FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.rulename <> '_RETURN')::text,
		CASE WHEN c.relrowsecurity THEN coalesce((SELECT 'select ' || string_agg(concat_ws(', ', pg_get_expr(p.polqual, c.oid),
			pg_get_expr(p.polwithcheck, c.oid)), ', ' ORDER BY p.polname) FROM pg_policy p WHERE p.polrelid = c.oid), '') ELSE '' END,
		coalesce(k.attname, ''), coalesce(k.atttypid::oid::text, '')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1 AND c.relkind = 'r'
		LEFT JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0]
		WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_toast%'
		AND n.nspname <> 'information_schema' ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	in.relations = append(in.relations, rawRelation{schema: "information_schema", name: "information_schema",
		unkept: "a system table", flushes: "a system table"})
	for _, r := range rows {
		rel := rawRelation{schema: r[0], name: r[1], policy: r[7], key: rowKey{r[8], postgresKeys[r[9]]}}
		switch kind := r[2]; {
		case r[0] == "pg_catalog":
			rel.unkept, rel.flushes = "a system table", "a system table"
		case kind == "v":
			rel.isView, rel.view = true, r[5]
		case kind == "S":
			rel.unkept = "a sequence"
		case r[3] != "": // of itself or of a table that it reads as well: an heir or a partition
			if rel.unkept = r[3]; kind == "f" {
				rel.flushes = "a foreign table, which may be another of this database"
			}
		case r[4] == "true":
			rel.unkept = "row-level security"
		}
		if r[6] == "true" && rel.flushes == "" {
			rel.flushes = "a rule"
		}
		in.relations = append(in.relations, rel)
	}
	return nil
}

// postgresRules are those of foreign keys by pg_constraint's letters.
var postgresRules = map[string]string{"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

func (postgres) edges(ctx context.Context, q Querier, in *raw) error {
	rows, err := q.Query(ctx, `SELECT fn.nspname, f.relname, tn.nspname, t.relname, e.updates, e.deletes FROM (
		SELECT confrelid AS a, conrelid AS b, confupdtype::text AS updates, confdeltype::text AS deletes FROM pg_constraint WHERE contype = 'f'
		UNION SELECT inhparent, inhrelid, '', 'down' FROM pg_inherits UNION SELECT inhrelid, inhparent, '', 'up' FROM pg_inherits) e
		JOIN pg_class f ON f.oid = e.a JOIN pg_namespace fn ON fn.oid = f.relnamespace
		JOIN pg_class t ON t.oid = e.b JOIN pg_namespace tn ON tn.oid = t.relnamespace
		WHERE f.relkind IN ('r', 'p', 'f') AND t.relkind IN ('r', 'p', 'f') AND f.relpersistence <> 't' ORDER BY 1, 2, 3, 4, 5, 6`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r[4] == "" { // of a row that goes to another partition, one sees an INSERT and the other a DELETE
			does := allVerbs | truncates
			if r[5] == "up" {
				does |= seen
			}
			in.falls = append(in.falls, edge{r[0], r[1], r[2], r[3], allVerbs | truncates, does})
			continue
		}
		in.falls = append(in.falls, foreignKey(r[0], r[1], r[2], r[3], postgresRules[r[4]], postgresRules[r[5]])...)
	}
	if rows, err = q.Query(ctx, `SELECT DISTINCT n.nspname, c.relname, a.attname, (a.attgenerated <> '')::text
		FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(k.confkey) WHERE k.contype = 'f' ORDER BY 1, 2, 3`); err != nil {
		return err
	}
	at := map[[2]string]*rawRelation{}
	for i, r := range in.relations {
		at[[2]string{r.schema, r.name}] = &in.relations[i]
	}
	for _, r := range rows {
		if rel := at[[2]string{r[0], r[1]}]; rel != nil {
			rel.referred = append(rel.referred, r[2])
			rel.unsettled = rel.unsettled || r[3] == "true"
		}
	}
	return nil
}

// triggers are also what else runs at a write: defaults and checks that call something.
func (postgres) triggers(ctx context.Context, q Querier, in *raw) error {
	rows, err := q.Query(ctx, `SELECT n.nspname, c.relname, p.prosrc, l.lanname,
		coalesce(substring(pg_get_triggerdef(t.oid) FROM ' WHEN \((.*)\) EXECUTE '), ''), t.tgtype::text, p.proname
		FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang
		WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' ORDER BY 1, 2, t.tgname`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		t := rawTrigger{schema: r[0], table: r[1], body: r[2] + "\n;select " + r[4]}
		t.on, t.alters = postgresTrigger(r[5])
		if r[3] != "plpgsql" && !((r[3] == "c" || r[3] == "internal") && ownTriggers[r[6]]) {
			t.opaque = "in " + r[3]
		}
		if r[4] == "" {
			t.body = r[2]
		}
		in.triggers = append(in.triggers, t)
	}
	rows, err = q.Query(ctx, `SELECT n.nspname, c.relname, pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
		JOIN pg_class c ON c.oid = d.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		UNION ALL SELECT n.nspname, c.relname, pg_get_constraintdef(k.oid) FROM pg_constraint k
		JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE k.contype = 'c' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 3`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if strings.Contains(r[2], "(") && !strings.HasPrefix(r[2], "nextval('") {
			in.triggers = append(in.triggers, rawTrigger{schema: r[0], table: r[1], body: "select " + r[2], on: allVerbs})
		}
	}
	return nil
}

// postgresTrigger reads a pg_trigger.tgtype.
func postgresTrigger(tgtype string) (on verbs, alters bool) {
	const before, onInsert, onDelete, onUpdate, onTruncate = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
	bits, _ := strconv.Atoi(tgtype)
	for bit, v := range map[int]verbs{onInsert: inserts, onDelete: deletes, onUpdate: updates, onTruncate: truncates} {
		if bits&bit != 0 {
			on |= v
		}
	}
	return on, bits&before != 0
}

func (d postgres) functions(ctx context.Context, q Querier, in *raw) error {
	rows, err := q.Query(ctx, `SELECT DISTINCT p.proname, p.provolatile::text, l.lanname, p.prokind::text,
		(n.nspname NOT IN ('pg_catalog', 'information_schema'))::text,
		(p.pronargs - p.pronargdefaults <= CASE WHEN p.provariadic = 0 THEN 1 ELSE 2 END AND EXISTS (SELECT 1 FROM pg_type t
			WHERE t.oid IN (p.proargtypes[0], p.provariadic) AND t.typtype IN ('c', 'p', 'd')))::text,
		EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')::text
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
		WHERE p.prokind <> 'p' ORDER BY 1, 2, 3, 4, 5, 6, 7`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := rawFunction{name: r[0], own: r[4] == "true", aggregate: r[3] == "a"}
		if f.own {
			f.purity = d.made(r[0], r[1], r[2], r[3], r[6] == "true")
			f.attribute = r[5] == "true"
		} else {
			f.purity = d.builtin(r[0], r[1])
		}
		in.functions = append(in.functions, f)
	}
	return nil
}

// dangers are ways to run a user's function without naming it.
func (postgres) dangers(ctx context.Context, q Querier, in *raw) error {
	// Domains run functions by their checks and defaults; so does what is built of them, and a table with such columns.
	rows, err := q.Query(ctx, `WITH RECURSIVE uses(used, by) AS (
			SELECT refobjid, objid FROM pg_depend WHERE classid = 'pg_type'::regclass AND refclassid = 'pg_type'::regclass
			UNION ALL SELECT a.atttypid, c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
				WHERE c.oid >= 16384 AND c.reltype <> 0 AND c.relpersistence <> 't' AND a.attnum > 0 AND NOT a.attisdropped),
		runs(type, function) AS (
			SELECT k.contypid, d.refobjid FROM pg_constraint k JOIN pg_depend d ON d.objid = k.oid
				WHERE d.classid = 'pg_constraint'::regclass AND d.refclassid = 'pg_proc'::regclass AND k.contypid <> 0 AND d.refobjid >= 16384
			UNION SELECT t.oid, d.refobjid FROM pg_type t JOIN pg_depend d ON d.objid = t.oid
				WHERE d.classid = 'pg_type'::regclass AND d.refclassid = 'pg_proc'::regclass AND t.typtype = 'd' AND d.refobjid >= 16384
			UNION SELECT uses.by, runs.function FROM runs JOIN uses ON uses.used = runs.type)
		SELECT DISTINCT p.proname, n.nspname, t.typname, (c.relkind IS NOT NULL AND c.relkind <> 'c')::text
			FROM runs JOIN pg_type t ON t.oid = runs.type JOIN pg_namespace n ON n.oid = t.typnamespace
			JOIN pg_proc p ON p.oid = runs.function LEFT JOIN pg_class c ON c.oid = t.typrelid ORDER BY 1, 2, 3`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		in.hazards = append(in.hazards, rawHazard{function: r[0], schema: r[1], name: r[2], table: r[3] == "true"})
	}
	rows, err = q.Query(ctx, `SELECT (SELECT count(*) FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
		JOIN pg_language l ON l.oid = p.prolang WHERE o.oid >= 16384
			AND (l.lanname NOT IN ('c', 'internal') OR o.oprname = '=' AND o.oprleft IN (20, 21, 23, 2950)))::text,
		(SELECT count(*) FROM pg_cast k JOIN pg_proc p ON p.oid = k.castfunc
		JOIN pg_language l ON l.oid = p.prolang WHERE k.oid >= 16384 AND l.lanname NOT IN ('c', 'internal'))::text,
		EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid >= 16384 AND
			(t.oid IN ('timetz'::regtype, 'timetz[]'::regtype) OR t.typbasetype IN ('timetz'::regtype, 'timetz[]'::regtype)))::text,
		('information_schema' = ANY(current_schemas(false)))::text`)
	if err != nil {
		return err
	}
	in.seasonal = rows[0][2] == "true"
	if rows[0][3] == "true" {
		in.danger = "the search_path has the server's information_schema"
	}
	if rows[0][0] != "0" || rows[0][1] != "0" {
		in.danger = "the database has operators or casts that run functions of users, or an = of its own for integers"
	}
	return nil
}

func (postgres) lockBefore() string { return "" }

// lockKey is id as PostgreSQL's advisory locks want it.
func lockKey(id string) int64 {
	n, _ := strconv.ParseUint(id, 16, 64)
	return int64(n >> 1)
}

func (postgres) hold(ctx context.Context, q Querier, id string) error {
	return q.Exec(ctx, "SELECT pg_advisory_lock("+strconv.FormatInt(lockKey(id), 10)+")")
}

func (postgres) ended(ctx context.Context, q Querier, id string) (bool, error) {
	rows, err := q.Query(ctx, "SELECT pg_try_advisory_xact_lock_shared("+strconv.FormatInt(lockKey(id), 10)+")::text")
	return err == nil && rows[0][0] == "true", err
}
