// Package sqltest runs package sqlcache against real databases, drivers and ORMs. It holds tests alone.
package sqltest
