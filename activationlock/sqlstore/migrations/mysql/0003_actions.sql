-- One bypass of a device's lock for each row. Times are microseconds since 1970
-- in UTC, NULL where nothing happened.
CREATE TABLE IF NOT EXISTS activationlock_actions (
    id VARBINARY(255) NOT NULL PRIMARY KEY,
    -- Whose codes are tried: one of the two, the other one is NULL.
    serial_number VARBINARY(255),
    enrollment_id VARBINARY(255),
    is_open SMALLINT CHECK (is_open = 1), -- 1 while it is not over, NULL then
    state VARBINARY(255) NOT NULL, -- as in the body, and so are the times
    started_at BIGINT NOT NULL,
    next_at BIGINT, -- nothing is sent before
    ended_at BIGINT,
    body MEDIUMBLOB NOT NULL, -- all of it in JSON; it has no codes in it
    -- A device has one action at a time that is not over. Many may have NULL.
    UNIQUE INDEX activationlock_actions_open_serial_number (is_open, serial_number),
    UNIQUE INDEX activationlock_actions_open_enrollment_id (is_open, enrollment_id),
    INDEX activationlock_actions_open (is_open, id),
    INDEX activationlock_actions_serial_number (serial_number, started_at, id),
    CHECK ((serial_number IS NULL) <> (enrollment_id IS NULL))
) ENGINE = InnoDB, ROW_FORMAT = DYNAMIC, DEFAULT CHARACTER SET = utf8mb4;
