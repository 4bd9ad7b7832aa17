-- What is known of one enrollment for each row. The body has all of it; the other
-- columns are what reports show and search, as it was when the row was written.
-- Times are microseconds since 1970 in UTC, NULL where nothing happened. Text that
-- is not known is ''.
CREATE TABLE activationlock_devices (
    enrollment_id TEXT COLLATE "C" PRIMARY KEY,
    serial_number TEXT COLLATE "C" NOT NULL,
    device_name TEXT COLLATE "C" NOT NULL,
    model_name TEXT NOT NULL,
    product_name TEXT NOT NULL,
    platform TEXT COLLATE "C" NOT NULL,
    os_version TEXT NOT NULL,
    ownership TEXT COLLATE "C" NOT NULL,
    group_names TEXT NOT NULL, -- each as its size in bytes, a colon and the name
    supervised SMALLINT, -- 0 or 1, NULL if it is not known
    live SMALLINT NOT NULL, -- 1 if the enrollment is complete and did not end
    last_seen BIGINT NOT NULL, -- -62135596800000000 if never, the year 1
    status TEXT COLLATE "C" NOT NULL,
    lock_kind TEXT NOT NULL,
    reassign TEXT COLLATE "C" NOT NULL,
    code_since BIGINT,
    inventory_at BIGINT,
    findings TEXT NOT NULL, -- each as severity, since, days, and its kind as above
    summary_at BIGINT,
    due_at BIGINT, -- when it is looked at again, NULL if never
    severity BIGINT NOT NULL, -- of the worst finding, 0 if there is none
    searchable TEXT COLLATE "C" NOT NULL, -- serial number, enrollment ID and names in lower case
    body TEXT NOT NULL, -- all of it in JSON; it has no codes in it
    -- Who claimed it to look at it, until when.
    lease_until BIGINT,
    lease_token TEXT COLLATE "C",
    -- When it is due and not claimed. Its index has what is claimed out of the way.
    available_at BIGINT GENERATED ALWAYS AS (
        CASE WHEN due_at IS NULL OR lease_until IS NULL OR due_at > lease_until THEN due_at ELSE lease_until END
    ) STORED
);

CREATE INDEX activationlock_devices_available_at ON activationlock_devices (available_at, enrollment_id) WHERE available_at IS NOT NULL;

CREATE INDEX activationlock_devices_serial_number ON activationlock_devices (serial_number, enrollment_id);

CREATE INDEX activationlock_devices_device_name ON activationlock_devices (device_name, enrollment_id);

CREATE INDEX activationlock_devices_last_seen ON activationlock_devices (last_seen, enrollment_id);

CREATE INDEX activationlock_devices_severity ON activationlock_devices (severity, enrollment_id);

CREATE INDEX activationlock_devices_status ON activationlock_devices (status, enrollment_id);

-- The groups and findings that reports are filtered by.
CREATE TABLE activationlock_marks (
    enrollment_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL, -- group or finding
    name TEXT COLLATE "C" NOT NULL,
    is_set SMALLINT NOT NULL, -- 0 if it is gone, since nothing is deleted here
    PRIMARY KEY (enrollment_id, kind, name)
);

CREATE INDEX activationlock_marks_name ON activationlock_marks (kind, name, is_set, enrollment_id);

-- Locks an enrollment's record, whether it is there or not, and then reads it.
CREATE FUNCTION activationlock_lock_record(enrollment TEXT) RETURNS SETOF activationlock_devices LANGUAGE plpgsql AS $$
BEGIN
    PERFORM activationlock_lock('record', enrollment);
    RETURN QUERY SELECT d.* FROM activationlock_devices AS d WHERE d.enrollment_id = enrollment;
END $$;

-- Claims what is due and not claimed, but for what others are writing just now.
CREATE FUNCTION activationlock_claim(moment BIGINT, until BIGINT, token TEXT, how_many BIGINT)
RETURNS TABLE (claimed TEXT, since BIGINT) LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN QUERY WITH due AS (
        SELECT d.enrollment_id AS id, d.available_at FROM activationlock_devices AS d WHERE d.available_at <= moment
        ORDER BY d.available_at, d.enrollment_id LIMIT how_many FOR UPDATE SKIP LOCKED
    ) UPDATE activationlock_devices AS d SET lease_until = until, lease_token = token FROM due
    WHERE d.enrollment_id = due.id RETURNING due.id, due.available_at;
END $$;

CREATE FUNCTION activationlock_release(enrollment TEXT, token TEXT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    UPDATE activationlock_devices AS d SET lease_until = NULL, lease_token = NULL
    WHERE d.enrollment_id = enrollment AND d.lease_token = token;
    RETURN FOUND;
END $$;
