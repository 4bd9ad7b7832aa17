-- What people did with codes, one act for each row. Each digest is over its row
-- and the digest of the row before. Text that is not known is ''.
CREATE TABLE IF NOT EXISTS activationlock_audit (
    number BIGINT NOT NULL PRIMARY KEY, -- from 1, without gaps
    at BIGINT NOT NULL, -- microseconds since 1970 in UTC
    act VARBINARY(255) NOT NULL,
    actor VARBINARY(255) NOT NULL,
    reason VARBINARY(255) NOT NULL,
    serial_number VARBINARY(255) NOT NULL,
    enrollment_id VARBINARY(255) NOT NULL,
    record_id VARBINARY(255) NOT NULL,
    detail VARBINARY(255) NOT NULL,
    digest VARBINARY(255) NOT NULL -- hexadecimal digits
) ENGINE = InnoDB, ROW_FORMAT = DYNAMIC, DEFAULT CHARACTER SET = utf8mb4;
