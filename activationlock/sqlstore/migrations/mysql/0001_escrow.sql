-- One bypass code for each row. Times are microseconds since 1970 in UTC, NULL
-- where nothing happened. Text is UTF-8, '' if it is not known. It is VARBINARY,
-- since no collation of every server compares byte by byte.
CREATE TABLE IF NOT EXISTS activationlock_codes (
    seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, -- in the order of filing
    id VARBINARY(255) NOT NULL UNIQUE,
    -- What the code is filed under: one of the two, the other one is NULL.
    serial_number VARBINARY(255),
    enrollment_id VARBINARY(255),
    kind VARBINARY(255) NOT NULL, -- device or server
    state VARBINARY(255) NOT NULL,
    state_since BIGINT,
    state_reason VARBINARY(255) NOT NULL,
    cause VARBINARY(255) NOT NULL,
    given_by VARBINARY(255) NOT NULL, -- enrollment ID
    command_uuid VARBINARY(255) NOT NULL,
    asked_at BIGINT,
    received_at BIGINT,
    first_seen BIGINT,
    last_seen BIGINT,
    stale_since BIGINT,
    stale_reason VARBINARY(255) NOT NULL,
    deleted_at BIGINT, -- when the device was; its codes stay
    -- The device as it was when the code came.
    device_serial_number VARBINARY(255) NOT NULL,
    device_udid VARBINARY(255) NOT NULL,
    device_product_type VARBINARY(255) NOT NULL,
    device_imei VARBINARY(255) NOT NULL,
    device_imei2 VARBINARY(255) NOT NULL,
    device_meid VARBINARY(255) NOT NULL,
    hash VARBINARY(255) NOT NULL, -- what Apple is given of a server code, in hexadecimal digits
    digest VARBINARY(255) NOT NULL, -- finds the same code again
    sealed MEDIUMBLOB, -- NULL once it is purged
    recovery_copy MEDIUMBLOB, -- CMS, for the holders of the recovery certificates
    INDEX activationlock_codes_serial_number (serial_number),
    INDEX activationlock_codes_enrollment_id (enrollment_id),
    CHECK ((serial_number IS NULL) <> (enrollment_id IS NULL))
) ENGINE = InnoDB, ROW_FORMAT = DYNAMIC, DEFAULT CHARACTER SET = utf8mb4;

-- What is filed under the enrollment belongs to the serial number too.
CREATE TABLE IF NOT EXISTS activationlock_joins (
    serial_number VARBINARY(255) NOT NULL,
    enrollment_id VARBINARY(255) NOT NULL,
    PRIMARY KEY (serial_number, enrollment_id),
    INDEX activationlock_joins_enrollment_id (enrollment_id)
) ENGINE = InnoDB, ROW_FORMAT = DYNAMIC, DEFAULT CHARACTER SET = utf8mb4;

-- A row for whatever a code was filed under. Whoever changes its codes changes
-- its row first, and so holds its lock.
CREATE TABLE IF NOT EXISTS activationlock_locks (
    kind VARBINARY(16) NOT NULL, -- serial_number, enrollment_id or audit
    id VARBINARY(255) NOT NULL,
    updates BIGINT NOT NULL DEFAULT 0,
    joined BIGINT NOT NULL DEFAULT 0, -- 1 for a serial number with joins
    PRIMARY KEY (kind, id)
) ENGINE = InnoDB, ROW_FORMAT = DYNAMIC, DEFAULT CHARACTER SET = utf8mb4;
