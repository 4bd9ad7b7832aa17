package main

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	nano "github.com/micromdm/nanomdm/service/webhook"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
)

// Whoever speaks is named as NanoMDM names it, whether the event says so (NanoMDM
// 0.9) or only the device that spoke (MicroMDM, and NanoMDM before).
func TestEnrollment(t *testing.T) {
	t.Parallel()
	const mac, shared = "7A4E1C52-9B0D-5F36-8E21-000000000003", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
	for name, c := range map[string]struct {
		config activationlocktest.DeviceConfig
		user   bool
	}{
		"device":                  {config: activationlocktest.DeviceConfig{}},
		"user enrollment":         {config: activationlocktest.DeviceConfig{UserEnrollment: true}},
		"user of a Mac":           {config: activationlocktest.DeviceConfig{ProductName: "Mac14,2", UDID: mac}, user: true},
		"user of a shared iPad":   {config: activationlocktest.DeviceConfig{ProductName: "iPad14,3", SharedIPad: true}, user: true},
		"user of user enrollment": {config: activationlocktest.DeviceConfig{ProductName: "Mac14,2", UserEnrollment: true}, user: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.SerialNumber = serial
			d, err := activationlocktest.NewDevice(c.config)
			require.NoError(t, err)
			messages, err := d.Enroll()
			require.NoError(t, err)
			raw := messages[1]
			if c.user {
				u := d.User("6F1E0C11-0000-4000-8000-000000000007", "jane@example.org")
				require.NotNil(t, u)
				messages, err := u.TokenUpdate()
				require.NoError(t, err)
				raw = messages[0]
			}
			parsed, err := mdm.DecodeCheckin(raw)
			require.NoError(t, err)
			update := parsed.(*mdm.TokenUpdate)
			resolved := update.Enrollment.Resolved()
			require.NotNil(t, resolved)
			require.Equal(t, c.user, resolved.IsUserChannel)

			want := engine.Enrollment{ID: resolved.DeviceChannelID}
			event := nano.CheckinEvent{
				Ids:        &nano.IDs{Id: resolved.DeviceChannelID, Type: nano.IDsType(resolved.Type.String())},
				RawPayload: nano.RawPayload(base64.StdEncoding.EncodeToString(raw)),
			}
			if udid := nano.UDID(update.UDID); udid != "" {
				event.Udid = &udid
			}
			if id := nano.EnrollmentID(update.EnrollmentID); id != "" {
				event.EnrollmentId = &id
			}
			if c.user {
				want = engine.Enrollment{
					ID:       resolved.DeviceChannelID + ":" + resolved.UserChannelID,
					ParentID: resolved.DeviceChannelID, Channel: engine.UserChannel,
				}
				event.Ids.Id, event.Ids.ParentId = want.ID, &want.ParentID
			}
			if c.config.SharedIPad {
				require.NotContains(t, want.ID, shared)
			}
			require.Equal(t, want, enrollmentOf(t, event), "with ids")
			event.Ids = nil
			require.Equal(t, want, enrollmentOf(t, event), "without")
		})
	}
}

// enrollmentOf reads NanoMDM's own form of an event.
func enrollmentOf(t *testing.T, checkin nano.CheckinEvent) engine.Enrollment {
	t.Helper()
	body, err := json.Marshal(nano.EventJson{Topic: nano.EventJsonTopicMdmTokenUpdate, CheckinEvent: &checkin})
	require.NoError(t, err)
	topic, m, err := readEvent(body)
	require.NoError(t, err)
	require.Equal(t, topicTokenUpdate, topic)
	from, err := m.enrollment()
	require.NoError(t, err)
	return from
}
