package run

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
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
