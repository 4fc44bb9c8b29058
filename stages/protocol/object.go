package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// object reads the fields of one JSON object. Its first mistake sticks in fault, shared by all objects of a message,
// and names the field by its path. encoding/json is not asked to fill structs, since it takes "Metrics" for "metrics"
// and says of a wrong type only that there is one.
type object struct {
	path   string // "" for the message, else ends in "."
	fields map[string]json.RawMessage
	fault  *error
	rotten bool // the text held NaN or Infinity, perhaps where nobody looks
}

var metricName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })

// notANumber stands in a JSON string for a literal that Python's json writes and JSON forbids. No valid text of a
// message begins with it.
const notANumber = "\x00"

// parse reads one JSON object and nothing after it.
func parse(text []byte) (*object, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not JSON: the text is not UTF-8")
	}
	var fault error
	o := &object{fault: &fault}
	err := json.Unmarshal(text, &o.fields)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		// Another try finds which field holds the NaN.
		if patched, changed := quoteNonFinite(text); changed && json.Unmarshal(patched, &o.fields) == nil {
			o.rotten = true
			return o, nil
		}
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok || err == nil && o.fields == nil {
		return nil, errors.New("must be an object")
	}
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	return o, nil
}

// quoteNonFinite puts NaN, Infinity and -Infinity that stand outside strings into marked strings.
func quoteNonFinite(text []byte) ([]byte, bool) {
	var out bytes.Buffer
	changed, quoted := false, false
	for i := 0; i < len(text); {
		if quoted && text[i] == '\\' && i+1 < len(text) {
			out.Write(text[i : i+2])
			i += 2
			continue
		}
		if text[i] == '"' {
			quoted = !quoted
		}
		if word := nonFinite(text[i:]); !quoted && word != "" {
			out.WriteString(`"\u0000` + word + `"`)
			i += len(word)
			changed = true
			continue
		}
		out.WriteByte(text[i])
		i++
	}
	return out.Bytes(), changed
}

func nonFinite(text []byte) string {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(text, []byte(word)) {
			return word
		}
	}
	return ""
}

// done is the first mistake of the whole message.
func (o *object) done() error {
	if *o.fault == nil && o.rotten {
		return errors.New("not JSON: NaN and Infinity have no place in it")
	}
	return *o.fault
}

func (o *object) fail(name, format string, args ...any) {
	if *o.fault == nil {
		*o.fault = fmt.Errorf("%s%s: %s", o.path, name, fmt.Sprintf(format, args...))
	}
}

// only refuses fields that are not named.
func (o *object) only(names ...string) {
	for _, name := range o.names() {
		if !slices.Contains(names, name) {
			o.fail(strconv.Quote(name), "no such field; there are %s", strings.Join(names, ", "))
		}
	}
}

func (o *object) names() []string {
	names := make([]string, 0, len(o.fields))
	for name := range o.fields {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (o *object) has(name string) bool { _, ok := o.fields[name]; return ok }

// need reports a field that is not there.
func (o *object) need(name string) bool {
	if !o.has(name) {
		o.fail(name, "is missing")
	}
	return o.has(name)
}

// text reads a string that must be there and not be empty.
func (o *object) text(name string) string {
	if !o.need(name) {
		return ""
	}
	s := o.optionalText(name)
	if s == "" {
		o.fail(name, "is empty")
	}
	return s
}

func (o *object) optionalText(name string) string {
	if !o.has(name) {
		return ""
	}
	var s string
	raw := o.fields[name]
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil || strings.HasPrefix(s, notANumber) {
		o.fail(name, "must be a string, not %s", describe(raw))
		return ""
	}
	return s
}

// number reads a finite number that must be there.
func (o *object) number(name string) float64 {
	if !o.need(name) {
		return 0
	}
	raw := string(o.fields[name])
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		o.fail(name, "must be a finite number, not %s", describe(o.fields[name]))
		return 0
	}
	f, err := strconv.ParseFloat(raw, 64)
	if err != nil || math.IsInf(f, 0) {
		o.fail(name, "must be a finite number; %s does not fit 64 bits", cut(raw))
		return 0
	}
	return f
}

// whole reads a whole number of at least low.
func (o *object) whole(name string, low int64) int64 {
	f := o.number(name)
	if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		o.fail(name, "must be a whole number, not %v", f)
		return 0
	}
	if f < float64(low) {
		o.fail(name, "must be at least %d, not %v", low, f)
	}
	return int64(f)
}

func (o *object) notNegative(name string) float64 {
	f := o.number(name)
	if f < 0 {
		o.fail(name, "must not be negative: %v", f)
	}
	return f
}

// object reads an object that must be there.
func (o *object) object(name string) *object {
	sub := &object{path: o.path + name + ".", fault: o.fault}
	if !o.need(name) {
		return sub
	}
	raw := o.fields[name]
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &sub.fields) != nil {
		o.fail(name, "must be an object, not %s", describe(raw))
	}
	return sub
}

// texts reads an object of strings; nil when it is not there.
func (o *object) texts(name string) map[string]string {
	if !o.has(name) {
		return nil
	}
	sub := o.object(name)
	all := make(map[string]string, len(sub.fields))
	for _, key := range sub.names() {
		all[key] = sub.optionalText(key)
	}
	return all
}

// list reads a list; each element is an object with one field "", whose path is name[i].
func (o *object) list(name string) []*object {
	if !o.has(name) {
		return nil
	}
	var raw []json.RawMessage
	if text := o.fields[name]; text[0] != '[' || json.Unmarshal(text, &raw) != nil {
		o.fail(name, "must be a list, not %s", describe(text))
		return nil
	}
	all := make([]*object, len(raw))
	for i, r := range raw {
		path := fmt.Sprintf("%s%s[%d]", o.path, name, i)
		all[i] = &object{path: path, fault: o.fault, fields: map[string]json.RawMessage{"": r}}
	}
	return all
}

// metric reads the number under a metric's name.
func (o *object) metric(name string) float64 {
	if !metricName().MatchString(name) {
		o.fail(strconv.Quote(name), "a metric's name is made of letters, digits and _")
	}
	return o.number(name)
}

func (o *object) version() {
	if !o.need("protocol") {
		return
	}
	if v := o.whole("protocol", 1); *o.fault == nil && v != Version {
		o.fail("protocol", "version %d is not known; this side speaks %d", v, Version)
	}
}

// describe names a JSON value for a person who expected another type.
func describe(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 'n':
		return "null"
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil && strings.HasPrefix(s, notANumber) {
			return s[len(notANumber):]
		}
		return "the string " + cut(string(raw))
	default:
		return cut(string(raw))
	}
}

// cut keeps what a person needs to recognise a long text.
func cut(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
