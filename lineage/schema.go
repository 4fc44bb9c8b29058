package lineage

import "hash/crc32"

// applicationID marks a SQLite file as ours: "tinf".
const applicationID = 0x74696e66

// tables are private: their names begin with an underscore, and any version of tinfra may change them. Digests are kept in
// their text form. A JSON column is there for reading a run in one row; edges and names have tables of their own, since
// those are searched. A stage that became the same in many builds of a recipe is one step, and builds that list the same
// steps share the list: most builds are hits all over. A step knows the last build that lists it, and its place there.
const tables = `
CREATE TABLE _day (
	folder TEXT NOT NULL, day TEXT NOT NULL, mark TEXT NOT NULL,
	PRIMARY KEY (folder, day)
) WITHOUT ROWID;
CREATE TABLE _skipped (name TEXT PRIMARY KEY, day TEXT NOT NULL, problem TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE _name (space TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (space, name)) WITHOUT ROWID;

CREATE TABLE _action (
	id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
	params TEXT NOT NULL, inputs TEXT NOT NULL, facts TEXT NOT NULL,
	worker TEXT NOT NULL, env TEXT, salt TEXT NOT NULL
);
CREATE INDEX _action_kind ON _action (kind);
CREATE TABLE _run (
	id INTEGER PRIMARY KEY, record TEXT NOT NULL UNIQUE, day TEXT NOT NULL, action INTEGER NOT NULL,
	outputs TEXT NOT NULL, metrics TEXT NOT NULL, observed TEXT NOT NULL,
	started TEXT NOT NULL, ended TEXT NOT NULL, seconds REAL NOT NULL,
	peak_memory_bytes INTEGER, builder TEXT NOT NULL, log TEXT
);
CREATE INDEX _run_day ON _run (day);
CREATE INDEX _run_action ON _run (action);
CREATE INDEX _run_ended ON _run (ended);
CREATE TABLE _artifact (
	id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
	bytes INTEGER, files INTEGER, labels TEXT NOT NULL
);
CREATE INDEX _artifact_unread ON _artifact (id) WHERE bytes IS NULL;
CREATE TABLE _input (action INTEGER NOT NULL, port TEXT NOT NULL, artifact INTEGER NOT NULL, PRIMARY KEY (action, port)) WITHOUT ROWID;
CREATE INDEX _input_of ON _input (artifact);
CREATE TABLE _output (run INTEGER NOT NULL, port TEXT NOT NULL, artifact INTEGER NOT NULL, PRIMARY KEY (run, port)) WITHOUT ROWID;
CREATE INDEX _output_of ON _output (artifact);

CREATE TABLE _build (
	id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, day TEXT NOT NULL, build TEXT NOT NULL,
	recipe TEXT, recipe_path TEXT NOT NULL, variables TEXT NOT NULL, targets TEXT NOT NULL, lock TEXT, "commit" TEXT NOT NULL,
	host TEXT NOT NULL, started TEXT NOT NULL, ended TEXT NOT NULL, exit INTEGER NOT NULL, problem TEXT NOT NULL,
	list INTEGER NOT NULL
);
CREATE INDEX _build_day ON _build (day);
CREATE INDEX _build_build ON _build (build);
CREATE INDEX _build_recipe ON _build (recipe_path, build);
CREATE INDEX _build_list ON _build (list);
CREATE TABLE _list (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, steps TEXT NOT NULL);
CREATE TABLE _step (
	id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, recipe_path TEXT NOT NULL,
	address TEXT NOT NULL, kind TEXT NOT NULL, key TEXT, record TEXT,
	state TEXT NOT NULL, reason TEXT NOT NULL, log TEXT,
	last TEXT NOT NULL, position INTEGER NOT NULL
);
CREATE INDEX _step_record ON _step (record);
CREATE INDEX _step_address ON _step (address);
`

// views are documented in docs/lineage.md and stay.
const views = `
CREATE VIEW builds AS
	SELECT build, digest, recipe, recipe_path, variables, targets, lock, "commit", host, started, ended,
		round((julianday(ended) - julianday(started)) * 86400, 3) AS seconds, exit, problem
	FROM _build;
CREATE VIEW steps AS
	SELECT b.build, e.key AS position, s.address, s.kind, s.state, s.key, s.record AS run, s.reason, s.log
	FROM _build b JOIN _list l ON l.id = b.list JOIN json_each(l.steps) e JOIN _step s ON s.id = e.value;
CREATE VIEW runs AS
	SELECT r.record AS run, a.key, a.kind,
		(SELECT s.address FROM _step s WHERE s.record = r.record ORDER BY s.last DESC, s.position LIMIT 1) AS address,
		(SELECT max(s.last) FROM _step s WHERE s.record = r.record) AS build,
		r.started, r.ended, r.seconds, r.peak_memory_bytes, r.builder, a.worker, a.env, a.salt, r.log,
		a.params, a.facts, r.observed
	FROM _run r JOIN _action a ON a.id = r.action;
CREATE VIEW artifacts AS
	SELECT digest AS artifact, type, bytes, files, labels FROM _artifact;
CREATE VIEW edges AS
	SELECT i.digest AS input, e.port AS input_port, r.record AS run, o.port AS output_port, t.digest AS output
	FROM _run r JOIN _output o ON o.run = r.id JOIN _artifact t ON t.id = o.artifact
		LEFT JOIN _input e ON e.action = r.action LEFT JOIN _artifact i ON i.id = e.artifact;
CREATE VIEW metrics AS
	SELECT r.record AS run, a.kind, m.key AS name, CAST(m.value AS REAL) AS value
	FROM _run r JOIN _action a ON a.id = r.action, json_each(r.metrics) m;
CREATE VIEW params AS
	SELECT r.record AS run, a.kind, substr(p.fullkey, 3) AS path, p.atom AS value
	FROM _run r JOIN _action a ON a.id = r.action, json_tree(a.params) p
	WHERE p.atom IS NOT NULL;
`

// schemaVersion follows from the schema itself: an index made by any other one is thrown away and made again.
var schemaVersion = int(crc32.ChecksumIEEE([]byte(tables+views)) >> 1) // user_version is a signed 32-bit integer
