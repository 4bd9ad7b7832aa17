CREATE TABLE activationlock_codes (
    -- One bypass code for each row. Times are microseconds since 1970 in UTC,
    -- NULL where nothing happened. Text that is not known is ''.
    seq INTEGER PRIMARY KEY, -- in the order of filing
    id TEXT NOT NULL UNIQUE,
    -- What the code is filed under: one of the two, the other one is NULL.
    serial_number TEXT,
    enrollment_id TEXT,
    kind TEXT NOT NULL, -- device or server
    state TEXT NOT NULL,
    state_since INTEGER,
    state_reason TEXT NOT NULL,
    cause TEXT NOT NULL,
    given_by TEXT NOT NULL, -- enrollment ID
    command_uuid TEXT NOT NULL,
    asked_at INTEGER,
    received_at INTEGER,
    first_seen INTEGER,
    last_seen INTEGER,
    stale_since INTEGER,
    stale_reason TEXT NOT NULL,
    deleted_at INTEGER, -- when the device was; its codes stay
    -- The device as it was when the code came.
    device_serial_number TEXT NOT NULL,
    device_udid TEXT NOT NULL,
    device_product_type TEXT NOT NULL,
    device_imei TEXT NOT NULL,
    device_imei2 TEXT NOT NULL,
    device_meid TEXT NOT NULL,
    hash TEXT NOT NULL, -- what Apple is given of a server code, in hexadecimal digits
    digest TEXT NOT NULL, -- finds the same code again
    sealed BLOB, -- NULL once it is purged
    recovery_copy BLOB, -- CMS, for the holders of the recovery certificates
    CHECK ((serial_number IS NULL) <> (enrollment_id IS NULL))
) STRICT;

-- After ANALYZE, an index full of NULLs would seem to be of no use.
CREATE INDEX activationlock_codes_serial_number ON activationlock_codes (serial_number) WHERE serial_number IS NOT NULL;

CREATE INDEX activationlock_codes_enrollment_id ON activationlock_codes (enrollment_id) WHERE enrollment_id IS NOT NULL;

CREATE TABLE activationlock_joins (
    -- What is filed under the enrollment belongs to the serial number too.
    serial_number TEXT NOT NULL,
    enrollment_id TEXT NOT NULL,
    PRIMARY KEY (serial_number, enrollment_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX activationlock_joins_enrollment_id ON activationlock_joins (enrollment_id);
