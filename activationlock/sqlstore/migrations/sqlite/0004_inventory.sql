CREATE TABLE activationlock_devices (
    -- What is known of one enrollment for each row. The body has all of it; the
    -- other columns are what reports show and search, as it was when the row was
    -- written. Times are microseconds since 1970 in UTC, NULL where nothing
    -- happened. Text that is not known is ''.
    enrollment_id TEXT NOT NULL PRIMARY KEY,
    serial_number TEXT NOT NULL,
    device_name TEXT NOT NULL,
    model_name TEXT NOT NULL,
    product_name TEXT NOT NULL,
    platform TEXT NOT NULL,
    os_version TEXT NOT NULL,
    ownership TEXT NOT NULL,
    group_names TEXT NOT NULL, -- each as its size in bytes, a colon and the name
    supervised INTEGER, -- 0 or 1, NULL if it is not known
    live INTEGER NOT NULL, -- 1 if the enrollment is complete and did not end
    last_seen INTEGER NOT NULL, -- -62135596800000000 if never, the year 1
    status TEXT NOT NULL,
    lock_kind TEXT NOT NULL,
    reassign TEXT NOT NULL,
    code_since INTEGER,
    inventory_at INTEGER,
    findings TEXT NOT NULL, -- each as severity, since, days, and its kind as above
    summary_at INTEGER,
    due_at INTEGER, -- when it is looked at again, NULL if never
    severity INTEGER NOT NULL, -- of the worst finding, 0 if there is none
    searchable TEXT NOT NULL, -- serial number, enrollment ID and names in lower case
    body TEXT NOT NULL, -- all of it in JSON; it has no codes in it
    -- Who claimed it to look at it, until when.
    lease_until INTEGER,
    lease_token TEXT,
    -- When it is due and not claimed. Its index has what is claimed out of the way.
    available_at INTEGER GENERATED ALWAYS AS (
        CASE WHEN due_at IS NULL OR lease_until IS NULL OR due_at > lease_until THEN due_at ELSE lease_until END
    )
) STRICT;

CREATE INDEX activationlock_devices_available_at ON activationlock_devices (available_at, enrollment_id) WHERE available_at IS NOT NULL;

CREATE INDEX activationlock_devices_serial_number ON activationlock_devices (serial_number, enrollment_id);

CREATE INDEX activationlock_devices_device_name ON activationlock_devices (device_name, enrollment_id);

CREATE INDEX activationlock_devices_last_seen ON activationlock_devices (last_seen, enrollment_id);

CREATE INDEX activationlock_devices_severity ON activationlock_devices (severity, enrollment_id);

CREATE INDEX activationlock_devices_status ON activationlock_devices (status, enrollment_id);

CREATE TABLE activationlock_marks (
    -- The groups and findings that reports are filtered by.
    enrollment_id TEXT NOT NULL,
    kind TEXT NOT NULL, -- group or finding
    name TEXT NOT NULL,
    is_set INTEGER NOT NULL, -- 0 if it is gone, since nothing is deleted here
    PRIMARY KEY (enrollment_id, kind, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX activationlock_marks_name ON activationlock_marks (kind, name, is_set, enrollment_id);
