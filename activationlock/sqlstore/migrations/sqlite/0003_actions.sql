CREATE TABLE activationlock_actions (
    -- One bypass of a device's lock for each row. Times are microseconds since
    -- 1970 in UTC, NULL where nothing happened.
    id TEXT NOT NULL PRIMARY KEY,
    -- Whose codes are tried: one of the two, the other one is NULL.
    serial_number TEXT,
    enrollment_id TEXT,
    is_open INTEGER CHECK (is_open = 1), -- 1 while it is not over, NULL then
    state TEXT NOT NULL, -- as in the body, and so are the times
    started_at INTEGER NOT NULL,
    next_at INTEGER, -- nothing is sent before
    ended_at INTEGER,
    body TEXT NOT NULL, -- all of it in JSON; it has no codes in it
    CHECK ((serial_number IS NULL) <> (enrollment_id IS NULL))
) STRICT;

-- A device has one action at a time that is not over.
CREATE UNIQUE INDEX activationlock_actions_open_serial_number ON activationlock_actions (serial_number) WHERE is_open = 1;

CREATE UNIQUE INDEX activationlock_actions_open_enrollment_id ON activationlock_actions (enrollment_id) WHERE is_open = 1;

CREATE INDEX activationlock_actions_open ON activationlock_actions (id) WHERE is_open = 1;

CREATE INDEX activationlock_actions_serial_number ON activationlock_actions (serial_number, started_at, id) WHERE serial_number IS NOT NULL;
