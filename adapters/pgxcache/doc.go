// Package pgxcache serves the reads of a pgx-native application from memory and lets them fall by themselves when their
// tables are written. What takes a pool of pgx/v5, as sqlc's code does by default, runs on it unchanged:
//
//	db, err := pgxcache.New(ctx, pool, tracker, pgxcache.Options{})
//	q := sqlcgen.New(db)
//
// It is package sqlcache without database/sql: the same analysis of statements, the same marks in Redis and the same
// names of tables, so processes with either on one database hear of each other, and sqlcache/pgfollow is heard by both.
// What is told there of queries, writes and guarantees holds here. [sqlcache.NoCache], [sqlcache.MaxStaleness] and
// sqlcache's errors are this package's as well.
//
// # What happens to one query
//
// [DB.Query] and [DB.QueryRow] answer a pure read from memory if nothing has fallen that it depends on and it is proven
// young enough. That needs no connection, so it works with the pool exhausted and the database down. Otherwise one load,
// shared by all who want the same answer, takes a connection of the pool. What is kept are the server's own bytes with
// their formats and types: they are scanned by pgx's own plans, into whatever pgx can scan them into. A key is the text,
// the arguments with their Go types, and the QueryExecMode and QueryResultFormats among them; named arguments are
// replaced first. An argument whose meaning cannot be told, one that its owner may change meanwhile (a struct that holds
// pointers, other than to a [math/big.Int], slices or maps), QueryResultFormatsByOID and other rewriters pass by. So does an
// answer with records, as ROW(a, b) makes them: only its own connection can decode those.
//
// Types that were registered on the connection of the load decode a hit too. Register them in the pool's AfterConnect,
// on every connection. Codecs of your own, and what they decode by, must be fit for several goroutines, as if they were
// registered on several connections; a type registered by RegisterDefaultPgType alone is not known to a hit.
// [pgx.Rows.Conn] of a hit is nil, so take [pgx.Rows.TypeMap].
//
// # What happens to one write
//
// Exec, Query with RETURNING, CopyFrom and batches are marked before they are sent and announced after their end, before
// the call, or the Close of their rows or results, returns. A batch is analysed statement by statement and is one write
// to all that they write; one of reads alone goes to the database as it is. A transaction reads the database, collects
// what it writes, and is marked before its COMMIT; a rollback tells nobody anything, and what a rolled back savepoint
// wrote is announced with the rest.
//
// What is not understood counts as a write to every table: also [Tx.Conn], and a prepared statement's name in place of a
// text, or a word that may be one, such as COMMIT. pgx prepares texts by itself, and ends transactions by [Tx.Commit].
//
// # What is left to you
//
//   - The pool itself is past the wrapper. What is written on a connection of [pgxpool.Pool.Acquire] (COPY by hand, LISTEN
//     and what follows from it) must be announced with [DB.Touch], or by pgfollow.
//   - All connections must be alike: user, search_path, time zone and the like are compared with the catalog's at every
//     load, and a connection that differs, or has had temporary tables, answers only who has it. Settings of extensions
//     are not compared, but for pg_trgm's and pgvector's. Yet a hit has no connection: where PrepareConn or
//     BeforeAcquire change the session by the ctx of the call (a role or schema per tenant), use a pool and a DB for
//     each, or [sqlcache.NoCache].
//   - Connections must be sessions: behind a pooler of transactions (PgBouncer in that mode) the end of a writer cannot be
//     seen. A hook that resets sessions is no harm.
//   - The name of a prepared statement, unless it is its own text, begins with a letter and has no blank in it: else it
//     would be taken for the SQL that it looks like.
//   - The CommitQuery of a Batch's BeginTx is not seen: let it write nothing.
//   - A text that changes settings or makes temporary tables is run on a connection that is closed afterwards. In a
//     transaction the session is the transaction's.
//
// # Cost
//
// A hit is about a microsecond for a small row, with eight allocations, up to its Scan. A load pays one short query for
// its session beside its own, and one round trip to Redis meanwhile; a write one short query, so that others can see
// when its session ends, and four round trips to Redis, beside which the marks are read and a
// fence is asked for.
package pgxcache
