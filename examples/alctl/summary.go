package main

import "github.com/activationlock/sdk/mdmcmd"

// summary is what the library understands of a message. What the message does
// not say is left out.
type summary struct {
	Type           string                  `json:"type"`
	Channel        mdmcmd.Channel          `json:"channel,omitempty"`
	DeviceID       string                  `json:"deviceID,omitempty"`
	UserEnrollment *bool                   `json:"userEnrollment,omitempty"`
	Status         mdmcmd.Status           `json:"status,omitempty"`
	BypassCode     mdmcmd.BypassCodeResult `json:"bypassCode,omitempty"`
	SettingsStatus mdmcmd.Status           `json:"settingsStatus,omitempty"`
	ErrorClass     mdmcmd.ErrorClass       `json:"errorClass,omitempty"`
	Platform       mdmcmd.Platform         `json:"platform,omitempty"`
	LockManageable *bool                   `json:"lockManageable,omitempty"` // of a Mac
	Cellular       *cellular               `json:"cellular,omitempty"`
	Location       *location               `json:"location,omitempty"`
}

type cellular struct {
	IMEI  string `json:"imei,omitempty"`
	IMEI2 string `json:"imei2,omitempty"`
	MEID  string `json:"meid,omitempty"`
}

type location struct {
	Latitude           float64  `json:"latitude"`
	Longitude          float64  `json:"longitude"`
	HorizontalAccuracy *float64 `json:"horizontalAccuracy,omitempty"`
	VerticalAccuracy   *float64 `json:"verticalAccuracy,omitempty"`
	Altitude           *float64 `json:"altitude,omitempty"`
	Speed              *float64 `json:"speed,omitempty"`
	Course             *float64 `json:"course,omitempty"`
	Timestamp          string   `json:"timestamp,omitempty"`
}

// summarize returns nil for what is no message, or none of concern. Its texts
// are from the bytes that may be shown, which may be redacted; only the bytes
// as they came tell what became of the bypass code.
func summarize(raw, shown []byte) *summary {
	message, err := mdmcmd.Parse(shown)
	if err != nil {
		return nil
	}
	s := new(summary)
	switch m := message.(type) {
	case *mdmcmd.Authenticate:
		s.Type = "Authenticate"
		s.Platform = mdmcmd.PlatformOf(m.ProductName)
		s.setCellular(mdmcmd.Cellular{IMEI: m.IMEI, MEID: m.MEID})
	case *mdmcmd.TokenUpdate:
		s.Type = "TokenUpdate"
	case *mdmcmd.CheckOut:
		s.Type = "CheckOut"
	case *mdmcmd.ReturnToService:
		s.Type = "ReturnToService"
	case *mdmcmd.Report:
		s.Type = "Report"
		s.setReport(m)
		s.BypassCode = bypassCodeResult(raw)
	}
	from := message.From()
	s.DeviceID = from.DeviceID()
	if s.DeviceID != "" {
		s.Channel = from.Channel()
		s.UserEnrollment = new(from.IsUserEnrollment())
	}
	return s
}

func (s *summary) setReport(r *mdmcmd.Report) {
	s.Status = r.Status
	s.ErrorClass = r.ErrorChain.Class()
	if len(r.Settings) > 0 {
		s.SettingsStatus = r.SettingsStatus()
	}
	if q := r.QueryResponses; q != nil {
		s.Platform = mdmcmd.PlatformOf(q.ProductName)
		s.setCellular(q.Cellular())
	}
	if i := r.SecurityInfo; i != nil && i.ManagementStatus != nil {
		s.LockManageable = i.ManagementStatus.IsActivationLockManageable
	}
	if l := r.Location; l != nil {
		s.Location = &location{
			l.Latitude, l.Longitude, l.HorizontalAccuracy, l.VerticalAccuracy, l.Altitude, l.Speed, l.Course, l.Timestamp,
		}
	}
}

func (s *summary) setCellular(c mdmcmd.Cellular) {
	if c != (mdmcmd.Cellular{}) {
		s.Cellular = &cellular{c.IMEI, c.IMEI2, c.MEID}
	}
}

// bypassCodeResult is "" for a report that cannot be told to answer the
// question for the code: only a Mac says which command it answers.
func bypassCodeResult(raw []byte) mdmcmd.BypassCodeResult {
	message, err := mdmcmd.Parse(raw)
	if err != nil {
		return ""
	}
	r, ok := message.(*mdmcmd.Report)
	if !ok || r.BypassCode == nil && r.RequestType != mdmcmd.ActivationLockBypassCode.RequestType() {
		return ""
	}
	_, result := r.BypassCodeAnswer()
	return result
}
