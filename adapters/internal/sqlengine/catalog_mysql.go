package sqlengine

import (
	"context"
	"errors"
	"slices"
	"strings"
)

type mysql struct{}

// MySQL is MySQL 8 and MariaDB 10.5 and later.
func MySQL() Dialect { return mysql{} }

func (mysql) Name() string { return "mysql" }

func (mysql) syntax() syntax {
	return syntax{backslash: true, hash: true, dashSpace: true, backquote: true, digitNames: true, versioned: true}
}

// mysqlPure are built in and give the same for the same.
var mysqlPure = fields(`
abs acos adddate addtime aes_decrypt aes_encrypt ascii asin atan atan2 avg bin bit_and bit_count bit_length bit_or
bit_xor cast ceil ceiling char char_length character_length coalesce coercibility collation compress concat concat_ws conv
convert convert_tz cos cot count crc32 cume_dist date date_add date_format date_sub datediff day dayname dayofmonth
dayofweek dayofyear degrees dense_rank elt exp export_set extract extractvalue field find_in_set first_value floor
format from_base64 from_days from_unixtime get_format greatest group_concat grouping hex hour if ifnull inet6_aton
inet6_ntoa inet_aton inet_ntoa insert instr interval isnull json_array json_array_append json_array_insert
json_arrayagg json_compact json_contains json_contains_path json_depth json_detailed json_equals json_exists
json_extract json_insert json_keys json_length json_loose json_merge json_merge_patch json_merge_preserve
json_normalize json_object json_objectagg json_overlaps json_pretty json_query json_quote json_remove json_replace
json_search json_set json_storage_size json_table json_type json_unquote json_valid json_value lag last_day
last_value lcase lead least left length ln locate log log10 log2 lower lpad ltrim make_set makedate maketime max md5
median microsecond mid min minute mod month monthname nth_value ntile nullif nvl nvl2 oct octet_length ord percent_rank
percentile_cont percentile_disc period_add period_diff pi position pow power quarter quote radians rank regexp_instr
regexp_like regexp_replace regexp_substr repeat replace reverse right round row_number rpad rtrim sec_to_time second
sha sha1 sha2 sign sin soundex space sqrt st_area st_asgeojson st_astext st_distance st_distance_sphere st_geomfromtext
st_x st_y std stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substring substring_index subtime sum tan
time time_format time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_days to_seconds trim truncate
ucase uncompress uncompressed_length unhex upper uuid_to_bin bin_to_uuid is_uuid values var_pop var_samp variance week
weekday weekofyear weight_string year yearweek any_value natural_sort_key
add_months charset chr column_add column_check column_create column_delete column_exists column_get column_json column_list crc32c
decode encode format_bytes format_pico_time is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 json_array_intersect
json_key_value json_object_filter_keys json_object_to_array json_schema_valid json_schema_validation_report
json_storage_free json_unquote lengthb name_const rownum string_to_vector to_char to_vector updatexml vec_distance
vec_distance_cosine vec_distance_euclidean vec_fromtext vec_totext vector_dim vector_to_string
`)

// mysqlShapes are those of spatial data, most of which have a name with st_ as well.
var mysqlShapes = fields(`
area asbinary astext aswkb aswkt boundary buffer buffer_strategy centroid collect contains convexhull crosses difference
dimension disjoint distance distance_sphere endpoint envelope equals exteriorring geohash geomcollfromtext geomcollfromwkb
geometrycollection geomcollection geometrycollectionfromtext geometrycollectionfromwkb geometryfromtext geometryfromwkb
geometryn geometrytype geomfromgeojson geomfromtext geomfromwkb glength interiorringn intersection intersects isclosed isempty
isring issimple isvalid latfromgeohash latitude length linefromtext linefromwkb linestring linestringfromtext
linestringfromwkb longfromgeohash longitude makeenvelope mbrcontains mbrcoveredby mbrcovers mbrdisjoint mbrequal mbrequals
mbrintersects mbroverlaps mbrtouches mbrwithin mlinefromtext mlinefromwkb mpointfromtext mpointfromwkb mpolyfromtext
mpolyfromwkb multilinestring multilinestringfromtext multilinestringfromwkb multipoint multipointfromtext
multipointfromwkb multipolygon multipolygonfromtext multipolygonfromwkb numgeometries numinteriorring numinteriorrings
numpoints overlaps point pointatdistance pointfromgeohash pointfromtext pointfromwkb pointn pointonsurface polyfromtext
polyfromwkb polygon polygonfromtext polygonfromwkb relate simplify srid startpoint swapxy symdifference touches transform
union validate within x y asgeojson frechetdistance hausdorffdistance lineinterpolatepoint lineinterpolatepoints
`)

// mysqlSchemas are those of MariaDB in which its own functions are.
var mysqlSchemas = set("mariadb_schema", "oracle_schema", "maxdb_schema")

var mysqlFickle = fields(`
now sysdate curdate curtime current_date current_time current_timestamp localtime localtimestamp utc_date utc_time
utc_timestamp unix_timestamp rand random_bytes uuid uuid_short connection_id current_user session_user system_user user
database schema version found_rows row_count last_insert_id sleep benchmark is_free_lock is_used_lock lastval nextval
setval master_pos_wait current_role load_file sformat encrypt password old_password des_encrypt des_decrypt sys_guid uuid_v4
uuid_v7 icu_version ps_current_thread_id ps_thread_id roles_graphml validate_password_strength statement_digest
statement_digest_text wsrep_last_seen_gtid wsrep_last_written_gtid master_gtid_wait source_pos_wait wait_for_executed_gtid_set
`)

func (mysql) function(name string, _ *catalog) purity {
	switch {
	case mysqlPure[name], mysqlShapes[name], mysqlShapes[strings.TrimPrefix(name, "st_")]:
		return pure
	case mysqlFickle[name]:
		return fickle
	case name == "get_lock", name == "release_lock", name == "release_all_locks":
		return stateful
	}
	return anything
}

// mysqlSettings show in answers.
var mysqlSettings = []string{"sql_mode", "old_mode", "time_zone", "collation_connection", "character_set_client",
	"character_set_connection", "character_set_results", "lc_time_names", "group_concat_max_len",
	"div_precision_increment", "default_week_format", "max_sort_length", "block_encryption_mode",
	"default_regex_flags", "max_recursive_iterations", "standard_compliant_cte", "system_versioning_asof",
	"character_set_collations", "default_collation_for_utf8mb4", "collation_database", "sql_buffer_result",
	"windowing_use_high_precision", "mhnsw_ef_search", "new_mode"}

// mysqlMisread are character sets in which the second byte of a letter may be a backslash or a quote of identifiers.
var mysqlMisread = set("sjis", "cp932", "big5", "gbk", "gb18030")

const unlimited = "18446744073709551615"

// variables are those that matter, by name. With "cut" among them the session cannot tell more.
func (mysql) variables(ctx context.Context, q Querier) (map[string]string, error) {
	rows, err := q.Query(ctx, "SELECT COALESCE(DATABASE(), ''), CURRENT_USER(), @@sql_select_limit LIMIT 1")
	if err != nil {
		return nil, err
	}
	v := map[string]string{"database": rows[0][0], "user": rows[0][1]}
	if limit := rows[0][2]; limit != unlimited {
		v["cut"] = "sql_select_limit is " + limit + ", which cuts off the catalog too: give a LIMIT instead"
		return v, nil
	}
	rows, err = q.Query(ctx, `SHOW VARIABLES WHERE Variable_name IN ('read_only', 'super_read_only', 'autocommit',
		'tx_isolation', 'transaction_isolation', 'sql_auto_is_null', 'wsrep_dirty_reads', 'server_uuid', 'server_uid', 'hostname', 'port', 'datadir',
		'`+strings.Join(mysqlSettings, "', '")+`')`)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		v[strings.ToLower(r[0])] = r[1]
	}
	return v, nil
}

func mysqlServer(v map[string]string) string {
	if id := v["server_uuid"] + v["server_uid"]; id != "" {
		return id
	}
	return v["hostname"] + ":" + v["port"] + ":" + v["datadir"]
}

func mysqlSame(v map[string]string) string {
	same := []string{mysqlServer(v), v["database"], v["user"]}
	for _, s := range mysqlSettings {
		same = append(same, v[s])
	}
	return strings.Join(same, "|")
}

func (d mysql) session(ctx context.Context, q Querier, _ Session) (Session, error) {
	v, err := d.variables(ctx, q)
	if err != nil {
		return Session{}, err
	}
	s := Session{same: mysqlSame(v)}
	switch iso := v["tx_isolation"] + v["transaction_isolation"]; {
	case v["cut"] != "":
		s.unfit = v["cut"]
	case v["read_only"] == "ON":
		s.unfit = "the server is read_only: a replica"
	case v["autocommit"] == "OFF":
		s.unfit = "autocommit is off"
	case v["sql_auto_is_null"] == "ON":
		s.unfit = "sql_auto_is_null is on: IS NULL may ask for what the session has inserted"
	case strings.HasPrefix(iso, "READ-UNCOMMITTED"):
		s.unfit = "it reads what is not committed"
	case v["wsrep_dirty_reads"] == "ON":
		s.unfit = "wsrep_dirty_reads is on: it may read from a node that the cluster has left behind"
	case mysqlMisread[v["character_set_client"]]:
		s.unfit = "its character_set_client is " + v["character_set_client"] + ", in which letters may hide a quote: use utf8mb4"
	default:
		s.unfit, err = d.temporary(ctx, q)
	}
	return s, err
}

// temporary says whether a session may have temporary tables, which hide others from it alone. What it has cannot be asked
// of every server, only what it made; and of MySQL only whether it made any.
func (mysql) temporary(ctx context.Context, q Querier) (string, error) {
	rows, err := q.Query(ctx, "SHOW SESSION STATUS WHERE Variable_name IN ('Com_create_table', 'Com_create_temporary_table')")
	if err != nil {
		return "", err
	}
	made := map[string]string{}
	for _, r := range rows {
		made[strings.ToLower(r[0])] = r[1]
	}
	temporary, told := made["com_create_temporary_table"]
	switch {
	case told && temporary != "0":
		return "the session has temporary tables", nil
	case !told && made["com_create_table"] != "0":
		return "the session has made tables, which may be temporary: let its hook make none", nil
	}
	return "", nil
}

// mysqlAlone are engines whose tables hold their own rows, or none.
var mysqlAlone = set("memory", "csv", "archive", "blackhole")

var mysqlKept = set("innodb", "rocksdb", "tokudb", "aria", "myisam")

func (d mysql) load(ctx context.Context, q Querier) (*raw, error) {
	v, err := d.variables(ctx, q)
	if err != nil {
		return nil, err
	}
	if v["cut"] != "" {
		return nil, errors.New(v["cut"])
	}
	in := &raw{scope: "mysql:" + mysqlServer(v), same: mysqlSame(v)}
	const user = `NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')`
	for _, s := range []string{"information_schema", "performance_schema", "mysql", "sys"} {
		in.relations = append(in.relations, rawRelation{schema: s, name: s, unkept: "a system table", flushes: "a system table"})
		if v["database"] == s {
			in.danger = "the default database is the server's own"
		}
	}
	if in.shape, err = d.shape(ctx, q, user); err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, `SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, '')
		FROM information_schema.TABLES WHERE TABLE_SCHEMA `+user+` ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	views, err := q.Query(ctx, `SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(VIEW_DEFINITION, '') FROM information_schema.VIEWS
		WHERE TABLE_SCHEMA `+user+` ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	defs := map[[2]string]string{}
	for _, r := range views {
		defs[[2]string{r[0], r[1]}] = r[2]
	}
	for _, r := range rows {
		rel := rawRelation{schema: r[0], name: r[1]}
		switch kind, engine := r[2], strings.ToLower(r[3]); {
		case kind == "VIEW":
			rel.isView, rel.view = true, defs[[2]string{r[0], r[1]}]
		case kind == "TEMPORARY":
			continue
		case kind == "SEQUENCE":
			rel.unkept = "a sequence"
		case !mysqlKept[engine]:
			rel.unkept, rel.atOnce = "its engine "+r[3]+" is not known to announce every change", true
			if !mysqlAlone[engine] {
				rel.flushes = "its engine " + r[3] + " may keep its rows in other tables"
			}
		default:
			rel.atOnce = engine == "aria" || engine == "myisam"
		}
		in.relations = append(in.relations, rel)
	}
	if err := d.keys(ctx, q, user, in); err != nil {
		return nil, err
	}
	rows, err = q.Query(ctx, `SELECT CONSTRAINT_SCHEMA, TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME,
		UPDATE_RULE, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		in.falls = append(in.falls, foreignKey(r[2], r[3], r[0], r[1], r[4], r[5])...)
	}
	if err := d.referred(ctx, q, in); err != nil {
		return nil, err
	}
	rows, err = q.Query(ctx, `SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, ACTION_STATEMENT, EVENT_MANIPULATION, ACTION_TIMING, SQL_MODE
		FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA `+user+` ORDER BY 1, 2, 3, 4, 5`)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		t := rawTrigger{schema: r[0], table: r[1], body: r[2], on: verbNamed(r[3]), alters: r[4] == "BEFORE"}
		if strings.Contains(r[5], "ORACLE") { // a procedure's name alone calls it
			t.opaque = "in MariaDB's sql_mode ORACLE"
		}
		in.triggers = append(in.triggers, t)
	}
	if err := d.seesTriggers(ctx, q, v["user"], in); err != nil {
		return nil, err
	}
	rows, err = q.Query(ctx, `SELECT DISTINCT ROUTINE_NAME FROM information_schema.ROUTINES
		WHERE ROUTINE_SCHEMA NOT IN ('mysql', 'sys') AND ROUTINE_TYPE = 'FUNCTION' ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		in.functions = append(in.functions, rawFunction{name: r[0], purity: anything, own: true})
	}
	return in, nil
}

var mysqlIntegers = fields("tinyint smallint mediumint int bigint")

// keys finds the primary keys of one column.
func (mysql) keys(ctx context.Context, q Querier, user string, in *raw) error {
	// COLUMNS hides what the user may not read; STATISTICS does not.
	rows, err := q.Query(ctx, `SELECT TABLE_SCHEMA, TABLE_NAME, MAX(COLUMN_NAME), COALESCE(MAX(DATA_TYPE), '')
		FROM information_schema.STATISTICS LEFT JOIN information_schema.COLUMNS USING (TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME)
		WHERE TABLE_SCHEMA `+user+` AND INDEX_NAME = 'PRIMARY' GROUP BY 1, 2 HAVING COUNT(*) = 1 ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	keys := map[[2]string]rowKey{}
	for _, r := range rows {
		if mysqlIntegers[strings.ToLower(r[3])] {
			keys[[2]string{r[0], r[1]}] = rowKey{r[2], integers}
		}
	}
	for i, r := range in.relations {
		in.relations[i].key = keys[[2]string{r.schema, r.name}]
	}
	return nil
}

// referred finds the columns that foreign keys refer to, and where one of them changes by itself.
func (mysql) referred(ctx context.Context, q Querier, in *raw) error {
	rows, err := q.Query(ctx, `SELECT REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME
		FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 1, 2, 3`)
	if err != nil {
		return err
	}
	columns := map[[2]string][]string{}
	for _, r := range rows {
		columns[[2]string{r[0], r[1]}] = append(columns[[2]string{r[0], r[1]}], r[2])
	}
	if rows, err = q.Query(ctx, `SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COALESCE(GENERATION_EXPRESSION, '') FROM information_schema.COLUMNS
		WHERE COALESCE(GENERATION_EXPRESSION, '') <> '' OR EXTRA LIKE '%update%'`); err != nil {
		return err
	}
	moving, computed := map[[2]string]bool{}, map[[2]string]string{}
	for _, r := range rows {
		at := [2]string{r[0], r[1]}
		computed[at] += " (" + mysqlExpression(r[3]) + ")"
		moving[at] = moving[at] || slices.ContainsFunc(columns[at], func(c string) bool { return fold(c) == fold(r[2]) })
	}
	for i := range in.relations {
		r := &in.relations[i]
		at := [2]string{r.schema, r.name}
		r.referred, r.computed = columns[at], computed[at]
		r.unsettled = moving[at] || r.referred == nil
	}
	return nil
}

// mysqlExpression is an expression as MariaDB shows it: MySQL shows the text of a string, in which quotes have backslashes.
func mysqlExpression(s string) string {
	if at := strings.IndexByte(s, '\''); at < 1 || s[at-1] != '\\' {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// shape is made of sums by the server: there may be many columns. A sum has no order, so nothing needs sorting. A
// table's time is in seconds, so InnoDB's own number of it counts as well, for a user who may see it (PROCESS).
func (mysql) shape(ctx context.Context, q Querier, user string) (string, error) {
	sum := func(what string) string {
		return "SELECT COALESCE(SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS('|', " + what + "), 256), 15), 16, 10) AS UNSIGNED)), 0)"
	}
	rows, err := q.Query(ctx, sum(`TABLE_SCHEMA, TABLE_NAME, CREATE_TIME`)+`
		FROM information_schema.TABLES WHERE TABLE_SCHEMA `+user+` AND TABLE_TYPE <> 'TEMPORARY' UNION ALL `+
		sum(`TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_TYPE, EXTRA, COALESCE(COLLATION_NAME, ''),
		COALESCE(GENERATION_EXPRESSION, '')`)+` FROM information_schema.COLUMNS WHERE TABLE_SCHEMA `+user)
	if err != nil {
		return "", err
	}
	shape := rows[0][0] + " " + rows[1][0]
	for _, numbers := range []string{"INNODB_SYS_TABLES", "INNODB_TABLES"} { // MariaDB's and MySQL's
		if rows, err := q.Query(ctx, sum("NAME, TABLE_ID")+" FROM information_schema."+numbers); err == nil {
			shape += " " + rows[0][0]
		}
	}
	return shape, nil
}

const hiddenTriggers = "its triggers are hidden from "

// seesTriggers asks whether the user is shown triggers: they are hidden from who may not make them, and a trigger that
// is not seen writes what nobody is told of. Then every write flushes all.
func (mysql) seesTriggers(ctx context.Context, q Querier, user string, in *raw) error {
	at := strings.LastIndexByte(user, '@')
	if at < 0 {
		at = len(user)
		user += "@%"
	}
	grantee := "'" + user[:at] + "'@'" + user[at+1:] + "'"
	rows, err := q.Query(ctx, `SELECT '', PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = ?
		UNION SELECT TABLE_SCHEMA, PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = ?`, grantee, grantee)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if r[1] == "TRIGGER" {
			seen[r[0]] = true
		}
	}
	for i, r := range in.relations {
		if !seen[""] && !seen[r.schema] && r.flushes == "" {
			in.relations[i].flushes = hiddenTriggers + user + ": GRANT TRIGGER"
		}
	}
	return nil
}

func (mysql) lockBefore() string { return "" }

func (mysql) hold(ctx context.Context, q Querier, id string) error {
	_, err := q.Query(ctx, "SELECT GET_LOCK(?, 0)", "freshet:"+id)
	return err
}

func (mysql) ended(ctx context.Context, q Querier, id string) (bool, error) {
	rows, err := q.Query(ctx, "SELECT IS_FREE_LOCK(?)", "freshet:"+id)
	return err == nil && rows[0][0] == "1", err
}
