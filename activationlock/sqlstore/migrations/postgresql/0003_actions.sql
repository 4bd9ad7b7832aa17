-- One bypass of a device's lock for each row. Times are microseconds since 1970
-- in UTC, NULL where nothing happened.
CREATE TABLE activationlock_actions (
    id TEXT COLLATE "C" PRIMARY KEY,
    -- Whose codes are tried: one of the two, the other one is NULL.
    serial_number TEXT COLLATE "C",
    enrollment_id TEXT COLLATE "C",
    is_open SMALLINT CHECK (is_open = 1), -- 1 while it is not over, NULL then
    state TEXT NOT NULL, -- as in the body, and so are the times
    started_at BIGINT NOT NULL,
    next_at BIGINT, -- nothing is sent before
    ended_at BIGINT,
    body TEXT NOT NULL, -- all of it in JSON; it has no codes in it
    CHECK ((serial_number IS NULL) <> (enrollment_id IS NULL))
);

-- A device has one action at a time that is not over.
CREATE UNIQUE INDEX activationlock_actions_open_serial_number ON activationlock_actions (serial_number) WHERE is_open = 1;

CREATE UNIQUE INDEX activationlock_actions_open_enrollment_id ON activationlock_actions (enrollment_id) WHERE is_open = 1;

CREATE INDEX activationlock_actions_open ON activationlock_actions (id) WHERE is_open = 1;

CREATE INDEX activationlock_actions_serial_number ON activationlock_actions (serial_number, started_at, id);

-- Locks an ID, whether there is an action or not, and then reads the action.
CREATE FUNCTION activationlock_lock_action(action TEXT) RETURNS SETOF activationlock_actions LANGUAGE plpgsql AS $$
BEGIN
    PERFORM activationlock_lock('action', action);
    RETURN QUERY SELECT a.* FROM activationlock_actions AS a WHERE a.id = action;
END $$;
