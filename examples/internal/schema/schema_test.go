package schema_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/activationlock/sdk/internal/reference"
	"github.com/activationlock/sdk/mdmcmd"
)

// Apple's schemas.

// platform is what a schema says of one platform. What it does not say is
// inherited from the key around it, or from the whole.
type platform struct {
	Introduced, Deprecated, Removed, AccessRights string
	Supervised, RequiresDEP, UserChannel          *bool
	SharedIPad                                    struct {
		Mode        string
		UserChannel *bool
	}
	UserEnrollment struct{ Mode string }
}

func (p platform) available() bool { return p.Introduced != "n/a" && p.Introduced != "" }

// over returns p where it says something, and q elsewhere.
func (p platform) over(q platform) platform {
	return platform{
		Introduced: either(p.Introduced, q.Introduced), Deprecated: either(p.Deprecated, q.Deprecated),
		Removed: either(p.Removed, q.Removed), AccessRights: either(p.AccessRights, q.AccessRights),
		Supervised: either(p.Supervised, q.Supervised), RequiresDEP: either(p.RequiresDEP, q.RequiresDEP),
		UserChannel: either(p.UserChannel, q.UserChannel),
		SharedIPad: struct {
			Mode        string
			UserChannel *bool
		}{either(p.SharedIPad.Mode, q.SharedIPad.Mode), either(p.SharedIPad.UserChannel, q.SharedIPad.UserChannel)},
		UserEnrollment: struct{ Mode string }{either(p.UserEnrollment.Mode, q.UserEnrollment.Mode)},
	}
}

func either[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

type platforms map[string]platform

func (p platforms) over(q platforms) platforms {
	all := maps.Clone(q)
	if all == nil {
		all = platforms{}
	}
	for name, says := range p {
		all[name] = says.over(all[name])
	}
	return all
}

// key is one key of a schema, or the value that stands for the members of an
// array, or the whole of a message.
type key struct {
	Key, Type, Presence string
	SupportedOS         platforms `yaml:"supportedOS"`
	RangeList           []string  `yaml:"rangelist"`
	SubKeys             keys      `yaml:"subkeys"`
	Content             string
}

type keys []*key

func (k keys) find(name string) *key {
	for _, one := range k {
		if one.Key == name {
			return one
		}
	}
	return nil
}

// with returns the keys of both; newer ones may add, but not change a type.
func (k keys) with(newer keys) (keys, error) {
	all := slices.Clone(k)
	for _, n := range newer {
		i := slices.IndexFunc(all, func(o *key) bool { return o.Key == n.Key })
		if i < 0 {
			all = append(all, n)
			continue
		}
		o := all[i]
		if o.Type != n.Type {
			return nil, fmt.Errorf("key %s has type %s in one schema and %s in another", o.Key, o.Type, n.Type)
		}
		both := &key{
			Key: o.Key, Type: o.Type, Presence: o.Presence, SupportedOS: n.SupportedOS.over(o.SupportedOS),
			RangeList: slices.Compact(slices.Sorted(slices.Values(slices.Concat(o.RangeList, n.RangeList)))), Content: n.Content,
		}
		if n.Presence == "required" {
			both.Presence = n.Presence
		}
		var err error
		if both.SubKeys, err = o.SubKeys.with(n.SubKeys); err != nil {
			return nil, fmt.Errorf("%s.%w", o.Key, err)
		}
		all[i] = both
	}
	return all, nil
}

// schema is one command or check-in.
type schema struct {
	Payload struct {
		RequestType string
		SupportedOS platforms `yaml:"supportedOS"`
	}
	Request keys `yaml:"payloadkeys"`
	Answer  keys `yaml:"responsekeys"`
}

func folder(t *testing.T) string {
	t.Helper()
	return reference.Path(t, "apple-device-management")
}

// load reads all schemas of a kind ("commands" or "checkin") and joins the
// versions, oldest first. JSON is YAML, too.
func load(t *testing.T, kind string) map[string]*schema {
	t.Helper()
	root := folder(t)
	all := map[string]*schema{}
	for _, pattern := range []string{"mdm/" + kind + "/*.yaml", "json-26/" + kind + "/*.json", "release-27.0/mdm/" + kind + "/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		require.NoError(t, err)
		if kind == "commands" || !strings.HasPrefix(pattern, "release") {
			require.NotEmpty(t, files, pattern)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			next := new(schema)
			require.NoError(t, yaml.Unmarshal(raw, next), file)
			name := next.Payload.RequestType
			require.NotEmpty(t, name, file)
			if before := all[name]; before != nil {
				next.Payload.SupportedOS = next.Payload.SupportedOS.over(before.Payload.SupportedOS)
				next.Request, err = before.Request.with(next.Request)
				require.NoError(t, err, file)
				next.Answer, err = before.Answer.with(next.Answer)
				require.NoError(t, err, file)
			}
			all[name] = next
		}
	}
	return all
}

// rights are the names of access rights in the schemas of commands, with what
// the schema of the profile calls the bit.
var rights = map[string]string{
	"AllowInstallationRemoval":     "Allow installation and removal of configuration profiles",
	"AllowPasscodeRemovalAndLock":  "Allow device lock and passcode removal",
	"AllowDeviceErase":             "Allow device erase",
	"AllowQueryDeviceInformation":  "Allow query of device information",
	"AllowQueryNetworkInformation": "Allow query of network information",
	"AllowQuerySecurity":           "Allow security-related queries",
	"AllowSettings":                "Allow manipulation of settings",
}

// loadRights returns the bits of the rights, by their names.
func loadRights(t *testing.T) map[string]mdmcmd.AccessRight {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder(t), "mdm", "profiles", "com.apple.mdm.yaml"))
	require.NoError(t, err)
	profile := new(schema)
	require.NoError(t, yaml.Unmarshal(raw, profile))
	flags := profile.Request.find("AccessRights")
	require.NotNil(t, flags)
	bits := map[string]mdmcmd.AccessRight{"None": 0, "n/a": 0, "": 0}
	for name, text := range rights {
		match := regexp.MustCompile(`'(\d+)': ` + regexp.QuoteMeta(text) + `[ .]`).FindStringSubmatch(flags.Content)
		require.NotNil(t, match, text)
		bit, err := strconv.Atoi(match[1])
		require.NoError(t, err)
		bits[name] = mdmcmd.AccessRight(bit)
	}
	return bits
}

// The package.

// constant is a constant of the package as its source has it.
type constant struct{ name, value, comment string }

// source returns the constants of the package by their type, and the types
// that have a method RequestType, which makes a command.
func source(t *testing.T) (constants map[string][]constant, commandTypes []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "mdmcmd", "*.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	constants = map[string][]constant{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Name.Name == "RequestType" && decl.Recv != nil {
					receiver := decl.Recv.List[0].Type
					if pointer, ok := receiver.(*ast.StarExpr); ok {
						receiver = pointer.X
					}
					commandTypes = append(commandTypes, receiver.(*ast.Ident).Name)
				}
			case *ast.GenDecl:
				if decl.Tok != token.CONST {
					continue
				}
				for _, spec := range decl.Specs {
					spec := spec.(*ast.ValueSpec)
					for i, value := range spec.Values {
						typ := spec.Type
						if call, ok := value.(*ast.CallExpr); ok && typ == nil && len(call.Args) == 1 {
							typ, value = call.Fun, call.Args[0]
						}
						named, isNamed := typ.(*ast.Ident)
						literal, isLiteral := value.(*ast.BasicLit)
						if !isNamed || !isLiteral {
							continue
						}
						text := literal.Value
						if literal.Kind == token.STRING {
							text, err = strconv.Unquote(text)
							require.NoError(t, err)
						}
						constants[named.Name] = append(constants[named.Name], constant{spec.Names[i].Name, text, strings.TrimSpace(spec.Comment.Text())})
					}
				}
			}
		}
	}
	return constants, commandTypes
}

func values(constants []constant) []string {
	var list []string
	for _, c := range constants {
		list = append(list, c.value)
	}
	slices.Sort(list)
	return list
}

func pointer[T any](v T) *T { return &v }

func hidden(s string) mdmcmd.Secret { return mdmcmd.NewSecret([]byte(s)) }

// command is a command with the least that it can be sent with, and with
// everything.
type command struct {
	least, full mdmcmd.Command
	unsent      []string // keys of the schema that the package does not send
}

func commands(t *testing.T) []command {
	t.Helper()
	constants, _ := source(t)
	var all []command
	for _, c := range constants["SimpleCommand"] {
		all = append(all, command{least: mdmcmd.SimpleCommand(c.value), full: mdmcmd.SimpleCommand(c.value)})
	}
	var queries []mdmcmd.Query
	for _, c := range constants["Query"] {
		queries = append(queries, mdmcmd.Query(c.value))
	}
	return append(all,
		command{
			least:  mdmcmd.DeviceInformation{Queries: []mdmcmd.Query{mdmcmd.QueryUDID}},
			full:   mdmcmd.DeviceInformation{Queries: queries},
			unsent: []string{"DeviceAttestationNonce"},
		},
		command{
			least: mdmcmd.Settings{MDMOptions: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: pointer(false)}},
			full: mdmcmd.Settings{MDMOptions: mdmcmd.MDMOptions{
				ActivationLockAllowedWhileSupervised: pointer(true), BootstrapTokenAllowed: pointer(true),
				PromptUserToAllowBootstrapTokenForAuthentication: pointer(true), IdleRebootAllowed: pointer(true),
			}},
		},
		command{
			least: mdmcmd.EraseDevice{},
			full: mdmcmd.EraseDevice{
				PreserveDataPlan: pointer(true), DisallowProximitySetup: pointer(true), PIN: hidden("123456"),
				ObliterationBehavior: mdmcmd.ObliterateAlways,
				ReturnToService: &mdmcmd.ReturnToServiceOptions{
					Enabled: true, WiFiProfileData: hidden("a"), MDMProfileData: hidden("b"), BootstrapToken: hidden("c"),
					ShouldRetryEnrollment: pointer(true),
				},
			},
		},
		command{
			least: mdmcmd.EraseDevice{ReturnToService: &mdmcmd.ReturnToServiceOptions{}},
			full:  nil,
		},
		command{
			least: mdmcmd.EnableLostMode{PhoneNumber: "1"},
			full:  mdmcmd.EnableLostMode{Message: "a", PhoneNumber: "1", Footnote: "b"},
		},
		command{
			least: mdmcmd.DeviceLock{},
			full:  mdmcmd.DeviceLock{Message: "a", PhoneNumber: "1", PIN: hidden("123456")},
		},
		command{
			least: mdmcmd.ClearPasscode{UnlockToken: hidden("a")},
			full:  mdmcmd.ClearPasscode{UnlockToken: hidden("a")},
		},
		command{
			least: mdmcmd.RemoveProfile{Identifier: "a"},
			full:  mdmcmd.RemoveProfile{Identifier: "a"},
		},
	)
}

// refused are commands without a key that the schema requires, by that key.
// Keys that a command cannot be without are not here.
var refused = map[string]mdmcmd.Command{
	"DeviceInformation.Queries": mdmcmd.DeviceInformation{},
	"Settings.Settings":         mdmcmd.Settings{},
	"ClearPasscode.UnlockToken": mdmcmd.ClearPasscode{},
	"RemoveProfile.Identifier":  mdmcmd.RemoveProfile{},
}

// value is a value of a property list.
type value struct {
	kind    string // as the schemas write it
	text    string
	entries map[string]*value
	members []*value
}

// encode encodes a command and reads it again, by other means.
func encode(t *testing.T, c mdmcmd.Command) *value {
	t.Helper()
	raw, err := mdmcmd.Encode("1", c)
	require.NoError(t, err)
	d := xml.NewDecoder(bytes.NewReader(raw))
	var read func(start xml.StartElement) *value
	read = func(start xml.StartElement) *value {
		v := &value{kind: "<" + start.Name.Local + ">", entries: map[string]*value{}}
		switch start.Name.Local {
		case "true", "false":
			v.kind = "<boolean>"
		case "dict":
			v.kind = "<dictionary>"
		}
		var last *value
		for {
			next, err := d.Token()
			require.NoError(t, err)
			switch next := next.(type) {
			case xml.CharData:
				v.text += string(next)
			case xml.EndElement:
				return v
			case xml.StartElement:
				child := read(next)
				switch {
				case last != nil:
					require.NotContains(t, v.entries, last.text)
					v.entries[last.text], last = child, nil
				case child.kind == "<key>":
					last = child
				default:
					v.members = append(v.members, child)
				}
			}
		}
	}
	for {
		next, err := d.Token()
		require.NoError(t, err)
		if start, ok := next.(xml.StartElement); ok && start.Name.Local == "plist" {
			list := read(start)
			require.Len(t, list.members, 1)
			return list.members[0]
		}
	}
}

// Tests.

func TestEveryCommandIsCompared(t *testing.T) {
	t.Parallel()
	_, want := source(t)
	compared := map[string]bool{}
	for _, c := range commands(t) {
		compared[reflect.TypeOf(c.least).Name()] = true
		if c.full != nil {
			require.Equal(t, reflect.TypeOf(c.least), reflect.TypeOf(c.full))
			requireFilled(t, reflect.ValueOf(c.full), c.full.RequestType())
		}
	}
	require.ElementsMatch(t, want, slices.Collect(maps.Keys(compared)), "commands of the package, and of this test")
}

// requireFilled fails on a field that is zero, which would not be compared.
func requireFilled(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	require.False(t, v.IsZero(), "%s is not filled", path)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.IsExported() {
			requireFilled(t, v.Field(i), path+"."+field.Name)
		}
	}
}

func TestSentKeys(t *testing.T) {
	t.Parallel()
	schemas := load(t, "commands")
	for _, c := range commands(t) {
		for _, one := range []mdmcmd.Command{c.least, c.full} {
			if one == nil {
				continue
			}
			name := one.RequestType()
			require.Contains(t, schemas, name)
			envelope := encode(t, one)
			require.ElementsMatch(t, []string{"CommandUUID", "Command"}, slices.Collect(maps.Keys(envelope.entries)))
			require.Equal(t, "<string>", envelope.entries["CommandUUID"].kind)
			sent := envelope.entries["Command"]
			require.Equal(t, "<dictionary>", sent.kind)
			require.Equal(t, &value{kind: "<string>", text: name, entries: map[string]*value{}}, sent.entries["RequestType"])
			delete(sent.entries, "RequestType")
			requireKeys(t, schemas[name].Request, sent, name)
		}
	}
}

// requireKeys fails on a key that the schema does not have, or with another
// type or value, and on a missing key that the schema requires.
func requireKeys(t *testing.T, want keys, got *value, path string) {
	t.Helper()
	for name, v := range got.entries {
		k := want.find(name)
		require.NotNil(t, k, "%s.%s is in no schema", path, name)
		requireValue(t, k, v, path+"."+name)
	}
	for _, k := range want {
		if k.Presence == "required" {
			require.Contains(t, got.entries, k.Key, "%s.%s is required", path, k.Key)
		}
	}
}

func requireValue(t *testing.T, k *key, v *value, path string) {
	t.Helper()
	require.Equal(t, k.Type, v.kind, path)
	if len(k.RangeList) > 0 {
		require.Contains(t, k.RangeList, v.text, path)
	}
	switch v.kind {
	case "<dictionary>":
		requireKeys(t, k.SubKeys, v, path)
	case "<array>":
		for _, member := range v.members {
			requireValue(t, memberOf(t, k, member, path), member, path+"[]")
		}
	case "<string>":
		if len(k.SubKeys) > 0 { // the texts that it may be
			require.NotNil(t, k.SubKeys.find(v.text), "%s: %s is in no schema", path, v.text)
		}
	default:
		require.Empty(t, v.entries, path)
	}
}

// memberOf is the schema of a member of an array. Where an array has several
// kinds of members, their key Item tells them apart.
func memberOf(t *testing.T, k *key, member *value, path string) *key {
	t.Helper()
	if len(k.SubKeys) == 1 {
		return k.SubKeys[0]
	}
	require.Contains(t, member.entries, "Item", path)
	for _, one := range k.SubKeys {
		if item := one.SubKeys.find("Item"); item != nil && slices.Contains(item.RangeList, member.entries["Item"].text) {
			return one
		}
	}
	require.Fail(t, "no schema has that item", path)
	return nil
}

// A command can send everything that Apple describes, apart from what is named
// in the table.
func TestNothingIsLeftOut(t *testing.T) {
	t.Parallel()
	schemas := load(t, "commands")
	var requireAll func(want keys, got *value, path string, unsent []string)
	requireAll = func(want keys, got *value, path string, unsent []string) {
		for _, k := range want {
			if slices.Contains(unsent, k.Key) {
				require.NotContains(t, got.entries, k.Key)
				continue
			}
			require.Contains(t, got.entries, k.Key, path)
			v := got.entries[k.Key]
			if v.kind == "<dictionary>" {
				requireAll(k.SubKeys, v, path+"."+k.Key, nil)
			}
			for _, member := range v.members {
				if member.kind == "<dictionary>" {
					requireAll(memberOf(t, k, member, path).SubKeys, member, path+"."+k.Key, nil)
				}
			}
		}
	}
	for _, c := range commands(t) {
		if c.full != nil {
			name := c.full.RequestType()
			requireAll(schemas[name].Request, encode(t, c.full).entries["Command"], name, c.unsent)
		}
	}
}

func TestRequiredKeysAreDemanded(t *testing.T) {
	t.Parallel()
	schemas := load(t, "commands")
	seen := map[string]bool{}
	for _, c := range commands(t) {
		name := c.least.RequestType()
		for _, k := range schemas[name].Request {
			if k.Presence != "required" {
				continue
			}
			path := name + "." + k.Key
			require.Contains(t, refused, path)
			seen[path] = true
			raw, err := mdmcmd.Encode("1", refused[path])
			require.Error(t, err, "%s is required", path)
			require.Nil(t, raw)
		}
	}
	require.Len(t, seen, len(refused))

	// What Apple says in words: one of the two.
	_, err := mdmcmd.Encode("1", mdmcmd.EnableLostMode{Footnote: "a"})
	require.Error(t, err)
}

func TestAvailability(t *testing.T) {
	t.Parallel()
	schemas := load(t, "commands")
	bits := loadRights(t)
	for _, c := range commands(t) {
		name := c.least.RequestType()
		says := schemas[name].Payload.SupportedOS
		if name == "Settings" {
			item := schemas[name].Request.find("Settings").SubKeys.find("MDMOptions")
			says = item.SupportedOS.over(says)
			// Apple's schema of 27.0 has this one more; the reference does not hold that file.
			says = platforms{"macOS": {UserChannel: pointer(false)}}.over(says)
		}
		require.Len(t, says, 5, name)
		is := func(flag *bool) bool { return flag != nil && *flag }
		var want []mdmcmd.Availability
		for _, p := range []mdmcmd.Platform{mdmcmd.IOS, mdmcmd.MacOS, mdmcmd.TvOS, mdmcmd.VisionOS, mdmcmd.WatchOS} {
			says := says[string(p)]
			if !says.available() {
				continue
			}
			want = append(want, mdmcmd.Availability{
				Platform: p, Since: says.Introduced, Supervised: is(says.Supervised), ADE: is(says.RequiresDEP),
				SharedIPad:     allowed(t, says.SharedIPad.Mode),
				UserEnrollment: allowed(t, says.UserEnrollment.Mode),
				UserChannel:    is(says.UserChannel) || allowed(t, says.SharedIPad.Mode) && is(says.SharedIPad.UserChannel),
			})
			if name == "DeviceInformation" {
				require.Equal(t, "Special Case", says.AccessRights)
				continue
			}
			require.Contains(t, bits, says.AccessRights, name)
			require.Equal(t, bits[says.AccessRights], c.least.AccessRight(), "%s on %s", name, p)
		}
		require.Equal(t, want, c.least.Availability(), name)
	}
}

// allowed tells whether a thing works in a mode. None says it for platforms
// that do not have the mode.
func allowed(t *testing.T, mode string) bool {
	t.Helper()
	require.Contains(t, []string{"", "allowed", "forbidden"}, mode)
	return mode == "allowed"
}

func TestAccessRights(t *testing.T) {
	t.Parallel()
	bits := slices.Collect(maps.Values(loadRights(t)))
	constants, _ := source(t)
	require.NotEmpty(t, constants["AccessRight"])
	for _, c := range constants["AccessRight"] {
		bit, err := strconv.Atoi(c.value)
		require.NoError(t, err)
		require.Contains(t, bits, mdmcmd.AccessRight(bit), c.name)
	}
}

// Most queries need the right that DeviceInformation has, and all others the
// one or none that their comments name.
func TestQueries(t *testing.T) {
	t.Parallel()
	schemas := load(t, "commands")
	bits := loadRights(t)
	info := schemas["DeviceInformation"]
	constants, _ := source(t)
	require.NotEmpty(t, constants["Query"])
	known := info.Request.find("Queries").SubKeys.find("QueriesItem").SubKeys
	for _, query := range mdmcmd.DefaultQueries("") {
		require.Contains(t, values(constants["Query"]), string(query))
	}
	claim := regexp.MustCompile(`(not )?\b(iOS|macOS|tvOS|visionOS|watchOS)\b(?: (\d+\.\d+))?`)
	own, others := 0, 0
	for _, query := range constants["Query"] {
		k := known.find(query.value)
		require.NotNil(t, k, "%s is in no schema", query.value)
		require.NotNil(t, info.Answer.find("QueryResponses").SubKeys.find(query.value), "%s has no answer", query.value)
		_, field := reflect.TypeFor[mdmcmd.QueryResponses]().FieldByName(query.value)
		require.True(t, field, "%s has no field", query.value)

		says := platforms{}
		for name, whole := range info.Payload.SupportedOS {
			whole.AccessRights = ""
			says[name] = k.SupportedOS[name].over(whole)
		}
		right := mdmcmd.NoRight
		for _, p := range says {
			if p.available() {
				require.Contains(t, bits, p.AccessRights, query.value)
				right = either(right, bits[p.AccessRights])
			}
		}
		wanted := fmt.Sprintf("access right %d", right)
		switch right {
		case mdmcmd.DeviceInformation{}.AccessRight():
			own++
		case mdmcmd.NoRight:
			others++
		default:
			others++
			require.Contains(t, query.comment, wanted)
		}
		if strings.Contains(query.comment, "access right") {
			require.Contains(t, query.comment, wanted)
		}

		// The platforms in the comment. "all" is all of them.
		if strings.HasPrefix(query.comment, "all") {
			for name, p := range says {
				require.True(t, p.available(), "%s on %s", query.value, name)
			}
		} else {
			claims := claim.FindAllStringSubmatch(query.comment, -1)
			require.NotEmpty(t, claims, "%s names no platform", query.value)
			var named []string
			for _, c := range claims {
				not, name, since := c[1] != "", c[2], c[3]
				require.Equal(t, !not, says[name].available(), "%s on %s", query.value, name)
				if not {
					continue
				}
				named = append(named, name)
				if since == "" {
					since = info.Payload.SupportedOS[name].Introduced
				}
				require.Equal(t, since, says[name].Introduced, "%s on %s", query.value, name)
			}
			for word, get := range map[string]func(platform) string{
				"deprecated in ": func(p platform) string { return p.Deprecated },
				"removed in ":    func(p platform) string { return p.Removed },
			} {
				var since []string
				for _, name := range named {
					since = append(since, get(says[name]))
				}
				claimed := strings.TrimSuffix(word+strings.Join(since, ", "), ", ")
				require.Equal(t, strings.Join(since, "") != "", strings.Contains(query.comment, word), "%s: %s", query.value, query.comment)
				if strings.Contains(query.comment, word) {
					require.Contains(t, query.comment, claimed, query.value)
				}
			}
		}
	}
	require.Greater(t, own, others)
}

func TestObliterationBehavior(t *testing.T) {
	t.Parallel()
	schemas := load(t, "commands")
	constants, _ := source(t)
	behavior := schemas["EraseDevice"].Request.find("ObliterationBehavior")
	require.Equal(t, slices.Sorted(slices.Values(behavior.RangeList)), values(constants["ObliterationBehavior"]))
	for _, name := range behavior.RangeList {
		_, err := mdmcmd.Encode("1", mdmcmd.EraseDevice{ObliterationBehavior: mdmcmd.ObliterationBehavior(name)})
		require.NoError(t, err)
	}
}

// extra are fields that no schema has: seen in Apple's examples of answers
// (Item), or described in Apple's older documentation only.
var extra = map[string]bool{"SettingsItem.Item": true}

func TestAnswers(t *testing.T) {
	t.Parallel()
	schemas := load(t, "commands")
	answer := func(name string) keys {
		require.Contains(t, schemas, name)
		return schemas[name].Answer
	}
	// What a device reports are the options of the setting; the schema of the
	// answer lags behind it by an option.
	responses := answer("DeviceInformation").find("QueryResponses")
	setting := schemas["Settings"].Request.find("Settings").SubKeys.find("MDMOptions").SubKeys.find("MDMOptions")
	subKeys, err := responses.SubKeys.with(keys{{Key: "MDMOptions", Type: "<dictionary>", SubKeys: setting.SubKeys}})
	require.NoError(t, err)
	responses.SubKeys = subKeys
	requireFields(t, reflect.TypeFor[mdmcmd.QueryResponses](), responses)
	requireFields(t, reflect.TypeFor[mdmcmd.SecurityInfoResponse](), answer("SecurityInfo").find("SecurityInfo"))
	requireFields(t, reflect.TypeFor[mdmcmd.SettingsItem](), answer("Settings").find("Settings"))
	requireFields(t, reflect.TypeFor[mdmcmd.Location](), &key{SubKeys: answer("DeviceLocation")})
	requireFields(t, reflect.TypeFor[mdmcmd.ErrorChainItem](), answer("Settings").find("Settings").SubKeys.find("ErrorChain").SubKeys.find("ErrorChainItem"))

	for _, k := range answer("DeviceLocation") {
		_, has := reflect.TypeFor[mdmcmd.Location]().FieldByName(k.Key)
		require.True(t, has, "no field for %s", k.Key)
	}
	for name, command := range map[string]string{
		"ActivationLockBypassCode": "ActivationLockBypassCode", "MessageResult": "DeviceLock",
	} {
		require.Equal(t, "<string>", answer(command).find(name).Type)
	}
	// The other commands have no answer of their own.
	for _, c := range commands(t) {
		switch name := c.least.RequestType(); name {
		case "DeviceInformation", "SecurityInfo", "Settings", "DeviceLocation", "ActivationLockBypassCode", "DeviceLock":
			require.NotEmpty(t, answer(name), name)
		default:
			require.Empty(t, answer(name), name)
		}
	}
}

func TestCheckIns(t *testing.T) {
	t.Parallel()
	schemas := load(t, "checkin")
	enrollment := reflect.TypeFor[mdmcmd.Enrollment]()
	for _, m := range []mdmcmd.Message{&mdmcmd.Authenticate{}, &mdmcmd.TokenUpdate{}, &mdmcmd.CheckOut{}, &mdmcmd.ReturnToService{}} {
		typ := reflect.TypeOf(m).Elem()
		require.Contains(t, schemas, typ.Name())
		message := schemas[typ.Name()].Request
		require.Equal(t, []string{typ.Name()}, message.find("MessageType").RangeList)
		requireFields(t, typ, &key{SubKeys: message})
		// What a message has of the identifiers is among the fields.
		for _, k := range message {
			if field, has := enrollment.FieldByName(k.Key); has {
				require.Equal(t, k.Type, typeOf(field.Type), k.Key)
			}
		}
		require.NotNil(t, message.find("UDID"))

		raw := `<plist><dict><key>MessageType</key><string>` + typ.Name() + `</string></dict></plist>`
		parsed, err := mdmcmd.Parse([]byte(raw))
		require.NoError(t, err)
		require.IsType(t, m, parsed)
	}
	// The only message with all of them.
	requireFields(t, enrollment, &key{SubKeys: schemas["TokenUpdate"].Request})
}

// requireFields fails on an exported field that the schema does not have, or
// with another type.
func requireFields(t *testing.T, typ reflect.Type, want *key) {
	t.Helper()
	require.NotNil(t, want, typ.Name())
	anything := want.SubKeys.find("ANY") != nil
	for i := range typ.NumField() {
		field := typ.Field(i)
		path := typ.Name() + "." + field.Name
		if !field.IsExported() || field.Anonymous || extra[path] {
			continue
		}
		k := want.SubKeys.find(field.Name)
		if k == nil && anything {
			continue
		}
		require.NotNil(t, k, "%s is in no schema", path)
		if k.Type != "<any>" {
			require.Equal(t, k.Type, typeOf(field.Type), path)
		}
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
			require.Len(t, k.SubKeys, 1, path)
			k = k.SubKeys[0]
		}
		if inner.Kind() == reflect.Struct {
			requireFields(t, inner, k)
		}
	}
}

// typeOf is the schemas' name of a field's type, as the library decodes it.
func typeOf(typ reflect.Type) string {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ.Kind() {
	case reflect.String:
		return "<string>"
	case reflect.Bool:
		return "<boolean>"
	case reflect.Int64:
		return "<integer>"
	case reflect.Float64:
		return "<real>"
	case reflect.Slice:
		return "<array>"
	case reflect.Struct:
		return "<dictionary>"
	}
	return "no type of a property list"
}
