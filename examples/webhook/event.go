package main

import (
	"cmp"
	"encoding/json"
	"errors"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/mdmcmd"
)

// event is what NanoMDM and MicroMDM post: NanoMDM took MicroMDM's form and added
// to it. What is not needed is left out.
type event struct {
	Topic       string   `json:"topic"`
	Checkin     *message `json:"checkin_event"`
	Acknowledge *message `json:"acknowledge_event"`
}

// message is what a device said.
type message struct {
	UDID         string `json:"udid"`
	EnrollmentID string `json:"enrollment_id"` // in place of the UDID, in a user enrollment
	IDs          *ids   `json:"ids"`           // NanoMDM 0.9 and later
	RawPayload   []byte `json:"raw_payload"`
}

// ids name an enrollment as NanoMDM does.
type ids struct {
	ID       string `json:"id"`
	ParentID string `json:"parent_id"` // of a user channel: its device channel
}

// The topics that concern Activation Lock. Others, such as those of bootstrap
// tokens, are not read.
const (
	topicAuthenticate = "mdm.Authenticate"
	topicTokenUpdate  = "mdm.TokenUpdate"
	topicCheckOut     = "mdm.CheckOut"
	topicConnect      = "mdm.Connect"
)

// errEvent means that a post is no event. What the JSON package says of one may
// quote it.
var errEvent = errors.New("it is no event of NanoMDM or MicroMDM")

// readEvent reads a post. The message is nil for an event of no concern.
func readEvent(body []byte) (topic string, m *message, err error) {
	var e event
	if err := json.Unmarshal(body, &e); err != nil || e.Topic == "" {
		return "", nil, errEvent
	}
	switch e.Topic {
	case topicAuthenticate, topicTokenUpdate, topicCheckOut:
		m = e.Checkin
	case topicConnect:
		m = e.Acknowledge
	default:
		return e.Topic, nil, nil
	}
	if m == nil || len(m.RawPayload) == 0 {
		return e.Topic, nil, errEvent
	}
	return e.Topic, m, nil
}

// enrollment says who sent the message: which identifier the server let in with
// the certificate, and never the device that the message names. Only which of its
// users spoke is told by the message where the event does not say.
func (m *message) enrollment() (engine.Enrollment, error) {
	if m.IDs != nil {
		from := engine.Enrollment{ID: m.IDs.ID}
		if m.IDs.ParentID != "" {
			from.ParentID, from.Channel = m.IDs.ParentID, engine.UserChannel
		}
		return checked(from)
	}
	from := engine.Enrollment{ID: cmp.Or(m.UDID, m.EnrollmentID)}
	parsed, err := mdmcmd.Parse(m.RawPayload)
	if err == nil && from.ID != "" && parsed.From().Channel() == engine.UserChannel {
		from.ParentID, from.Channel = from.ID, engine.UserChannel
		from.ID += ":" + user(parsed.From())
	}
	return checked(from)
}

// sharedUser is the user ID that all users of a Shared iPad have.
const sharedUser = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"

// user names a user of a device as NanoMDM does.
func user(e mdmcmd.Enrollment) string {
	if e.UserID == sharedUser {
		return e.UserShortName
	}
	return cmp.Or(e.EnrollmentUserID, e.UserID)
}

func checked(from engine.Enrollment) (engine.Enrollment, error) {
	if from.ID == "" {
		return from, errEvent
	}
	return from, nil
}
