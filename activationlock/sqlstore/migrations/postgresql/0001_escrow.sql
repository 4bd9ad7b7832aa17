-- One bypass code for each row. Times are microseconds since 1970 in UTC, NULL
-- where nothing happened. Text that is not known is ''.
CREATE TABLE activationlock_codes (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- in the order of filing
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    -- What the code is filed under: one of the two, the other one is NULL.
    serial_number TEXT COLLATE "C",
    enrollment_id TEXT COLLATE "C",
    kind TEXT NOT NULL, -- device or server
    state TEXT NOT NULL,
    state_since BIGINT,
    state_reason TEXT NOT NULL,
    cause TEXT NOT NULL,
    given_by TEXT NOT NULL, -- enrollment ID
    command_uuid TEXT NOT NULL,
    asked_at BIGINT,
    received_at BIGINT,
    first_seen BIGINT,
    last_seen BIGINT,
    stale_since BIGINT,
    stale_reason TEXT NOT NULL,
    deleted_at BIGINT, -- when the device was; its codes stay
    -- The device as it was when the code came.
    device_serial_number TEXT NOT NULL,
    device_udid TEXT NOT NULL,
    device_product_type TEXT NOT NULL,
    device_imei TEXT NOT NULL,
    device_imei2 TEXT NOT NULL,
    device_meid TEXT NOT NULL,
    hash TEXT NOT NULL, -- what Apple is given of a server code, in hexadecimal digits
    digest TEXT NOT NULL, -- finds the same code again
    sealed BYTEA, -- NULL once it is purged
    recovery_copy BYTEA, -- CMS, for the holders of the recovery certificates
    CHECK ((serial_number IS NULL) <> (enrollment_id IS NULL))
);

CREATE INDEX activationlock_codes_serial_number ON activationlock_codes (serial_number);

CREATE INDEX activationlock_codes_enrollment_id ON activationlock_codes (enrollment_id);

-- What is filed under the enrollment belongs to the serial number too.
CREATE TABLE activationlock_joins (
    serial_number TEXT COLLATE "C" NOT NULL,
    enrollment_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (serial_number, enrollment_id)
);

CREATE INDEX activationlock_joins_enrollment_id ON activationlock_joins (enrollment_id);

-- Locks what codes are filed under until the transaction ends, and has its commit
-- wait for the disk whatever the session's settings are. Two that have the same
-- key by chance only wait for each other.
CREATE FUNCTION activationlock_lock(kind TEXT, identifier TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('activationlock ' || kind || ' ' || identifier, 0));
END $$;

-- The functions below lock and then read. They are volatile, so each statement in
-- them sees what was committed before that statement began.

CREATE FUNCTION activationlock_lock_serial_number(serial TEXT) RETURNS SETOF activationlock_codes LANGUAGE plpgsql AS $$
BEGIN
    PERFORM activationlock_lock('serial_number', serial);
    PERFORM activationlock_lock('enrollment_id', joined.enrollment_id) FROM (
        SELECT j.enrollment_id FROM activationlock_joins AS j WHERE j.serial_number = serial ORDER BY j.enrollment_id
    ) AS joined;
    RETURN QUERY SELECT c.* FROM activationlock_codes AS c WHERE c.serial_number = serial
        UNION ALL SELECT c.* FROM activationlock_joins AS j
        JOIN activationlock_codes AS c ON c.enrollment_id = j.enrollment_id WHERE j.serial_number = serial;
END $$;

CREATE FUNCTION activationlock_lock_enrollment_id(enrollment TEXT) RETURNS SETOF activationlock_codes LANGUAGE plpgsql AS $$
BEGIN
    PERFORM activationlock_lock('enrollment_id', enrollment);
    RETURN QUERY SELECT c.* FROM activationlock_codes AS c WHERE c.enrollment_id = enrollment;
END $$;

CREATE FUNCTION activationlock_join(enrollment TEXT, serial TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    PERFORM activationlock_lock('serial_number', serial);
    PERFORM activationlock_lock('enrollment_id', enrollment);
    INSERT INTO activationlock_joins (serial_number, enrollment_id) VALUES (serial, enrollment) ON CONFLICT DO NOTHING;
END $$;
