CREATE TABLE activationlock_audit (
    -- What people did with codes, one act for each row. Each digest is over its
    -- row and the digest of the row before. Text that is not known is ''.
    number INTEGER PRIMARY KEY, -- from 1, without gaps
    at INTEGER NOT NULL, -- microseconds since 1970 in UTC
    act TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    enrollment_id TEXT NOT NULL,
    record_id TEXT NOT NULL,
    detail TEXT NOT NULL,
    digest TEXT NOT NULL -- hexadecimal digits
) STRICT;
