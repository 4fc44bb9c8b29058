package protocol

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

type vector struct {
	Name, Text string
	OK         bool
	Says       []string
}

func vectors(t testing.TB, name string) []vector {
	text, err := os.ReadFile(filepath.Join("vectors", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []vector }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 20 {
		t.Fatalf("only %d cases in %s", len(file.Cases), name)
	}
	return file.Cases
}

// check runs the vectors of one file; what decodes must come back equal through its own encoding.
func check[T any](t *testing.T, name string, decode func([]byte) (T, error)) {
	for _, v := range vectors(t, name) {
		t.Run(v.Name, func(t *testing.T) {
			got, err := decode([]byte(v.Text))
			if v.OK {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				again, err := json.Marshal(got)
				if err != nil {
					t.Fatal(err)
				}
				back, err := decode(again)
				if err != nil || !reflect.DeepEqual(got, back) {
					t.Fatalf("%s decodes to %+v (%v), not %+v", again, back, err, got)
				}
				return
			}
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
			for _, word := range v.Says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func TestRequestVectors(t *testing.T) { check(t, "requests", DecodeRequest) }
func TestResultVectors(t *testing.T)  { check(t, "results", DecodeResult) }
func TestEventVectors(t *testing.T)   { check(t, "events", DecodeEvent) }

func TestEverythingOfARequestArrives(t *testing.T) {
	for _, v := range vectors(t, "requests") {
		if v.Name != "everything" {
			continue
		}
		got, err := DecodeRequest([]byte(v.Text))
		if err != nil {
			t.Fatal(err)
		}
		value := reflect.ValueOf(*got)
		for i := range value.NumField() {
			if value.Field(i).IsZero() {
				t.Errorf("%s is empty", value.Type().Field(i).Name)
			}
		}
		if got.Inputs["extra[a b]"].Path != "in/extra/a b" || got.Pins[0].Path != "a/b.txt" || got.Resources.GPUs[1] != "GPU-1f" {
			t.Errorf("decoded to %+v", got)
		}
		return
	}
	t.Fatal("no such vector")
}
