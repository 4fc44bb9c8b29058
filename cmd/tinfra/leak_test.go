package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// Leaky workers give their secrets away in each of these ways, and the search looks for each of them.
var leakyForms = map[string]func(string) string{
	"plain":       func(s string) string { return s },
	"base64":      func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 in":   func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte("u" + s + "@host")) },
	"base64 pair": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("me" + s)) },
	"base64 url":  func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"base64 raw":  func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("x:" + s + "z")) },
	"hex":         func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEX":         func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"form":        url.QueryEscape,
	"path":        url.PathEscape,
	"lower form":  func(s string) string { return lowerPercents(url.QueryEscape(s)) },
	"all percent": func(s string) string { return everyByte("%%%02X", s) },
	"json":        func(s string) string { return jsonOf(s) },
	"json twice":  func(s string) string { return jsonOf(jsonOf(s)) },
	"json ascii":  func(s string) string { return strconv.QuoteToASCII(s) },
	"go":          strconv.Quote,
	"bytes":       func(s string) string { return "b'" + everyByte(`\x%02x`, s) + "'" },
	"html":        html.EscapeString,
	"colour":      func(s string) string { a, b := halves(s); return a + "\x1b[31m" + b + "\x1b[0m" },
	"control":     func(s string) string { a, b := halves(s); return a + "\x00" + b },
}

// halves breaks a text near its middle, between two characters.
func halves(s string) (before, after string) {
	at := len(s) / 2
	for !utf8.RuneStart(s[at]) {
		at--
	}
	return s[:at], s[at:]
}

func jsonOf(s string) string {
	b, err := json.Marshal(s)
	check(err)
	return string(b)
}

func everyByte(format, s string) string {
	out := ""
	for i := range len(s) {
		out += fmt.Sprintf(format, s[i])
	}
	return out
}

func lowerPercents(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == '%' {
			copy(b[i:], strings.ToLower(string(b[i:i+3])))
		}
	}
	return string(b)
}

// leak says its secrets in every way that a worker has to say something, and then fails or ends in the way it is asked.
func (w *worker) leak() {
	var p struct{ Way string }
	w.params(&p)
	token := os.Getenv("LEAK_TOKEN")
	secrets := []string{token, os.Getenv("LEAK_OTHER")}
	parent := "clean"
	for _, name := range []string{"environ", "cmdline"} {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(os.Getppid()), name))
		check(err)
		if strings.Contains(string(b), token) {
			parent = "its supervisor's " + name + " has it"
		}
	}
	write("out/files/done.txt", fmt.Sprint(len(token), " ", parent))
	for _, s := range secrets {
		fmt.Println("here it is:", s)
		if p.Way == "ok" || p.Way == "crash" || p.Way == "gated" {
			leakEverywhere(s)
			leakSplit(s)
		}
	}
	w.out.Labels = map[string]string{"by": token, token: "x", "json": jsonOf(token)}
	w.out.Observed = map[string]string{"by": token, token: "x", "url": "https://host/?t=" + url.QueryEscape(token)}
	w.metric("score", 1)
	name := strings.Map(func(r rune) rune {
		if r == '/' || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, secrets[1])
	ways := map[string]func(){
		"crash": func() { leakCrash(token) },
		"bad-param": func() {
			emit(protocol.Event{Type: "problem", Param: token, Message: token, Hint: token})
			os.Exit(protocol.ExitBadParam)
		},
		"bad-input": func() {
			emit(protocol.Event{Type: "problem", Input: token, Message: "no " + token})
			os.Exit(protocol.ExitBadInput)
		},
		"transient": func() {
			emit(protocol.Event{Type: "problem", Message: "again, " + token, Hint: token})
			os.Exit(protocol.ExitTransient)
		},
		"metric":     func() { w.metric("x_"+hex.EncodeToString([]byte(token)), 1) },
		"field":      func() { w.result(`{"protocol":1,` + jsonOf(token) + `:1}`) },
		"rubbish":    func() { w.result(`{"protocol":1,"metrics":{"score":` + jsonOf(strings.Repeat("x", 105)+token) + `}}`) },
		"stray":      func() { write("stray-"+name, "x") },
		"undeclared": func() { write("out/"+name+"/x", "x") },
		"link":       func() { check(os.Symlink("/etc/passwd", "out/files/"+name)) },
		"name":       func() { write("out/files/"+name, "x") },
		"content":    func() { write("out/files/environ.json", jsonOf(strings.Join(os.Environ(), "\n"))) },
		"gated": func() {
			fmt.Print("half of it: ", token[:len(token)/2])
			w.gated()
			fmt.Println(token[len(token)/2:])
		},
	}
	if f := ways[p.Way]; f != nil {
		f()
	}
}

func leakEverywhere(s string) {
	for form, as := range leakyForms {
		text := as(s)
		fmt.Printf("stdout, %s: %s.\n", form, text)
		fmt.Fprintf(os.Stderr, "stderr, %s: %s\n", form, text)
		emit(protocol.Event{Type: "log", Message: "event " + text, Level: "warning"})
		emit(protocol.Event{Type: "progress", Done: 1, Total: 2, Unit: text, What: "at " + text})
		emit(protocol.Event{Type: "problem", Message: "problem " + text, Hint: text})
		emitRaw(`{"type":"log","time":1,"message":` + text + "}\n")
		emitRaw(strings.Repeat("x", 100) + text + "\n")
	}
	emit(protocol.Event{Type: "metric", Name: "m" + hex.EncodeToString([]byte(s)), Value: 1})
}

// leakSplit breaks the secret up between writes, lines, streams and events.
func leakSplit(s string) {
	for _, at := range []int{7, len(s) / 3, len(s) / 2, len(s) - 7} {
		fmt.Print("two writes: ", s[:at])
		fmt.Println(s[at:])
		fmt.Print("two lines: ", s[:at], "\n", s[at:], "\n")
		fmt.Println("two streams:", s[:at])
		fmt.Fprintln(os.Stderr, s[at:])
		for !utf8.RuneStart(s[at]) { // JSON has no half of a character
			at--
		}
		emit(protocol.Event{Type: "log", Message: "two events: " + s[:at]})
		emit(protocol.Event{Type: "log", Message: s[at:]})
	}
	wrapped := ""
	for code := base64.StdEncoding.EncodeToString([]byte("user:" + s)); code != ""; {
		n := min(16, len(code))
		wrapped += code[:n] + "\n"
		code = code[n:]
	}
	fmt.Print(wrapped)
	fmt.Printf("%q\n", wrapped)
	emit(protocol.Event{Type: "log", Message: wrapped})
	for _, r := range s {
		fmt.Println(string(r))
	}
}

func leakCrash(s string) {
	fmt.Fprintf(os.Stderr, "Traceback (most recent call last):\n  File \"worker.py\", line 3, in <module>\n    login(%s)\nValueError: %q is no good\n", s, s)
	os.Exit(1)
}

// leakSource brings a file, and says its secret where the lock would keep it.
func (w *worker) leakSource() {
	token := os.Getenv("LEAK_TOKEN")
	w.pinned()
	w.out.Resolved = map[string]string{"commit": token, "url": "https://host/?t=" + url.QueryEscape(token)}
}
