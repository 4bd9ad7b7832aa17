package activationlocktest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
)

// Enroll enrolls the device, again if it is enrolled, and returns Authenticate
// and TokenUpdate. It gives [ErrLocked] for a device that does not activate.
// While the device is unreachable nothing happens.
func (d *Device) Enroll() ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unreachable {
		return nil, nil
	}
	if !d.activated() {
		return nil, ErrLocked
	}
	c := d.config
	d.unmanage()
	d.enrolled = true
	d.awaiting = c.ADE && c.AwaitConfiguration && (d.blank || d.migrated)
	d.setUp()
	if c.Supervised && (!d.supervised || d.migrated) {
		d.supervise()
	}
	if c.UserEnrollment {
		d.enrollmentID = d.identifier()
	}
	d.unlockToken, d.token, d.pushMagic = d.random(64), d.random(32), d.identifier()
	d.contact()

	authenticate := d.message(nil, dict{
		"MessageType": "Authenticate", "Topic": c.Topic, "DeviceName": c.DeviceName, "Model": model,
		"ModelName": d.modelName(), "ProductName": c.ProductName, "OSVersion": c.OSVersion, "BuildVersion": buildVersion,
	})
	if !c.UserEnrollment && c.WithheldRights&16 == 0 {
		authenticate["SerialNumber"] = d.serialNumber()
		for key, value := range map[string]string{"IMEI": spaced(c.IMEI), "MEID": c.MEID} {
			if value != "" && d.platform == ios {
				authenticate[key] = value
			}
		}
	}
	if d.platform == macos {
		authenticate["Challenge"] = d.random(16) // in no schema, but in real messages
	}
	return append(d.send(authenticate), d.send(d.tokenUpdate(nil))...), nil
}

// serialNumber is what the device claims.
func (d *Device) serialNumber() string { return cmp.Or(d.claimed, d.config.SerialNumber) }

// message adds who a message is from.
func (d *Device) message(u *UserChannel, m dict) dict {
	if d.config.UserEnrollment {
		m["EnrollmentID"] = d.enrollmentID
	} else {
		m["UDID"] = d.config.UDID
	}
	if u == nil {
		return m
	}
	m["UserShortName"], m["UserLongName"] = u.shortName, u.shortName
	if d.config.UserEnrollment {
		m["EnrollmentUserID"] = u.id
	} else {
		m["UserID"] = u.id
	}
	if d.platform == macos {
		m["NotOnConsole"] = false
	}
	return m
}

func (d *Device) tokenUpdate(u *UserChannel) dict {
	m := d.message(u, dict{"MessageType": "TokenUpdate", "Topic": d.config.Topic, "Token": d.token, "PushMagic": d.pushMagic})
	if u == nil && d.config.ADE {
		m["AwaitingConfiguration"] = d.awaiting
	}
	if u == nil && (d.platform == ios || d.platform == visionos) && !d.config.SharedIPad && !d.config.UserEnrollment {
		m["UnlockToken"] = d.unlockToken
	}
	return m
}

// contact is what happens whenever the device gets in touch.
func (d *Device) contact() {
	if d.config.Reading.Relock == RelockAtNextMessage {
		d.lockIfAllowed()
	}
}

// send puts messages on their way and returns those that arrive.
func (d *Device) send(m dict) [][]byte {
	raw := write(m)
	if d.lose > 0 {
		d.lose--
		return nil
	}
	if d.twice > 0 {
		d.twice--
		return [][]byte{raw, bytes.Clone(raw)}
	}
	return [][]byte{raw}
}

// speak sends what say returns, if the device is enrolled and can be reached.
func (d *Device) speak(say func() (dict, error)) ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.enrolled {
		return nil, ErrNotEnrolled
	}
	if d.unreachable {
		return nil, nil
	}
	d.contact()
	m, err := say()
	if m == nil || err != nil {
		return nil, err
	}
	sent := d.send(m)
	if !d.enrolled && !d.blank && !d.config.NoCheckOut { // the command removed the profile
		sent = append(sent, d.send(d.checkOut())...)
	}
	return sent, nil
}

// TokenUpdate returns another TokenUpdate, with a new push token.
func (d *Device) TokenUpdate() ([][]byte, error) {
	return d.speak(func() (dict, error) {
		d.token = d.random(32)
		return d.tokenUpdate(nil), nil
	})
}

func (d *Device) checkOut() dict {
	return d.message(nil, dict{"MessageType": "CheckOut", "Topic": d.config.Topic})
}

// CheckOut plays the person who removes the management profile, and returns the
// CheckOut message if the device sends one and can be reached. Supervision stays.
func (d *Device) CheckOut() ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.enrolled {
		return nil, ErrNotEnrolled
	}
	d.unmanage()
	if d.unreachable || d.config.NoCheckOut {
		return nil, nil
	}
	return d.send(d.checkOut()), nil
}

// Idle returns the message that asks for a command.
func (d *Device) Idle() ([][]byte, error) {
	return d.speak(func() (dict, error) { return d.message(nil, dict{"Status": "Idle"}), nil })
}

// Answer runs a command and returns the report, followed by CheckOut if that was
// the end of the management. An empty command, which is how a server says that
// it has none, gives no message; one that is no property list or has no
// CommandUUID gives an error.
func (d *Device) Answer(command []byte) ([][]byte, error) { return d.answer(nil, command) }

func (d *Device) answer(u *UserChannel, command []byte) ([][]byte, error) {
	return d.speak(func() (dict, error) {
		if len(command) == 0 {
			return nil, nil
		}
		envelope, err := read(command)
		if err != nil {
			return nil, err
		}
		uuid, _ := envelope["CommandUUID"].(string)
		if uuid == "" {
			return nil, errors.New("activationlocktest: a command without CommandUUID")
		}
		report := dict{"CommandUUID": uuid}
		c, _ := envelope["Command"].(dict)
		name, _ := c["RequestType"].(string)
		if d.platform == macos && name != "" {
			report["RequestType"] = name // in no schema, but in real messages
		}
		from := d.message(u, dict{}) // before the command changes who the device is
		maps.Copy(report, d.run(u, name, c))
		maps.Copy(report, from)
		return report, nil
	})
}

// User returns the channel of a user on a Mac or a Shared iPad; nil on other
// devices. ID is the UserID; on a Shared iPad it is what Apple prescribes.
func (d *Device) User(id, shortName string) *UserChannel {
	if d.config.SharedIPad {
		id = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
	} else if d.platform != macos {
		return nil
	}
	return &UserChannel{device: d, id: id, shortName: shortName}
}

// UserChannel is the channel of one user of a device. Its messages come from the
// same device and concern the user.
type UserChannel struct {
	device        *Device
	id, shortName string
}

// TokenUpdate is [Device.TokenUpdate] on this channel.
func (u *UserChannel) TokenUpdate() ([][]byte, error) {
	return u.device.speak(func() (dict, error) { return u.device.tokenUpdate(u), nil })
}

// Idle is [Device.Idle] on this channel.
func (u *UserChannel) Idle() ([][]byte, error) {
	return u.device.speak(func() (dict, error) { return u.device.message(u, dict{"Status": "Idle"}), nil })
}

// Answer is [Device.Answer] on this channel. Commands of Activation Lock fail
// there.
func (u *UserChannel) Answer(command []byte) ([][]byte, error) { return u.device.answer(u, command) }

// maxPoll is how many commands one Poll runs.
const maxPoll = 1000

// Poll plays what the device does after a push: it asks the server for commands
// and reports what came of them until there are none, and returns how many there
// were. A message that is lost ends it. If a command ends the management, CheckOut
// goes to the same URL. The client authenticates the device. A status other than
// 200 and a server that never stops are errors.
func (d *Device) Poll(ctx context.Context, client *http.Client, url string) (commands int, err error) {
	messages, err := d.Idle()
	for {
		if err != nil || len(messages) == 0 {
			return commands, err
		}
		command, err := put(ctx, client, url, "application/x-apple-aspen-mdm; charset=UTF-8", messages)
		if err != nil || len(command) == 0 {
			return commands, err
		}
		if commands++; commands > maxPoll {
			return commands, errors.New("activationlocktest: the server never stops sending commands")
		}
		if messages, err = d.Answer(command); err != nil {
			return commands, err
		}
		if !d.Enrolled() { // what is left to say is a check-in
			return commands, d.farewell(ctx, client, url, messages)
		}
	}
}

// farewell sends the last messages of a management.
func (d *Device) farewell(ctx context.Context, client *http.Client, url string, messages [][]byte) error {
	for _, m := range messages {
		kind := "application/x-apple-aspen-mdm; charset=UTF-8"
		if bytes.Contains(m, []byte("<key>MessageType</key>")) {
			kind = checkInType
		}
		if _, err := put(ctx, client, url, kind, [][]byte{m}); err != nil {
			return err
		}
	}
	return nil
}

const checkInType = "application/x-apple-aspen-mdm-checkin"

// CheckIn sends messages such as those of [Device.Enroll] to the server's check-in
// URL. A status other than 200 is an error.
func (d *Device) CheckIn(ctx context.Context, client *http.Client, url string, messages [][]byte) error {
	_, err := put(ctx, client, url, checkInType, messages)
	return err
}

// put sends messages, and returns the answer to the first: the sender of a
// message that arrives twice knows of one.
func put(ctx context.Context, client *http.Client, url, kind string, messages [][]byte) (first []byte, err error) {
	for i, m := range messages {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(m))
		if err != nil {
			return nil, fmt.Errorf("activationlocktest: request to the server: %w", err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("activationlocktest: request to the server: %w", err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("activationlocktest: answer of the server: %w", err)
		}
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("activationlocktest: the server answered with status %d", resp.StatusCode)
		}
		if i == 0 {
			first = body
		}
	}
	return first, nil
}

// spaced writes an IMEI with the spaces that devices put into it: two digits,
// six, six, one.
func spaced(imei string) string {
	if len(imei) != 15 {
		return imei
	}
	return strings.Join([]string{imei[:2], imei[2:8], imei[8:14], imei[14:]}, " ")
}
