package run

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

func TestASecretIsHiddenInEverySpelling(t *testing.T) {
	const secret = `p@ss/wörd "x"+y=1`
	r := newRedactor()
	if got := r.clean(secret); got != secret {
		t.Errorf("nothing is secret yet, and it became %q", got)
	}
	r.add(secret)
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), string(quoted)} {
		if got := r.clean("a " + s + " z"); got != "a "+strings.Replace("***", "***", got[2:len(got)-2], 1)+" z" || strings.Contains(got, "ss") || !strings.Contains(got, hidden) {
			t.Errorf("%q became %q", s, got)
		}
	}
	for _, before := range []string{"", "u", "us", "use", "user:"} {
		for _, after := range []string{"", "@", "@host", "xyz"} {
			for _, alphabet := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
				code := alphabet.EncodeToString([]byte(before + secret + after))
				got := r.clean(code)
				if !strings.Contains(got, hidden) || len(got) > len(hidden)+20 {
					t.Errorf("%q around it: %q became %q", before+"…"+after, code, got)
				}
			}
		}
	}
}

// Bytes one by one, as od, xxd, tcpdump and a list in Python show them; the first also over two lines.
func TestASecretIsHiddenInDumps(t *testing.T) {
	r := newRedactor()
	r.add("Zebra4711xyz9876AB")
	for _, s := range []string{
		" 5a 65 62 72 61 34 37 31 31 78 79 7a 39 38 37 36 41 42", "5A:65:62:72:61:34:37:31:31:78:79:7A:39:38:37:36:41:42",
		"[90, 101, 98, 114, 97, 52, 55, 49, 49, 120, 121, 122, 57, 56, 55, 54, 65, 66]", "{0x5a, 0x65, 0x62, 0x72, 0x61, 0x34, 0x37, 0x31, 0x31, 0x78, 0x79, 0x7a, 0x39, 0x38, 0x37, 0x36, 0x41, 0x42}",
	} {
		if got := r.clean(s); strings.Trim(got, " []{}") != hidden {
			t.Errorf("%q became %q", s, got)
		}
	}
	var stream trail
	for _, line := range []string{" 5a 65 62 72 61 34 37 31 31 78 79 7a 39 38 37 36", " 41 42 0a"} {
		if got := r.follow(&stream, line); !strings.Contains(got, hidden) || strings.Contains(got, "65") || strings.Contains(got, "42") {
			t.Errorf("%q became %q", line, got)
		}
	}
}

func TestLinesOfASecretAreSecret(t *testing.T) {
	r := newRedactor()
	r.add("-----BEGIN-----\nMIIabcdef\n\n-----END-----\n")
	if got := r.clean("key: MIIabcdef!"); got != "key: ***!" {
		t.Errorf("became %q", got)
	}
}

func TestTheLongerSecretIsHiddenWhole(t *testing.T) {
	r := newRedactor()
	r.add("token")
	r.add("token-and-more")
	r.add("abc") // too short to be one
	if got := r.clean("token-and-more token abc"); got != "*** *** abc" {
		t.Errorf("became %q", got)
	}
}

// TestWhatIsCutOffOfASecretIsHidden: messages quote what they complain of, and cut it off anywhere.
func TestWhatIsCutOffOfASecretIsHidden(t *testing.T) {
	const secret = `cn4ry/"\\n%ö=+x-and-more`
	r := newRedactor()
	r.add(secret)
	forms := []string{secret, url.QueryEscape(secret), jsonText(t, secret), jsonText(t, jsonText(t, secret)), base64.StdEncoding.EncodeToString([]byte(secret)),
		secret[:7] + "\x1b[31;1m" + secret[7:]}
	for _, form := range forms {
		for before := range 120 {
			text := strings.Repeat("x", before) + form
			if len(text) > 120 {
				text = strings.ToValidUTF8(text[:120], "") + "…"
			}
			got := r.clean((&protocol.LineError{Line: 1, Text: text, Err: errors.New("no event")}).Error())
			// Of plain text five bytes may stay, of base64 seven.
			if strings.Contains(got, "cn4ry/") || strings.Contains(got, "Y240cnkv") || strings.Contains(got, "and-mo") {
				t.Fatalf("%q became %q", text, got)
			}
		}
	}
}

func jsonText(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestASecretIsFollowedFromLineToLine(t *testing.T) {
	const secret = "cn4ry-value-of-a-secret"
	for name, c := range map[string]struct{ lines, want []string }{
		"two":            {[]string{"a cn4ry-va", "lue-of-a-secret z"}, []string{"a ***", "*** z"}},
		"short end":      {[]string{"cn4ry-value-of-a-secr", "et z"}, []string{"***", "*** z"}},
		"short start":    {[]string{"a cn4", "ry-value-of-a-secret"}, []string{"a cn4", "***"}},
		"by characters":  {strings.Split(secret, ""), append([]string{"c", "n", "4", "r", "y"}, slices.Repeat([]string{hidden}, len(secret)-5)...)},
		"empty lines":    {[]string{"cn4ry-va", "", "lue-of-a-secret"}, []string{"***", "", "***"}},
		"only the end":   {[]string{"of-a-secret z"}, []string{"*** z"}},
		"something else": {[]string{"cn4ry-va", "sectomy", "cn4ry", "of"}, []string{"***", "sectomy", "cn4ry", "of"}},
		"colours":        {[]string{"cn4\x1b[31mry-value-of-\x1b[0ma-secret"}, []string{"***\x1b[31m***\x1b[0m***"}},
	} {
		r, at := newRedactor(), &trail{}
		r.add(secret)
		var got []string
		for _, line := range c.lines {
			got = append(got, r.follow(at, line))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q became %q", name, c.lines, got)
		}
	}
}

func TestSecretsThatOverlapAreHiddenWhole(t *testing.T) {
	r := newRedactor()
	r.add("first-and-second")
	r.add("second-and-third")
	r.add("and")
	r.add("-and-s")
	for text, want := range map[string]string{
		"a first-and-second-and-third z": "a *** z", "a first-and-third z": "a first-and-third z", "x-and-some": "x***ome",
	} {
		if got := r.clean(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestHalfACharacterOfASecret: a secret that is split within a character is hidden, and what is said is UTF-8.
func TestHalfACharacterOfASecret(t *testing.T) {
	heard := &messages{}
	bus := event.NewBus(heard)
	r := &reporter{bus: bus, clock: RealClock{}, redact: newRedactor(), log: newStoredLog(halfLog)}
	r.redact.add("cn4ry-ö-value")
	r.line("stdout", "a cn4ry-\xc3", 0)
	r.line("stdout", "\xb6-value z\xff", 0)
	bus.Close()
	if want := []string{"a ***", "*** z\uFFFD"}; !slices.Equal(heard.said, want) {
		t.Errorf("said %q", heard.said)
	}
}

type messages struct{ said []string }

func (m *messages) Event(e event.Event) { m.said = append(m.said, e.Message) }
