-- Version 1 of the library database. Documented byte for byte in docs/storage.md.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE roots (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,            -- absolute, os.fsencode
    added REAL NOT NULL                   -- seconds of the epoch
);

CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    root_id INTEGER NOT NULL REFERENCES roots(id) ON DELETE CASCADE,
    path BLOB NOT NULL,                   -- relative to the root, os.fsencode, '/' separated
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content_hash BLOB,                    -- the first 16 bytes of SHA-256 over the file
    seconds REAL,
    sample_rate INTEGER,
    channels INTEGER,
    status TEXT NOT NULL,                 -- 'ok' or 'skipped'
    reason TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    UNIQUE (root_id, path)
);
CREATE INDEX files_by_hash ON files (content_hash);

CREATE TABLE segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: the HNSW label
    file_id INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE,
    start REAL NOT NULL,                  -- seconds of the file
    end REAL NOT NULL,
    vector BLOB NOT NULL                  -- dim float32, little endian, unit length
);
CREATE INDEX segments_by_file ON segments (file_id);
