// Package sqlcache serves the reads of a database/sql application from memory and lets them fall by themselves when
// their tables are written. database/sql and what is built on it (sqlx, GORM, ent, bun, sqlc) run on it unchanged:
//
//	c, err := sqlcache.New(ctx, connector, tracker, sqlcache.Options{})
//	db := sql.OpenDB(c)
//
// connector is the driver's own: stdlib.GetConnector of pgx, mysql.NewConnector of go-sql-driver, sqlite.NewConnector of
// modernc.org/sqlite (with a busy_timeout, and foreign_keys if you have any), or that of another driver for PostgreSQL,
// MySQL, MariaDB or SQLite. Rows stay in each process; what goes through Redis is that tables changed.
//
// # What happens to one query
//
// Its text is looked up among those seen before. A new one is split into tokens and compared with the catalog: it
// depends on every table whose name occurs in it as an identifier, and on those below the views among them. It is kept
// only if it is provably a pure read: no lock, no INTO, no function that is volatile or not known, no temporary or
// system table, nothing of the session. [Connector.Explain] says what was found.
//
// An answer in memory is given if nothing has fallen that it depends on and it is proven young enough; that needs no
// connection, so it works with all of them in use and with the database down. Otherwise one load asks the database for
// all who want the same answer, on a connection from a pool of [Options.MaxConns]. Its rows are kept if they are
// within the caps, ended cleanly, and nobody is committing what they fall with.
//
// # What happens to one write
//
// Before the COMMIT, or before a statement that commits by itself, a mark for each table or row written is set in Redis,
// and they are touched: what is kept of them falls everywhere. While a mark stands nobody stores what falls with it. After
// the commit they are touched again and the marks removed, all before the call returns: you read your writes. A rollback
// tells nobody anything.
//
// Written are also the tables that the database changes after a write of this kind: by foreign keys, partitions and
// triggers. A rule ON DELETE follows what may delete, a rule ON UPDATE what may change a column that is referred to, a
// trigger the events that it is for. Of a write that was announced by [Connector.Touch] it is not known what it did: it counts
// as one of every kind.
//
// A writer that dies leaves its marks. Past their lease they are suspect, not clean: they go when the database says
// that the writer's session has ended (an advisory lock in PostgreSQL, GET_LOCK in MySQL, the write lock in SQLite),
// after one more touch, for the write may have been committed. So does the mark of a write whose outcome is not known.
// A mark that cannot be set refuses the write with [ErrNotMarked], unless [BoundedWrite].
//
// Whatever is not understood counts as a write to every table, and so does each use of a function of your own, also by a
// row-level policy or a domain's check, that is not among [Options.ReadOnlyFunctions]. A PostgreSQL extension's functions are
// taken for what their volatility says. While the catalog has fallen, by DDL
// or a gap, and the database is slow to say what is the new one, nobody waits for it longer than half a second: reads then
// go to the database, and writes count as writes to every table. Which is which an older catalog says meanwhile; what
// it took for a read and was a write, of a view that somebody has made call a function, is told of when the new one has been
// read.
//
// # Rows by their key
//
// A statement on one table whose WHERE says which values its primary key has, and beside that at most which values
// further columns have, or that they are or are not NULL, joined by AND, is about rows: a SELECT of plain columns, an
// UPDATE or a DELETE. The values are one, a list (IN), or a slice as one argument (= ANY in PostgreSQL; or a pq.Array),
// up to 128. Such a write, by whichever text, makes fall what was read of those rows and what was not read by the key,
// and leaves what was read of other rows alone. So does an INSERT ... VALUES that can do nothing but add rows (ON
// CONFLICT DO NOTHING, or DO SELECT, among them): it makes fall what was not read by the key, or lacks one of the rows
// it asked for. (What lacks one falls with any UPDATE or DELETE too.) A value is an integer, or in PostgreSQL a UUID,
// as a literal or as an argument of a Go type that can mean nothing else. All other statements are about whole tables,
// and so are writes that may come back to other rows of their table, by triggers or foreign keys: a DELETE in a tree
// whose branches go with it is about the whole tree, an UPDATE is not. Tables with heirs or partitions have no rows of
// their own in this sense, and writes to SQLite's with an ON CONFLICT in their definition are about all of them.
// [Connector.Explain] tells by which column, [Connector.TouchRows] announces rows that were written around sqlcache.
//
// # What passes by
//
// Transactions read the database. So does a sql.Conn after its first statement that memory did not answer, for its
// session may have come to matter (LAST_INSERT_ID, settings, temporary tables); when it is closed a changed session is
// closed too, so give settings that all connections shall have in the DSN. A connection that was given SQLite's
// foreign_keys, busy_timeout or another PRAGMA that shows in no answer keeps it, as without sqlcache, and is then one
// beside [Options.MaxConns]. Several result sets, answers beyond the caps and arguments whose meaning only the driver
// knows pass by as well.
//
// # Guarantees
//
// With all writers on sqlcache, or announced by [Connector.Touch] after their commit: rows from memory were current no
// longer ago than the bound, and what begins after [invalidate.Tracker.Fence] sees every write that was complete
// before. What is left to you:
//
//   - Writers that go around sqlcache and announce nothing. Package pgfollow hears of them by PostgreSQL's replication,
//     and of what followed from them, row by row; package outbox by a table that triggers write; both a moment after their
//     commit.
//   - DDL that goes around sqlcache is noticed within [Options.CatalogEvery]: of tables, columns, types, views, triggers
//     and functions; until then rows may fall by a primary key that is another column by now. A table made anew
//     (TRUNCATE, VACUUM FULL, REPACK, REFRESH) counts as DDL, which empties memory; REFRESH MATERIALIZED VIEW
//     CONCURRENTLY does not and shows nowhere, so announce it. In MySQL without the PROCESS privilege tables made within
//     one second look alike.
//   - Triggers, views and foreign keys must be visible to the database user. In MySQL that needs the TRIGGER privilege;
//     without it every write flushes all. SQLite's temporary triggers are not seen: announce what they write.
//   - Connections must be sessions: behind a pooler of transactions (PgBouncer in that mode) the end of a writer cannot be
//     seen, nor what the next transaction's session is like.
//   - In PostgreSQL a cast to a table's row type (NULL::t for jsonb_populate_record) runs the checks of its domains, and an
//     index its functions, which are thought to write nothing.
//   - Redis may lose marks that it has acknowledged: by a flush, an eviction, a restart from an older copy, a failover. All
//     processes then store nothing for one [Options.Lease]; a writer that stands still for longer than that and then dies
//     between commit and touch leaves older rows for [Options.TTL]. While there is no primary, or while the Sentinels may yet
//     promote another after an election that came to nothing (for their failover-timeout, which is better short), writes are
//     refused, see [ErrNotMarked].
//   - In PostgreSQL the word now or today may come to a cast to a date from a text column, or be put together from pieces
//     ('n' || 'ow', $1 || $2, a literal over two lines); such an answer ages unnoticed.
//   - In MySQL a TIME that is made a DATETIME takes the date of the day; such an answer ages unnoticed.
//   - A failover of the database to a replica that lacks the last commits leaves newer rows than the database's in memory.
//
// # Cost
//
// A hit at the driver is about a microsecond for a small row and copies nothing but bytes. A write pays four round trips
// to Redis, with Sentinels or a Cluster three more to a majority of those who decide, beside which the marks are read
// and a fence is asked for. Each new connection pays three short queries, in MySQL four, a load one round trip to Redis
// beside its query.
package sqlcache
