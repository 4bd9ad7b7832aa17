-- What is known of one enrollment for each row. The body has all of it; the other
-- columns are what reports show and search, as it was when the row was written.
-- Times are microseconds since 1970 in UTC, NULL where nothing happened. Text that
-- is not known is ''.
CREATE TABLE IF NOT EXISTS activationlock_devices (
    enrollment_id VARBINARY(255) NOT NULL PRIMARY KEY,
    serial_number VARBINARY(255) NOT NULL,
    device_name VARBINARY(255) NOT NULL,
    model_name VARBINARY(255) NOT NULL,
    product_name VARBINARY(255) NOT NULL,
    platform VARBINARY(255) NOT NULL,
    os_version VARBINARY(255) NOT NULL,
    ownership VARBINARY(255) NOT NULL,
    group_names MEDIUMBLOB NOT NULL, -- each as its size in bytes, a colon and the name
    supervised SMALLINT, -- 0 or 1, NULL if it is not known
    live SMALLINT NOT NULL, -- 1 if the enrollment is complete and did not end
    last_seen BIGINT NOT NULL, -- -62135596800000000 if never, the year 1
    status VARBINARY(255) NOT NULL,
    lock_kind VARBINARY(255) NOT NULL,
    reassign VARBINARY(255) NOT NULL,
    code_since BIGINT,
    inventory_at BIGINT,
    findings MEDIUMBLOB NOT NULL, -- each as severity, since, days, and its kind as above
    summary_at BIGINT,
    due_at BIGINT, -- when it is looked at again, NULL if never
    severity BIGINT NOT NULL, -- of the worst finding, 0 if there is none
    searchable VARBINARY(4096) NOT NULL, -- serial number, enrollment ID and names in lower case
    body MEDIUMBLOB NOT NULL, -- all of it in JSON; it has no codes in it
    -- Who claimed it to look at it, until when.
    lease_until BIGINT,
    lease_token VARBINARY(255),
    -- When it is due and not claimed. Its index has what is claimed out of the way.
    available_at BIGINT GENERATED ALWAYS AS (
        CASE WHEN due_at IS NULL OR lease_until IS NULL OR due_at > lease_until THEN due_at ELSE lease_until END
    ) STORED,
    unchanged BIGINT NOT NULL DEFAULT 0, -- updates that had nothing to write
    INDEX activationlock_devices_available_at (available_at, enrollment_id),
    INDEX activationlock_devices_serial_number (serial_number, enrollment_id),
    INDEX activationlock_devices_device_name (device_name, enrollment_id),
    INDEX activationlock_devices_last_seen (last_seen, enrollment_id),
    INDEX activationlock_devices_severity (severity, enrollment_id),
    INDEX activationlock_devices_status (status, enrollment_id)
) ENGINE = InnoDB, ROW_FORMAT = DYNAMIC, DEFAULT CHARACTER SET = utf8mb4;

-- The groups and findings that reports are filtered by.
CREATE TABLE IF NOT EXISTS activationlock_marks (
    enrollment_id VARBINARY(255) NOT NULL,
    kind VARBINARY(16) NOT NULL, -- group or finding
    name VARBINARY(255) NOT NULL,
    is_set SMALLINT NOT NULL, -- 0 if it is gone, since nothing is deleted here
    PRIMARY KEY (enrollment_id, kind, name),
    INDEX activationlock_marks_name (kind, name, is_set, enrollment_id)
) ENGINE = InnoDB, ROW_FORMAT = DYNAMIC, DEFAULT CHARACTER SET = utf8mb4;
