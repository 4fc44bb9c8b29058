// Package lineage says where each artifact came from, and what came of it. It knows how to keep an index of a cache's
// records and builds in SQLite, and how to ask it: ancestors, runs, builds, forecasts, SQL. The index holds nothing that
// the cache does not: it can be deleted at any time, and Sync makes it again. The package must not know recipes, plans or
// how anything is shown.
//
// Lock order: Index.mu, then the file lock beside the index, then SQLite's own.
package lineage
